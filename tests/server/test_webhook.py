"""The webhook as an API server meets it: AdmissionReviews over TLS, certificates that change, bodies of any kind."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ipamd.server.certificates import Certificates
from ipamd.server.listen import HttpDoor, ListenError, open_http
from ipamd.server.webhook import Webhook

from .certificate_files import write_pair

WINDOWS_POD = {
    "metadata": {"name": "p"},
    "spec": {"nodeSelector": {"kubernetes.io/os": "windows"}, "containers": [{"name": "a", "resources": {}}]},
}


def review(**request: Any) -> dict[str, Any]:
    """An AdmissionReview as an API server sends it."""
    asked = {"uid": "u-1", "operation": "CREATE", "namespace": "default", "kind": {"kind": "Pod"}, **request}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}


async def served(directory: Path, warned: list[str]) -> tuple[HttpDoor, Certificates]:
    certificates = Certificates(directory, warned.append)
    application = Webhook(lambda: True, lambda _: ()).application()
    door = await open_http(application, "127.0.0.1:0", "--webhook-port", tls=certificates.context)
    return door, certificates


async def post(url: str, authority: Path, body: bytes) -> tuple[int, Any]:
    """One request over a connection of its own, which trusts one certificate only."""
    trusting = ssl.create_default_context(cafile=str(authority))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as http,
        http.post(url, data=body) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if answer.status == 200 else text


@pytest.mark.asyncio
@pytest.mark.spec("WIN-50", "WIN-51", "WIN-52")
async def test_a_review_is_answered_over_tls(tmp_path: Path) -> None:
    """The patch is base64 of a JSON patch; a refusal has a code and a message."""
    authority = write_pair(tmp_path, "first")
    door, _ = await served(tmp_path, [])
    try:
        asked = json.dumps(review(object=WINDOWS_POD)).encode()
        status, answer = await post(f"{door.url}/mutate-v1-pod", authority, asked)
        forged = {"metadata": {"annotations": {"vpc.amazonaws.com/PrivateIPv4Address": "10.0.0.9/32"}}}
        _, refused = await post(f"{door.url}/validate-v1-pod", authority, json.dumps(review(object=forged)).encode())
    finally:
        await door.close()

    assert status == 200 and answer["response"]["uid"] == "u-1" and answer["response"]["allowed"] is True
    patch = json.loads(base64.b64decode(answer["response"]["patch"]))
    assert [operation["path"] for operation in patch] == [
        "/spec/containers/0/resources/limits",
        "/spec/containers/0/resources/requests",
    ]
    assert refused["response"]["allowed"] is False and refused["response"]["status"]["code"] == 403


@pytest.mark.asyncio
async def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    """A new pair from the next handshake on; a pair that is none is reported, and the last good one goes on."""
    live = tmp_path / "live"
    old = write_pair(live, "old")
    kept = tmp_path / "old.crt"
    kept.write_bytes(old.read_bytes())
    warned: list[str] = []
    door, certificates = await served(live, warned)
    body = json.dumps(review(object=WINDOWS_POD)).encode()
    try:
        assert (await post(f"{door.url}/mutate-v1-pod", kept, body))[0] == 200
        new = write_pair(live, "new")
        assert (await post(f"{door.url}/mutate-v1-pod", new, body))[0] == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await post(f"{door.url}/mutate-v1-pod", kept, body)
        good = tmp_path / "new.crt"
        good.write_bytes(new.read_bytes())
        (live / "tls.key").write_text("half a key")
        assert (await post(f"{door.url}/mutate-v1-pod", good, body))[0] == 200
    finally:
        await door.close()

    assert certificates.loaded == 2
    assert len(warned) == 1 and "the last good pair goes on serving" in warned[0]


def test_without_a_pair_the_door_does_not_open(tmp_path: Path) -> None:
    """The error names the file, the fact and what is wanted."""
    with pytest.raises(ListenError, match=r"tls\.crt: No such file or directory; want tls\.crt and tls\.key"):
        Certificates(tmp_path)
    write_pair(tmp_path, "a")
    key = (tmp_path / "tls.key").read_bytes()
    write_pair(tmp_path, "b")
    (tmp_path / "tls.key").write_bytes(key)
    with pytest.raises(ListenError, match="it cannot be used"):
        Certificates(tmp_path)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}',
        b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":7}}', b"[" * 50_000,
    ],
)  # fmt: skip
async def test_bodies_that_are_no_review_are_refused(body: bytes) -> None:
    """With 400 and what is wanted; never with a stack trace."""
    door = await open_http(Webhook(lambda: True, lambda _: ()).application(), "127.0.0.1:0", "--webhook-port")
    try:
        async with aiohttp.ClientSession() as http, http.post(f"{door.url}/mutate-v1-pod", data=body) as answer:
            text = await answer.text()
            assert answer.status == 400 and "AdmissionReview" in text
    finally:
        await door.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/mutate-v1-pod", "/validate-v1-pod", "/validate-v1-node"])
@pytest.mark.parametrize(
    "thing",
    [None, {}, {"metadata": None, "spec": None}, {"metadata": [], "spec": "x"}, {"spec": {"containers": [None]}},
     {"metadata": {"labels": {"a": 1}, "annotations": 3}, "spec": {"nodeSelector": {"kubernetes.io/os": "windows"},
      "containers": "none"}}],
)  # fmt: skip
async def test_objects_of_any_shape_get_an_answer(path: str, thing: Any) -> None:
    """The API server checks shapes; here they only must not fail."""
    door = await open_http(Webhook(lambda: True, lambda _: ()).application(), "127.0.0.1:0", "--webhook-port")
    asked = review(object=thing, oldObject=thing, userInfo={"username": 5})
    try:
        async with aiohttp.ClientSession() as http, http.post(f"{door.url}{path}", json=asked) as answer:
            assert answer.status == 200
            assert (await asyncio.wait_for(answer.json(), 5))["response"]["allowed"] is True
    finally:
        await door.close()
