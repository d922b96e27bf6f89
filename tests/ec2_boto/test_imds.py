"""Instance metadata over HTTP: tokens, the paths ipamd reads, and what may be absent (EC2-35..37)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from ipamd.core.calls import MetadataEni
from ipamd.ec2.boto_imds import Imds
from ipamd.ec2.imds_server import ImdsApp, Tree
from ipamd.ec2.port import Ec2Error, Ec2Lost

FIRST: dict[str, Any] = {
    "device-number": "0",
    "interface-id": "eni-0a",
    "local-ipv4s": "10.0.0.10\n10.0.0.11",
    "security-group-ids": "sg-2\nsg-1",
    "subnet-id": "subnet-0a",
    "subnet-ipv4-cidr-block": "10.0.0.0/24",
    "vpc-id": "vpc-0a",
    "vpc-ipv4-cidr-blocks": "10.0.0.0/16\n100.64.0.0/16",
}
SECOND: dict[str, Any] = {
    "device-number": "1",
    "interface-id": "eni-0b",
    "ipv4-prefix": "10.0.0.32/28\n10.0.0.48/28",
    "local-ipv4s": "10.0.0.20",
    "network-card": "0",
    "subnet-id": "subnet-0a",
    "subnet-ipv4-cidr-block": "10.0.0.0/24",
}
BARE: dict[str, Any] = {"device-number": "1", "interface-id": "eni-0c", "network-card": "1", "subnet-id": "subnet-0a"}


def tree(**macs: dict[str, Any]) -> Tree:
    """Metadata of an instance with these ENIs; `m0` is the primary one."""
    named = {f"02:00:00:00:00:0{name[1:]}": fields for name, fields in macs.items()}
    document = json.dumps({"region": "eu-west-1", "accountId": "123456789012"})
    return {
        "dynamic": {"instance-identity": {"document": document}},
        "meta-data": {
            "instance-id": "i-0a",
            "instance-type": "m5.large",
            "local-ipv4": "10.0.0.10",
            "mac": "02:00:00:00:00:00",
            "network": {"interfaces": {"macs": named}},
            "placement": {"availability-zone": "eu-west-1b"},
        },
    }


class Service:
    """A metadata service whose contents and rules a test sets; it counts its tokens."""

    def __init__(self, shown: Tree) -> None:
        self.shown = shown
        self.required = True
        self.on = True
        self.now = 0.0
        self.tokens_asked = 0
        self.refuses_tokens = False
        self.url = ""

    def tree(self, instance: str) -> Tree | None:
        return self.shown

    def enabled(self, instance: str) -> bool:
        return self.on

    def token_required(self, instance: str) -> bool:
        return self.required


class Quiet(WSGIRequestHandler):
    """No line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Roomy(ThreadingMixIn, WSGIServer):
    """A thread a connection: one that a cancelled request left open must not keep the server from ending."""

    request_queue_size = 64
    daemon_threads = True
    block_on_close = False


