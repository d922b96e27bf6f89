"""Requests over HTTP: retries, lost answers, time limits, pages; EC2's errors in the port's words."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    Done,
    Ec2Call,
    EnisView,
    FindNetworkInterfaces,
    Granted,
    UnassignPrivateIpAddresses,
)
from ipamd.ec2.port import Ec2Error, Ec2Lost
from tests.ec2_boto.doors import door
from tests.ec2_boto.weather import Reply, Weather, drop, hang, in_turn, refusal, weather, xml

ASSIGN = AssignPrivateIpAddresses("eni-0b", prefixes=1)
TAG = CreateTags("eni-0b", {"k": "v"})
ASSIGNED = xml(
    "AssignPrivateIpAddresses",
    "<networkInterfaceId>eni-0b</networkInterfaceId><assignedIpv4PrefixSet><item><ipv4Prefix>10.0.0.16/28</ipv4Prefix>"
    "</item></assignedIpv4PrefixSet>",
)
TAGGED = xml("CreateTags", "<return>true</return>")


@pytest.fixture
def sky() -> Iterator[Weather]:
    with weather() as made:
        yield made


@pytest.mark.spec("EC2-20")
@pytest.mark.asyncio
async def test_a_call_and_its_result(sky: Weather) -> None:
    """The count in EC2's words, the grant in ours."""
    sky.tell(lambda _: ASSIGNED, "AssignPrivateIpAddresses")
    async with door(sky.url) as cloud:
        result = await cloud.call(ASSIGN)

    assert result == Granted(prefixes=("10.0.0.16/28",))
    assert {k: sky.asked[0][k] for k in ("Action", "NetworkInterfaceId", "Ipv4PrefixCount")} == {
        "Action": "AssignPrivateIpAddresses", "NetworkInterfaceId": "eni-0b", "Ipv4PrefixCount": "1",
    }  # fmt: skip
    assert "SecondaryPrivateIpAddressCount" not in sky.asked[0]


@pytest.mark.spec("POOL-29")
@pytest.mark.asyncio
async def test_an_answer_without_content_grants_nothing(sky: Weather) -> None:
    """The reply may be empty."""
    sky.tell(lambda _: xml("AssignPrivateIpAddresses", ""), "AssignPrivateIpAddresses")
    async with door(sky.url) as cloud:
        assert await cloud.call(ASSIGN) == Granted()


@pytest.mark.asyncio
async def test_throttling_is_waited_out(sky: Weather) -> None:
    """A throttled request had no effect, so even an assign is sent again, more slowly."""
    sky.tell(in_turn(refusal("RequestLimitExceeded", status=503), lambda _: ASSIGNED), "AssignPrivateIpAddresses")
    async with door(sky.url) as cloud:
        result = await cloud.call(ASSIGN)

    assert result == Granted(prefixes=("10.0.0.16/28",))
    assert sky.count("AssignPrivateIpAddresses") == 2


@pytest.mark.asyncio
async def test_a_throttled_account_is_told_so(sky: Weather) -> None:
    """After its tries it is EC2's own refusal, with the region and what happens next; no effect."""
    sky.tell(refusal("RequestLimitExceeded", "Request limit exceeded.", 503))
    async with door(sky.url, 2.0) as cloud:
        with pytest.raises(Ec2Error) as refused:
            await cloud.call(ASSIGN)

    assert refused.value.code == "RequestLimitExceeded"
    assert "Request limit exceeded; the account is throttled in us-west-2 (tried" in refused.value.message
    assert sky.count("AssignPrivateIpAddresses") > 1


@pytest.mark.parametrize(
    "call",
    [
        ASSIGN,
        AttachNetworkInterface("eni-0b", 1),
        DetachNetworkInterface("eni-0b", "eni-attach-0b"),
        UnassignPrivateIpAddresses("eni-0b", addresses=("10.0.0.7",)),
        CreateNetworkInterface("subnet-0a", (), "no token", ""),
    ],
    ids=lambda call: type(call).__name__,
)
@pytest.mark.parametrize("told", [drop, refusal("InternalError", status=500)], ids=["broken", "500"])
@pytest.mark.asyncio
async def test_what_would_happen_twice_is_sent_once(sky: Weather, call: Ec2Call, told: object) -> None:
    """A broken connection, or a failure inside EC2: the effect is unknown, and only looking can tell."""
    sky.tell(told)  # type: ignore[arg-type] # one of the two above
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Lost):
            await cloud.call(call)

    assert len(sky.asked) == 1


