"""Verdicts on IPv6, several network cards, custom networking, branch ENIs and IMDS-only mode."""

from __future__ import annotations

import pytest

from ipamd.config import Instance, Verdict, load, verdicts

LARGE = Instance("m5.large", enis=3, slots=9, prefixes=True, max_pods=29)
CARDS = Instance("p4d.24xlarge", enis=15, slots=49, prefixes=True, max_pods=737, cards=4)
BARE = Instance("t3.small", enis=3, slots=3, prefixes=True, max_pods=11, trunks=False)
IPV6 = {"ENABLE_IPv4": "false", "ENABLE_IPv6": "true", "ENABLE_PREFIX_DELEGATION": "true"}
CUSTOM = {"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true"}
BRANCHES = {"ENABLE_POD_ENI": "true"}
SILENT = {"ENABLE_IMDS_ONLY_MODE": "true"}


def found(env: dict[str, str], instance: Instance = LARGE) -> list[Verdict]:
    return list(verdicts(load(env), instance))


@pytest.mark.parametrize(
    ("env", "instance", "kind", "names", "spec"),
    [
        (IPV6 | {"WARM_IP_TARGET": "5"}, LARGE, "ignored", ("WARM_IP_TARGET",), "V6-5"),
        ({"ENABLE_MULTI_NIC": "true"}, LARGE, "ignored", ("ENABLE_MULTI_NIC",), "DM-54"),
        ({"ENABLE_MULTI_NIC": "true", "WARM_IP_TARGET": "5"}, CARDS, "limits", ("WARM_IP_TARGET",), "POOL-4"),
        (CUSTOM, LARGE, "limits", ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",), "POOL-42"),
        (CUSTOM | {"MAX_ENI": "1"}, LARGE, "starves", ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "MAX_ENI"), "POOL-42"),
        (CUSTOM | {"DISABLE_NETWORK_RESOURCE_PROVISIONING": "true"}, LARGE, "limits",
         ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",), "POOL-39"),
        (CUSTOM | {"ENABLE_SUBNET_DISCOVERY": "true"}, LARGE, "ignored", ("ENABLE_SUBNET_DISCOVERY",), "POOL-39"),
        (BRANCHES, LARGE, "limits", ("ENABLE_POD_ENI",), "SGP-8"),
        (BRANCHES, BARE, "ignored", ("ENABLE_POD_ENI",), "LIM-9"),
        (BRANCHES | {"MAX_ENI": "1"}, LARGE, "starves", ("ENABLE_POD_ENI", "MAX_ENI"), "SGP-6"),
        ({"POD_SECURITY_GROUP_ENFORCING_MODE": "standard"}, LARGE, "ignored", ("POD_SECURITY_GROUP_ENFORCING_MODE",),
         "SGP-9"),
        (SILENT | {"ENABLE_SUBNET_DISCOVERY": "true"}, LARGE, "ignored", ("ENABLE_SUBNET_DISCOVERY",), "EC2-33"),
        (SILENT | {"UPSTREAM_PARITY": "imds_only_asks_ec2"}, LARGE, "risks",
         ("ENABLE_IMDS_ONLY_MODE", "ENABLE_SUBNET_DISCOVERY"), "EC2-33"),
        ({"AWS_VPC_K8S_CNI_EXTERNALSNAT": "true", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": "10.1.0.0/16"}, LARGE,
         "ignored", ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",), "RPC-35"),
    ],
)  # fmt: skip
@pytest.mark.spec("V6-5", "POOL-4", "POOL-42", "SGP-6", "SGP-9", "LIM-9", "EC2-33")
def test_each_family_has_its_verdict(
    env: dict[str, str], instance: Instance, kind: str, names: tuple[str, ...], spec: str
) -> None:
    """What has no effect, what nobody gets, what it costs: with the rule."""
    (verdict,) = [each for each in found(env, instance) if each.names == names]

    assert verdict.kind == kind and spec in verdict.spec


@pytest.mark.parametrize("env", [{}, IPV6, IPV6 | BRANCHES, SILENT | {"ENABLE_SUBNET_DISCOVERY": "false"}])
def test_what_is_in_order_is_not_complained_of(env: dict[str, str]) -> None:
    """An IPv6 node has no pool that could starve or flap, and no warm target of its own."""
    kinds = {each.kind for each in found(env)}

    assert kinds <= ({"limits"} if env is not IPV6 and "ENABLE_IMDS_ONLY_MODE" in env else set())


@pytest.mark.parametrize(
    ("env", "capacity"), [(CUSTOM, 18), (BRANCHES, 18), (CUSTOM | BRANCHES, 9), (IPV6 | BRANCHES, None)]
)
def test_enis_that_serve_no_pod_are_not_counted(env: dict[str, str], capacity: int | None) -> None:
    """Nine addresses on each ENI of an m5.large that is neither the primary one of custom networking nor a trunk."""
    said = [each.reason for each in found(env) if "the others" in each.reason]

    assert all(f"{capacity} addresses" in reason for reason in said)
    assert bool(said) == (capacity is not None)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ENABLE_POD_ENIS", "ENABLE_POD_ENI"),
        ("ENABLE_MULTINIC", "ENABLE_MULTI_NIC"),
        ("ENABLE_IMDS_ONLY", "ENABLE_IMDS_ONLY_MODE"),
        ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CONFIG", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"),
        ("ENABLE_SUBNETS_DISCOVERY", "ENABLE_SUBNET_DISCOVERY"),
        ("POD_SECURITY_GROUPS_ENFORCING_MODE", "POD_SECURITY_GROUP_ENFORCING_MODE"),
        ("ENI_CONFIG_LABEL_DEFAULT", "ENI_CONFIG_LABEL_DEF"),
        ("ENABLE_IPV6", "ENABLE_IPv6"),
    ],
)
def test_a_misspelt_name_of_them_is_warned_of(name: str, meant: str) -> None:
    """Nobody reads it; the warning names the one that was probably meant."""
    (warning,) = load({name: "true"}).warnings

    assert (warning.name, warning.want) == (name, f"the name {meant}")
