"""The VPC model's ordinary behaviour: what each call does, and what EC2 refuses with which code."""

from __future__ import annotations

import re

import pytest

from ipamd.core.calls import (
    Attached,
    AttachmentsView,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    EnisView,
    Failed,
    FindNetworkInterfaces,
    ModifyNetworkInterfaceAttribute,
    SubnetsView,
)
from ipamd.core.types import SECOND
from ipamd.ec2.limits import UnknownInstanceType
from ipamd.ec2.vpc import add_subnet, apply, associate_cidr, launch, look, make_vpc, node_of
from tests.ec2.worlds import (
    attached,
    created,
    creation,
    described,
    done,
    granted,
    metadata,
    primary,
    refused,
    subnet_of,
)


def test_a_new_cloud_has_one_instance_with_its_primary_eni() -> None:
    """Device 0, attached, the first address that is not reserved, gone with the instance."""
    vpc = make_vpc()
    eni = described(vpc, primary(vpc))
    assert (eni.status, eni.device, eni.card, eni.addresses) == ("in-use", 0, 0, ("10.0.0.4",))
    assert eni.delete_on_termination and eni.instance == vpc.first_instance
    assert re.fullmatch(r"eni-0[0-9a-f]{16}", eni.eni) and re.fullmatch(r"02(:[0-9a-f]{2}){5}", eni.mac)


@pytest.mark.spec("INIT-9", "INIT-12", "INIT-32", "LIM-1", "LIM-10")
def test_node_facts_come_from_the_instance_and_its_type() -> None:
    """Node facts come from the instance and its type."""
    node = node_of(make_vpc(instance_type="t3.small", region="eu-north-1", zone="eu-north-1a"))
    assert (node.instance_type, node.enis_max, node.ips_per_eni, node.max_pods) == ("t3.small", 3, 4, 11)
    assert (node.region, node.zone, node.primary_ip) == ("eu-north-1", "eu-north-1a", "10.0.0.4")
    assert not node.trunking_compatible
    assert node.instance.startswith("i-0") and node.vpc.startswith("vpc-0")


def test_unknown_instance_type_is_refused_by_name() -> None:
    """The message names the type and what would do."""
    with pytest.raises(UnknownInstanceType, match=r"'m5\.lage'.*did you mean"):
        make_vpc(instance_type="m5.lage")


def test_same_seed_same_names() -> None:
    """Ids, MACs and attachments are functions of the seed and the order of calls."""
    one, two = make_vpc(), make_vpc()
    assert attached(one, 1) == attached(two, 1)
    assert one.rows() == two.rows()


# ---- create -------------------------------------------------------------------------------------------------


@pytest.mark.spec("EC2-1")
def test_creation_gives_a_primary_address_and_the_secondary_ones() -> None:
    """The count is of secondary addresses; the result tells them apart."""
    vpc = make_vpc()
    eni = created(vpc, secondary_ips=3)
    assert eni.primary_ip == "10.0.0.5"
    assert eni.addresses == ("10.0.0.6", "10.0.0.7", "10.0.0.8")
    seen = described(vpc, eni.eni)
    assert (seen.status, seen.addresses) == ("available", ("10.0.0.5", *eni.addresses))
    assert seen.tags == {"node.k8s.amazonaws.com/instance_id": "i-1"} and seen.security_groups == ("sg-1",)


@pytest.mark.spec("EC2-1")
def test_creation_with_prefixes_gives_aligned_blocks() -> None:
    """EC2-1 with prefix delegation: /28s on multiples of 16, none in the group of reserved addresses."""
    vpc = make_vpc()
    assert created(vpc, prefixes=2).prefixes == ("10.0.0.16/28", "10.0.0.32/28")


def test_the_same_token_makes_one_eni() -> None:
    """A repeated request answers as the first did and takes no more addresses, attached or even gone."""
    vpc = make_vpc()
    call = creation(vpc, token="t-1", secondary_ips=2)
    first = done(vpc, call)
    assert isinstance(first, CreatedEni)
    free, serial = vpc.spaces[subnet_of(vpc)].free, vpc.serial
    assert done(vpc, call) == first
    assert (vpc.spaces[subnet_of(vpc)].free, vpc.serial, len(vpc.enis)) == (free, serial, 2)
    done(vpc, DeleteNetworkInterface(first.eni))
    assert done(vpc, call) == first and len(vpc.enis) == 1


def test_a_token_with_other_parameters_is_refused() -> None:
    """IdempotentParameterMismatch: a token names one request."""
    vpc = make_vpc()
    done(vpc, creation(vpc, token="t-1", secondary_ips=2))
    assert refused(apply(vpc, creation(vpc, token="t-1", secondary_ips=3), 0)) == "IdempotentParameterMismatch"