@pytest.mark.parametrize("told", [drop, refusal("InternalError", status=500)], ids=["broken", "500"])
@pytest.mark.asyncio
async def test_what_may_happen_twice_is_sent_again(sky: Weather, told: object) -> None:
    """Tags are the same when set twice."""
    sky.tell(in_turn(told, lambda _: TAGGED))  # type: ignore[arg-type] # one of the two above
    async with door(sky.url) as cloud:
        assert await cloud.call(TAG) == Done()

    assert sky.count("CreateTags") == 2


@pytest.mark.asyncio
async def test_a_create_is_repeated_with_its_token(sky: Weather) -> None:
    """EC2 gives the same ENI for the same client token."""
    eni = (
        "<networkInterface><networkInterfaceId>eni-0c</networkInterfaceId><macAddress>02:00</macAddress>"
        "<subnetId>subnet-0a</subnetId><privateIpAddressesSet><item><privateIpAddress>10.0.0.9</privateIpAddress>"
        "<primary>false</primary></item><item><privateIpAddress>10.0.0.8</privateIpAddress><primary>true</primary>"
        "</item></privateIpAddressesSet></networkInterface>"
    )
    sky.tell(in_turn(drop, lambda _: xml("CreateNetworkInterface", eni)))
    async with door(sky.url) as cloud:
        made = await cloud.call(CreateNetworkInterface("subnet-0a", ("sg-1",), "d", "t-1", 1, tags={"a": "b"}))

    assert (made.primary_ip, made.addresses) == ("10.0.0.8", ("10.0.0.9",))  # type: ignore[union-attr]
    assert [asked["ClientToken"] for asked in sky.asked] == ["t-1", "t-1"]
    assert sky.asked[0]["SecurityGroupId.1"] == "sg-1"
    assert sky.asked[0]["TagSpecification.1.Tag.1.Key"] == "a"


@pytest.mark.asyncio
async def test_a_refusal_after_a_lost_answer_is_no_refusal(sky: Weather) -> None:
    """The first try may have had its effect, whatever the second one was answered."""
    sky.tell(in_turn(drop, refusal("InvalidParameterValue")))
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Lost):
            await cloud.call(TAG)

    assert sky.count("CreateTags") == 2


@pytest.mark.asyncio
async def test_an_answer_that_never_comes_is_lost_in_time(sky: Weather) -> None:
    """Each request has a time; the loop runs meanwhile; closing waits for nobody."""
    sky.tell(hang)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.create_task(beat())
    async with door(sky.url, 0.8) as cloud:
        began = time.monotonic()
        with pytest.raises(Ec2Lost) as lost:
            await cloud.call(ASSIGN)
        took = time.monotonic() - began
        closing = time.monotonic()
    closed = time.monotonic() - closing
    heart.cancel()

    assert 0.7 < took < 2
    assert "nothing within 0.8 s" in lost.value.why or "Read timeout" in lost.value.why
    assert beats > 20
    assert closed < 0.5


@pytest.mark.asyncio
async def test_nothing_is_sent_after_its_time(sky: Weather) -> None:
    """A caller that was told to look elsewhere must not be surprised by a late effect."""
    sky.tell(refusal("RequestLimitExceeded", status=503))
    async with door(sky.url, 0.3) as cloud:
        with pytest.raises(Ec2Error):
            await cloud.call(ASSIGN)
        sent = len(sky.asked)
        async with asyncio.timeout(10):  # the thread ends by itself: its next try is not made
            while any(thread.name.startswith("ec2 Assign") for thread in threading.enumerate()):
                await asyncio.sleep(0.02)

    assert len(sky.asked) == sent


@pytest.mark.asyncio
async def test_nobody_listens() -> None:
    """Never sent, so no effect: a failure, not a lost answer."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with door(url, 2.0) as cloud:
            with pytest.raises(Ec2Error) as refused:
                await cloud.call(ASSIGN)

    assert refused.value.code == ""
    assert url in refused.value.message
    assert "check the endpoint" in refused.value.message or "not sent in time" in refused.value.message


@pytest.mark.parametrize(
    "code, remedy",
    [
        ("ExpiredToken", "the credentials have expired"),
        ("RequestExpired", "the credentials have expired or the clock is wrong"),
        ("AuthFailure", "check the credentials, and that the account may use region us-west-2"),
        ("UnauthorizedOperation", "allow ec2:AssignPrivateIpAddresses: `ipamd ec2 preflight`"),
        ("OptInRequired", "the account may not use EC2 in region us-west-2"),
        ("InvalidSubnetID.NotFound", "asked in region us-west-2"),
    ],
)
@pytest.mark.asyncio
async def test_refusals_come_with_a_remedy(sky: Weather, code: str, remedy: str) -> None:
    """Thing, fact, remedy; EC2's code stays as it is."""
    blob = "You are not authorized. Encoded authorization failure message: " + "x" * 3000
    sky.tell(refusal(code, blob, 403))
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Error) as refused:
            await cloud.call(ASSIGN)

    assert refused.value.code == code
    assert refused.value.message.startswith("You are not authorized; ")
    assert remedy in refused.value.message