@contextmanager
def serving(shown: Tree) -> Iterator[Service]:
    """The service on a port of its own."""
    service = Service(shown)
    app = ImdsApp(service, lambda: service.now)

    def counting(environ: Any, start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] == "PUT":
            service.tokens_asked += 1
            if service.refuses_tokens:
                start_response("403 Forbidden", [("Content-Length", "0")])
                return []
        return app(environ, start_response)

    server = make_server("127.0.0.1", 0, counting, Roomy, Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.spec("EC2-37")
@pytest.mark.asyncio
async def test_every_eni_with_its_addresses_and_prefixes() -> None:
    """Ascending card and device; the primary address first; groups and CIDRs are the primary ENI's."""
    with serving(tree(m1=SECOND, m0=FIRST)) as service:
        imds = Imds(service.url)
        seen = await imds.view()
        await imds.close()

    first, second = seen.enis
    assert first == MetadataEni(
        "eni-0a", "02:00:00:00:00:00", 0, "subnet-0a", "10.0.0.0/24", ("10.0.0.10", "10.0.0.11")
    )
    assert second == MetadataEni(
        "eni-0b", "02:00:00:00:00:01", 1, "subnet-0a", "10.0.0.0/24", ("10.0.0.20",), ("10.0.0.32/28", "10.0.0.48/28")
    )
    assert seen.vpc_cidrs == ("10.0.0.0/16", "100.64.0.0/16")
    assert seen.security_groups == ("sg-2", "sg-1")


@pytest.mark.spec("INIT-9")
@pytest.mark.asyncio
async def test_facts_of_the_instance() -> None:
    """The region is the identity document's."""
    with serving(tree(m0=FIRST)) as service:
        imds = Imds(service.url)
        facts = await imds.facts()
        await imds.close()

    assert (facts.region, facts.zone, facts.account) == ("eu-west-1", "eu-west-1b", "123456789012")
    assert (facts.instance, facts.instance_type) == ("i-0a", "m5.large")
    assert (facts.vpc, facts.subnet, facts.primary_eni, facts.primary_ip) == (
        "vpc-0a", "subnet-0a", "eni-0a", "10.0.0.10",
    )  # fmt: skip


@pytest.mark.spec("EC2-36", "EC2-37", "DM-51")
@pytest.mark.asyncio
async def test_what_may_be_absent() -> None:
    """No prefixes, no card, no subnet CIDR; an ENI without addresses is shown bare, as an efa-only one is."""
    plain = {name: text for name, text in SECOND.items() if name not in ("ipv4-prefix", "network-card")}
    plain.pop("subnet-ipv4-cidr-block")
    with serving(tree(m0=FIRST, m1=plain, m2=BARE)) as service:
        imds = Imds(service.url)
        seen = await imds.view()
        await imds.close()

    assert [(eni.eni, eni.prefixes, eni.card, eni.subnet_cidr) for eni in seen.enis] == [
        ("eni-0a", (), 0, "10.0.0.0/24"),
        ("eni-0b", (), 0, ""),
        ("eni-0c", (), 1, ""),
    ]
    assert seen.enis[2].addresses == ()


@pytest.mark.spec("EC2-36")
@pytest.mark.asyncio
@pytest.mark.parametrize("missing", ["interface-id", "device-number", "subnet-id"])
async def test_what_must_not_be_absent(missing: str) -> None:
    """A 404 names the path."""
    with serving(tree(m0=FIRST, m1={name: text for name, text in SECOND.items() if name != missing})) as service:
        imds = Imds(service.url)
        with pytest.raises(Ec2Error, match=rf"02:00:00:00:00:01/{missing}: is absent \(HTTP 404\)"):
            await imds.view()
        await imds.close()


@pytest.mark.asyncio
async def test_one_token_serves_until_it_runs_out() -> None:
    """IMDSv2: asked for once, and again when the service says that it is not valid any more."""
    with serving(tree(m0=FIRST)) as service:
        imds = Imds(service.url)
        await imds.view()
        await imds.view()
        once = service.tokens_asked
        service.now += 7 * 3600
        await imds.view()
        await imds.close()

    assert once == 1
    assert service.tokens_asked == 2


@pytest.mark.asyncio
async def test_version_1_where_there_are_no_tokens() -> None:
    """A service that gives none and wants none."""
    with serving(tree(m0=FIRST)) as service:
        service.refuses_tokens, service.required = True, False
        imds = Imds(service.url)
        seen = await imds.view()
        await imds.view()
        asked = service.tokens_asked
        service.refuses_tokens, service.required = False, True
        later = await imds.view()
        await imds.close()

    assert len(seen.enis) == 1
    assert asked == 1
    assert later == seen


@pytest.mark.asyncio
async def test_tokens_that_do_not_arrive() -> None:
    """The hop limit: the remedy is in the message."""
    with serving(tree(m0=FIRST)) as service:
        service.refuses_tokens = True
        imds = Imds(service.url)
        with pytest.raises(Ec2Error, match=r"wants a token.*http-put-response-hop-limit 2"):
            await imds.view()
        await imds.close()


@pytest.mark.asyncio
async def test_no_service_at_all() -> None:
    """Not on an instance: said at once."""
    imds = Imds("http://127.0.0.1:9")
    with pytest.raises(Ec2Error, match=r"http://127.0.0.1:9: no instance metadata .*--imds"):
        await imds.facts()
    await imds.close()


@pytest.mark.asyncio
async def test_nonsense_is_refused() -> None:
    """A device number that is none, a document that is none, metadata that is switched off."""
    with serving(tree(m0=FIRST, m1={**SECOND, "device-number": "one"})) as service:
        imds = Imds(service.url)
        with pytest.raises(Ec2Error, match="device-number: 'one' is no number"):
            await imds.view()
        service.shown = {**service.shown, "dynamic": {"instance-identity": {"document": "[]"}}}
        with pytest.raises(Ec2Error, match="document: is no JSON object"):
            await imds.facts()
        service.on = False
        with pytest.raises(Ec2Error, match=r"HTTP 403.*--http-endpoint enabled.*--imds"):
            await imds.view()
        await imds.close()


@pytest.mark.asyncio
async def test_a_service_that_hangs() -> None:
    """An answer is waited for as long as it may take, and then it is lost."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        imds = Imds(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.3)
        with pytest.raises(Ec2Lost, match=r"nothing within 0\.3 s"):
            await imds.view()
        await imds.close()


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's own variable, beaten by an argument; else the well-known address."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[fd00:ec2::254]/")
    named = Imds().url
    given = Imds("http://127.0.0.1:5/i-0a/").url
    monkeypatch.delenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")

    assert (named, given, Imds().url) == ("http://[fd00:ec2::254]", "http://127.0.0.1:5/i-0a", "http://169.254.169.254")