def test_a_token_is_forgotten_after_a_day() -> None:
    """Tokens live 24 hours, then the same one makes another ENI."""
    vpc = make_vpc()
    call = creation(vpc, token="t-1")
    first = done(vpc, call)
    assert done(vpc, call, 24 * 3600 * SECOND) != first


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subnet": ""}, "MissingParameter"),
        ({"subnet": "subnet-0123"}, "InvalidSubnetID.NotFound"),
        ({"secondary_ips": -2}, "InvalidParameterValue"),
        ({"prefixes": -7}, "InvalidParameterValue"),
        ({"secondary_ips": 1, "prefixes": 1}, "InvalidParameterCombination"),
        ({"secondary_ips": 64}, "PrivateIpAddressLimitExceeded"),
        ({"security_groups": ("web",)}, "InvalidGroupId.Malformed"),
        ({"tags": {"aws:x": "y"}}, "InvalidParameterValue"),
        ({"tags": {str(n): "" for n in range(51)}}, "TagLimitExceeded"),
    ],
)
def test_malformed_creation_is_refused_without_effect(changes: dict[str, object], code: str) -> None:
    """Each bad parameter has EC2's code, and nothing is taken from the subnet."""
    vpc = make_vpc()
    fields = {"subnet": subnet_of(vpc), "security_groups": ("sg-1",), "description": "", "token": "t"}
    call = CreateNetworkInterface(**(fields | changes))  # type: ignore[arg-type]
    before = vpc.rows()
    assert refused(apply(vpc, call, 0)) == code
    assert vpc.rows() == before


def test_without_groups_an_eni_gets_the_default_group() -> None:
    """EC2 puts the VPC's default security group on an ENI that names none."""
    vpc = make_vpc()
    result = done(vpc, CreateNetworkInterface(subnet_of(vpc), (), "", ""))
    assert isinstance(result, CreatedEni)
    assert described(vpc, result.eni).security_groups == (vpc.row.default_group,)


# ---- attach, detach, delete ---------------------------------------------------------------------------------


@pytest.mark.spec("EC2-7", "EC2-5")
def test_attachment_is_shown_by_every_view() -> None:
    """ENI in-use with its device, listed by DescribeInstances, shown by metadata."""
    vpc = make_vpc()
    eni = created(vpc, secondary_ips=1)
    result = done(vpc, AttachNetworkInterface(eni.eni, 1))
    assert isinstance(result, Attached) and result.attachment.startswith("eni-attach-0")
    seen = described(vpc, eni.eni)
    assert (seen.status, seen.device, seen.attachment) == ("in-use", 1, result.attachment)
    view = look(vpc, DescribeInstances(), 0)
    assert isinstance(view, AttachmentsView)
    assert [(a.eni, a.device) for a in view.attachments] == [(primary(vpc), 0), (eni.eni, 1)]
    assert [e.eni for e in metadata(vpc).enis] == [primary(vpc), eni.eni]


@pytest.mark.spec("LIM-1")
def test_attaching_past_the_limit_of_the_type() -> None:
    """AttachmentLimitExceeded: m5.large carries 3 ENIs."""
    vpc = make_vpc(instance_type="m5.large")
    attached(vpc, 1)
    attached(vpc, 2)
    outcome = apply(vpc, AttachNetworkInterface(created(vpc).eni, 3), 0)
    assert outcome == Failed("AttachmentLimitExceeded", "Interface count 4 exceeds the limit for m5.large")


@pytest.mark.spec("LIM-2", "EC2-5")
def test_each_card_has_its_own_limit_and_devices() -> None:
    """Device indexes and limits are counted per network card."""
    vpc = make_vpc(instance_type="p5.48xlarge")
    done(vpc, AttachNetworkInterface(created(vpc).eni, 1))
    assert refused(apply(vpc, AttachNetworkInterface(created(vpc).eni, 2), 0)) == "AttachmentLimitExceeded"
    done(vpc, AttachNetworkInterface(created(vpc).eni, 1, card=31))
    bad = apply(vpc, AttachNetworkInterface(created(vpc).eni, 1, card=32), 0)
    assert refused(bad) == "InvalidParameterValue"


@pytest.mark.spec("EC2-7")
def test_attach_refusals() -> None:
    """Taken device, bad device, attached ENI, unknown ENI, unknown instance, other zone."""
    vpc = make_vpc(instance_type="m5.4xlarge", subnet="10.0.0.0/24", vpc_cidr="10.0.0.0/16")
    first, second = attached(vpc, 1), created(vpc)

    def code(eni: str, device: int, instance: str = "") -> str:
        return refused(apply(vpc, AttachNetworkInterface(eni, device), 0, instance))

    assert code(second.eni, 1) == "InvalidParameterValue"
    assert code(second.eni, 100) == "InvalidParameterValue"
    assert code(first.eni, 2) == "InvalidNetworkInterface.InUse"
    assert code("eni-0123", 2) == "InvalidNetworkInterfaceID.NotFound"
    assert code(second.eni, 2, "i-0123") == "InvalidInstanceID.NotFound"
    far = add_subnet(vpc, "10.0.1.0/24", "us-west-2b", now=0)
    other = launch(vpc, "m5.large", far.subnet, now=0)
    assert code(second.eni, 2, other.instance) == "InvalidParameterCombination"