@pytest.mark.asyncio
async def test_newer_credentials_are_found(sky: Weather, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile whose keys have expired is read again, without a restart."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    sky.tell(in_turn(refusal("ExpiredToken"), lambda _: TAGGED))
    file.write_text("[default]\naws_access_key_id=OLDKEY\naws_secret_access_key=s\n")
    async with door(sky.url, key=None) as cloud:
        with pytest.raises(Ec2Error, match="credentials have expired"):
            await cloud.call(TAG)
        file.write_text("[default]\naws_access_key_id=NEWKEY\naws_secret_access_key=s\n")
        await cloud.call(TAG)

    assert ["OLDKEY/" in asked["authorization"] for asked in sky.asked] == [True, False]
    assert "NEWKEY/" in sky.asked[1]["authorization"]


@pytest.mark.spec("EC2-30")
@pytest.mark.asyncio
async def test_a_refusal_the_machine_reads_is_left_as_it_is(sky: Weather) -> None:
    """EC2-30 reads the id between the quotes."""
    text = "The networkInterface ID 'eni-0b' does not exist"
    sky.tell(refusal("InvalidNetworkInterfaceID.NotFound", text))
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Error) as refused:
            await cloud.call(DeleteNetworkInterface("eni-0b"))

    assert (refused.value.code, refused.value.message) == ("InvalidNetworkInterfaceID.NotFound", text)


@pytest.mark.asyncio
async def test_an_answer_that_is_no_answer_is_lost(sky: Weather) -> None:
    """Some proxy's page; a document that lacks what EC2 always sends."""
    async with door(sky.url) as cloud:
        for body in ("<html><p>welcome", '<AttachNetworkInterfaceResponse xmlns="x"/>'):
            sky.tell(lambda _, body=body: Reply(200, body))  # type: ignore[misc]
            with pytest.raises(Ec2Lost):
                await cloud.call(AttachNetworkInterface("eni-0b", 1))


@pytest.mark.spec("EC2-42")
@pytest.mark.asyncio
async def test_listings_are_read_to_the_end(sky: Weather) -> None:
    """Page by page; ENIs are asked for 1000 at a time, but not when they are named."""

    def page(asked: dict[str, str]) -> Reply:
        number = int(asked.get("NextToken", "0"))
        more = f"<nextToken>{number + 1}</nextToken>" if number < 2 else ""
        row = f"<item><networkInterfaceId>eni-{number}</networkInterfaceId><status>available</status></item>"
        return xml("DescribeNetworkInterfaces", f"<networkInterfaceSet>{row}</networkInterfaceSet>{more}")

    sky.tell(page)
    async with door(sky.url) as cloud:
        seen = await cloud.look(FindNetworkInterfaces({"who": "me"}))
        sky.tell(lambda _: xml("DescribeNetworkInterfaces", ""))
        await cloud.look(DescribeNetworkInterfaces(("eni-1",)))

    assert isinstance(seen, EnisView)
    assert [eni.eni for eni in seen.enis] == ["eni-0", "eni-1", "eni-2"]
    assert sky.asked[0]["MaxResults"] == "1000"
    assert sky.asked[0]["Filter.1.Name"] == "status"
    assert (sky.asked[0]["Filter.2.Name"], sky.asked[0]["Filter.2.Value.1"]) == ("vpc-id", "vpc-0a")
    assert (sky.asked[0]["Filter.3.Name"], sky.asked[0]["Filter.3.Value.1"]) == ("tag:who", "me")
    assert "MaxResults" not in sky.asked[3]


@pytest.mark.asyncio
async def test_a_listing_without_end_is_given_up(sky: Weather, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that hands out its tokens in a circle."""
    monkeypatch.setattr("ipamd.ec2.boto.PAGES_MAX", 3)
    sky.tell(lambda _: xml("DescribeSubnets", "<nextToken>again</nextToken>"))
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Lost, match="an end after 3 pages"):
            await cloud.look(DescribeSubnets())


@pytest.mark.spec("EC2-5")
@pytest.mark.asyncio
async def test_the_instance_must_be_in_one_reservation(sky: Weather) -> None:
    """None at all is most likely another region."""
    sky.tell(lambda _: xml("DescribeInstances", "<reservationSet/>"))
    async with door(sky.url) as cloud:
        with pytest.raises(Ec2Error, match=r"0 reservations.*check region us-west-2"):
            await cloud.look(DescribeInstances())
