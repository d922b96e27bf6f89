"""Who a boto door is: region, endpoint, account, and the limits of a type that our table lacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from ipamd.ec2.boto import open_boto
from ipamd.ec2.boto_client import Access
from ipamd.ec2.boto_imds import Imds
from ipamd.ec2.port import Ec2Error
from tests.ec2_boto.doors import FACTS, door
from tests.ec2_boto.test_imds import FIRST, serving, tree
from tests.ec2_boto.weather import Weather, drop, refusal, weather, xml

pytestmark = pytest.mark.asyncio


@pytest.fixture
def sky() -> Iterator[Weather]:
    with weather() as made:
        yield made


@pytest.mark.spec("EC2-0", "INIT-9")
async def test_region_and_instance_come_from_metadata(sky: Weather) -> None:
    """The region of the identity document signs the requests; AWS_ENDPOINT_URL_EC2 is boto3's own."""
    instance = "<instancesSet><item><instanceId>i-0a</instanceId></item></instancesSet>"
    reservation = f"<reservationSet><item><ownerId>210987654321</ownerId>{instance}</item></reservationSet>"
    sky.tell(lambda _: xml("DescribeInstances", reservation))
    with serving(tree(m0=FIRST)) as service:
        cloud = await open_boto(Access("", sky.url, 5.0, ("any", "any")), Imds(service.url))
        identity = await cloud.identity()
        node = await cloud.node()
        await cloud.close()

    assert "/eu-west-1/ec2/aws4_request" in sky.asked[0]["authorization"]
    assert sky.asked[0]["InstanceId.1"] == "i-0a"
    assert identity.text == (
        f"account 210987654321, region eu-west-1, instance i-0a (m5.large), primary ENI eni-0a, by {sky.url}"
    )
    assert (node.region, node.zone, node.vpc, node.subnet) == ("eu-west-1", "eu-west-1b", "vpc-0a", "subnet-0a")
    assert (node.primary_eni, node.primary_ip, node.enis_max, node.ips_per_eni) == ("eni-0a", "10.0.0.10", 3, 10)
    assert sky.count("DescribeInstanceTypes") == 0


async def test_an_endpoint_that_is_no_url() -> None:
    """An error of the port, not of boto3."""
    with serving(tree(m0=FIRST)) as service, pytest.raises(Ec2Error, match="Invalid endpoint: nonsense"):
        await open_boto(Access("", "nonsense", 5.0, ("any", "any")), Imds(service.url))


@pytest.mark.spec("LIM-4", "LIM-5", "EC2-27")
@pytest.mark.parametrize("hypervisor, prefixes", [("nitro", True), ("xen", False)])
async def test_a_type_that_the_table_lacks(sky: Weather, hypervisor: str, prefixes: bool) -> None:
    """9 ENIs of 99 addresses, as EC2 says."""
    network = (
        "<networkInfo><maximumNetworkInterfaces>9</maximumNetworkInterfaces>"
        "<ipv4AddressesPerInterface>99</ipv4AddressesPerInterface></networkInfo>"
    )
    row = f"<item><instanceType>x9.huge</instanceType><hypervisor>{hypervisor}</hypervisor>{network}</item>"
    sky.tell(lambda _: xml("DescribeInstanceTypes", f"<instanceTypeSet>{row}</instanceTypeSet>"))
    async with door(sky.url) as cloud:
        cloud.facts = replace(FACTS, instance_type="x9.huge")
        node = await cloud.node()

    assert sky.asked[0]["InstanceType.1"] == "x9.huge"
    assert (node.enis_max, node.ips_per_eni, node.max_pods, node.trunking_compatible) == (9, 99, 110, True)
    assert cloud.prefixes_supported is prefixes


@pytest.mark.spec("LIM-4")
async def test_a_type_that_nobody_knows(sky: Weather) -> None:
    """Exactly one item, else upstream's error."""
    sky.tell(lambda _: xml("DescribeInstanceTypes", "<instanceTypeSet/>"))
    async with door(sky.url) as cloud:
        cloud.facts = replace(FACTS, instance_type="x9.huge")
        with pytest.raises(Ec2Error, match=r"Failed calling DescribeInstanceTypes for `x9\.huge`"):
            await cloud.node()


async def test_a_read_is_asked_again_when_its_answer_is_lost(sky: Weather) -> None:
    """It changes nothing; and what EC2 refuses in the end is EC2's own refusal."""
    answers = iter([drop, refusal("InvalidInstanceID.NotFound", "The instance ID 'i-0a' does not exist")])
    sky.tell(lambda asked: next(answers)(asked))
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Error) as refused:
            await cloud.identity()

    assert refused.value.code == "InvalidInstanceID.NotFound"
    assert "asked in region us-west-2: check the region and the account of the credentials" in refused.value.message
    assert sky.count("DescribeInstances") == 2