@pytest.mark.spec("LIM-1", "INIT-14")
def test_attaching_checks_addresses_and_prefixes_of_the_eni() -> None:
    """An ENI may be too full for a type, or carry prefixes that a xen type cannot."""
    small = make_vpc(instance_type="t3.small")
    full = apply(small, AttachNetworkInterface(created(small, secondary_ips=4).eni, 1), 0)
    assert refused(full) == "PrivateIpAddressLimitExceeded"
    xen = make_vpc(instance_type="m4.large")
    outcome = apply(xen, AttachNetworkInterface(created(xen, prefixes=1).eni, 1), 0)
    assert refused(outcome) == "UnsupportedOperation"


@pytest.mark.spec("EC2-22")
def test_detach_is_found_once() -> None:
    """A second detach meets InvalidAttachmentID.NotFound; without an id nothing can be found."""
    vpc = make_vpc()
    eni = attached(vpc, 1)
    attachment = described(vpc, eni.eni).attachment
    done(vpc, DetachNetworkInterface(eni.eni, attachment))
    assert refused(apply(vpc, DetachNetworkInterface(eni.eni, attachment), 0)) == "InvalidAttachmentID.NotFound"
    assert refused(apply(vpc, DetachNetworkInterface(eni.eni, ""), 0)) == "MissingParameter"
    assert (described(vpc, eni.eni).status, described(vpc, eni.eni).device) == ("available", -1)
    assert [e.eni for e in metadata(vpc).enis] == [primary(vpc)]


def test_primary_eni_stays() -> None:
    """EC2 does not detach device 0."""
    vpc = make_vpc()
    attachment = described(vpc, primary(vpc)).attachment
    assert refused(apply(vpc, DetachNetworkInterface(primary(vpc), attachment), 0)) == "OperationNotPermitted"


@pytest.mark.spec("EC2-24")
def test_deletion_frees_every_address() -> None:
    """Attached ENIs are refused; the addresses and prefixes of a deleted one are free again."""
    vpc = make_vpc()
    free = vpc.spaces[subnet_of(vpc)].free
    eni = attached(vpc, 1, prefixes=2)
    assert refused(apply(vpc, DeleteNetworkInterface(eni.eni), 0)) == "InvalidParameterValue"
    done(vpc, DetachNetworkInterface(eni.eni, described(vpc, eni.eni).attachment))
    done(vpc, DeleteNetworkInterface(eni.eni))
    assert vpc.spaces[subnet_of(vpc)].free == free
    again = apply(vpc, DeleteNetworkInterface(eni.eni), 0)
    assert refused(again) == "InvalidNetworkInterfaceID.NotFound"


@pytest.mark.spec("EC2-30")
def test_not_found_message_carries_the_quoted_id() -> None:
    """Callers read the id from the first quotes of the message."""
    vpc = make_vpc()
    outcome = look(vpc, DescribeNetworkInterfaces((primary(vpc), "eni-0123456789abcdef0")), 0)
    assert isinstance(outcome, Failed) and outcome.code == "InvalidNetworkInterfaceID.NotFound"
    quoted = re.search(r"'([a-zA-Z0-9-]+)'", outcome.message)
    assert quoted is not None and quoted[1] == "eni-0123456789abcdef0"


# ---- attributes, tags, views --------------------------------------------------------------------------------


@pytest.mark.spec("EC2-9")
def test_delete_on_termination_is_an_attribute_of_the_attachment() -> None:
    """Set by attachment id, gone with the attachment."""
    vpc = make_vpc()
    eni = attached(vpc, 1).eni
    attachment = described(vpc, eni).attachment
    assert not described(vpc, eni).delete_on_termination
    done(vpc, ModifyNetworkInterfaceAttribute(eni, attachment, delete_on_termination=True))
    assert described(vpc, eni).delete_on_termination
    wrong = ModifyNetworkInterfaceAttribute(eni, "eni-attach-0123", delete_on_termination=True)
    assert refused(apply(vpc, wrong, 0)) == "InvalidAttachmentID.NotFound"


@pytest.mark.spec("EC2-29", "POOL-51")
def test_security_groups_are_replaced_and_shown_by_metadata() -> None:
    """The primary ENI's groups are what metadata shows."""
    vpc = make_vpc()
    done(vpc, ModifyNetworkInterfaceAttribute(primary(vpc), security_groups=("sg-2", "sg-1")))
    assert described(vpc, primary(vpc)).security_groups == ("sg-2", "sg-1")
    assert metadata(vpc).security_groups == ("sg-2", "sg-1")
    both = ModifyNetworkInterfaceAttribute(primary(vpc), "eni-attach-0", True, ("sg-1",))
    assert refused(apply(vpc, both, 0)) == "InvalidParameterCombination"
    assert refused(apply(vpc, ModifyNetworkInterfaceAttribute(primary(vpc)), 0)) == "MissingParameter"
    bad = ModifyNetworkInterfaceAttribute(primary(vpc), security_groups=("web",))
    assert refused(apply(vpc, bad, 0)) == "InvalidGroupId.Malformed"


@pytest.mark.spec("EC2-15")
def test_tags_are_merged() -> None:
    """The same key is replaced, others stay; no tags is refused."""
    vpc = make_vpc()
    eni = created(vpc).eni
    done(vpc, CreateTags(eni, {"a": "1", "b": "2"}))
    done(vpc, CreateTags(eni, {"b": "3"}))
    tags = described(vpc, eni).tags
    assert (tags["a"], tags["b"], len(tags)) == ("1", "3", 3)
    assert refused(apply(vpc, CreateTags(eni, {}), 0)) == "MissingParameter"
    assert refused(apply(vpc, CreateTags("eni-0123", {"a": "1"}), 0)) == "InvalidNetworkInterfaceID.NotFound"


def test_unattached_enis_are_found_by_tags() -> None:
    """How a lost create is sought: status available and all the tags."""
    vpc = make_vpc()
    free = done(vpc, creation(vpc))
    assert isinstance(free, CreatedEni)
    attached(vpc, 1)
    view = look(vpc, FindNetworkInterfaces({"node.k8s.amazonaws.com/instance_id": "i-1"}), 0)
    assert isinstance(view, EnisView) and [e.eni for e in view.enis] == [free.eni]
    none = look(vpc, FindNetworkInterfaces({"node.k8s.amazonaws.com/instance_id": "i-2"}), 0)
    assert none == EnisView(())


@pytest.mark.spec("POOL-43")
def test_subnets_of_the_zone_with_their_free_counts() -> None:
    """AvailableIpAddressCount is the truth; subnets of other zones are not listed."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    add_subnet(vpc, "10.0.1.0/24", "us-west-2b", now=0)
    add_subnet(vpc, "10.0.2.0/25", tags={"kubernetes.io/role/cni": "1"}, now=0)
    granted(vpc, primary(vpc), prefixes=1)
    view = look(vpc, DescribeSubnets(), 0)
    assert isinstance(view, SubnetsView)
    assert [(s.cidr, s.free) for s in view.subnets] == [("10.0.0.0/24", 251 - 1 - 16), ("10.0.2.0/25", 123)]
    assert view.subnets[1].tags == {"kubernetes.io/role/cni": "1"}


def test_a_vpc_has_room_for_more_subnets_and_cidrs() -> None:
    """Outside, overlapping and malformed ranges are refused with the remedy."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    with pytest.raises(ValueError, match="lies outside"):
        add_subnet(vpc, "10.9.0.0/24", now=0)
    with pytest.raises(ValueError, match="overlaps"):
        add_subnet(vpc, "10.0.0.0/20", now=0)
    with pytest.raises(ValueError, match="overlaps"):
        associate_cidr(vpc, "10.0.0.0/16", now=0)
    with pytest.raises(ValueError, match="length"):
        associate_cidr(vpc, "10.9.0.0/8", now=0)
    associate_cidr(vpc, "100.64.0.0/16", now=0)
    add_subnet(vpc, "100.64.0.0/16", now=0)
    assert metadata(vpc).vpc_cidrs == ("10.0.0.0/16", "100.64.0.0/16")
    assert make_vpc(subnet="192.168.8.0/24").row.cidrs == ("192.168.0.0/16",)


def test_instances_share_a_subnet() -> None:
    """Several instances draw from one space, and each sees only its own ENIs."""
    vpc = make_vpc(subnet="10.0.0.0/24")
    second = launch(vpc, "t3.small", subnet_of(vpc), now=0)
    eni = created(vpc)
    apply(vpc, AttachNetworkInterface(eni.eni, 1), 0, second.instance)
    view = look(vpc, DescribeInstances(), 0, second.instance)
    assert isinstance(view, AttachmentsView)
    assert [a.eni for a in view.attachments] == [second.primary_eni, eni.eni]
    assert [e.eni for e in metadata(vpc).enis] == [primary(vpc)]
    tiny = make_vpc(subnet="10.0.0.0/28")
    granted(tiny, created(tiny).eni, secondary_ips=9)
    with pytest.raises(ValueError, match="no address"):
        launch(tiny, "t3.small", subnet_of(tiny), now=0)
