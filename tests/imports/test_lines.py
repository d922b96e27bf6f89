"""Lines of every era and shape are read; real ones too, where a folder of them is named by IPAMD_LOG_SAMPLES."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

import pytest

from ipamd.core.types import MS
from ipamd.imports.lines import Said, Unread, instant, said
from ipamd.imports.patterns import PATTERNS, match

NOON = 1_767_268_800_000 * MS
"""2026-01-01T12:00:00Z."""


def read(text: str) -> list[Said | Unread]:
    """The messages of a log."""
    return list(said(io.BytesIO(text.encode()), "ipamd.log"))


@pytest.mark.parametrize(
    "line",
    [
        '{"level":"info","ts":"2026-01-01T12:00:00.000Z","caller":"a/b.go:1","msg":"hello"}',
        '{"level":"info","ts":"2026-01-01T14:00:00.000+0200","caller":"a/b.go:1","msg":"hello","controller":"x"}',
        '{"level":"info","ts":1767268800.0,"msg":"hello"}',
        "2026-01-01T12:00:00Z [INFO] hello",
        "2026-01-01T12:00:00.000Z [INFO]\thello",
        'time="2026-01-01T12:00:00Z" level=info msg="hello"',
        '[pod/aws-node-x7x2p/aws-node] {"level":"info","ts":"2026-01-01T12:00:00.000Z","msg":"hello"}',
        '2026-01-01T12:00:00.1Z stdout F {"level":"info","ts":"2026-01-01T12:00:00.000Z","msg":"hello"}',
    ],
)
def test_every_shape_of_line_is_read(line: str) -> None:
    """JSON with `Z` or an offset, seelog text with and without milliseconds, logrus, kubectl's and CRI's prefixes."""
    assert read(line + "\n") == [Said(1, NOON, "info", "hello")]


def test_klog_lines_tell_no_time() -> None:
    """Their year is not in them; they count as of the line before."""
    assert read("W0101 12:00:00.000001       1 reflector.go:1] gone\n") == [Said(1, None, "warn", "gone")]


@pytest.mark.parametrize(
    "line", ["goroutine 7 [select]:", '{"level":', '{"ts":1}', "[]", "\x00\x01", '{"msg":' + "[" * 9000]
)
def test_other_lines_are_counted(line: str) -> None:
    """Never an error."""
    assert read(line + "\n") == [Unread(1, False)]


@pytest.mark.parametrize(
    "text", ["", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "2026-13-01T00:00:00.000Z"]
)
def test_a_time_that_is_none_is_not_believed(text: str) -> None:
    """Nor one of no plausible year."""
    assert instant(text) is None


SAID = {
    "A1": "assignPodIPAddressUnsafe: Assign IP 10.0.0.5 to sandbox aws-cni/c0/eth0 with metadata "
    "{K8SPodNamespace:shop K8SPodName:web InterfacesCount:1}",
    "A2": "assignPodIPAddressUnsafe: Assign IP 10.0.0.5 to sandbox aws-cni/c0/eth0",
    "A3": "AssignPodIPv4Address: Assign IP 10.0.0.5 to sandbox aws-cni/c0/eth0",
    "A4": "AssignPodIPv4Address: Assign IP 10.0.0.5 to pod (name web, namespace shop sandbox c0)",
    "B1": "unassignPodIPAddressUnsafe: Unassign IP 10.0.0.5 from sandbox aws-cni/c0/eth0",
    "B2": "UnAssignPodIPAddress: Unassign IP 10.0.0.5 from sandbox aws-cni/c0/eth0",
    "B3": "UnassignPodIPAddress: sandbox aws-cni/c0/eth0's ipAddr 10.0.0.5, DeviceNumber 1",
    "C1": "DataStore Add an ENI eni-1",
    "C3": "Added ENI(eni-1)'s IP 10.0.0.5/32 to datastore",
    "C8": "Recovered aws-cni/c0/eth0 => eni-1/10.0.0.5",
    "D5": "Send AddNetworkReply: IPv4Addr 10.0.0.5, DeviceNumber: 0, err: <nil>",
    "E1b": "IP stats - total IPs: 18, assigned IPs: 3, cooldown IPs: 0",
    "E2b": "IP pool stats: total = 18, used = 3, c.currentMaxAddrsPerENI = 9",
    "G2b": "Created a new eni: eni-1",
    "H5": "TeardownPodNetwork: containerAddr=10.0.0.5/32, routeTable=254",
}


@pytest.mark.parametrize("name", SAID)
def test_messages_of_all_releases_are_known(name: str) -> None:
    """Own lines in the words of the releases from 1.3 to 1.23."""
    found = match(SAID[name])

    assert found is not None and found.id == name


def test_every_pattern_is_reached_by_its_first_words() -> None:
    """The index by first characters loses none: each pattern's fixed beginning leads to a list that holds it."""
    from ipamd.imports.patterns import _BY_HEAD, _LOOSE, _literal

    lost = [
        name
        for name, pattern in PATTERNS.items()
        if name not in {known for known, _ in _BY_HEAD.get(_literal(pattern)[:5], _LOOSE)}
    ]

    assert lost == []


SAMPLES = os.environ.get("IPAMD_LOG_SAMPLES", "")


@pytest.mark.skipif(not SAMPLES, reason="IPAMD_LOG_SAMPLES names no folder of real lines; own lines run everywhere")
def test_real_lines_all_parse() -> None:
    """Each is read; and, unless its author cut it short, its message is known."""
    shape = re.compile(r'\{"level"|\d{4}-\d\d-\d\dT\S+ \[')
    lines = [
        line for path in sorted(Path(SAMPLES).iterdir()) for line in path.read_text().splitlines() if shape.match(line)
    ]

    told = [read(f"{line}\n")[0] for line in lines]
    strange = [one for one in told if not isinstance(one, Said) or (match(one.msg) is None and "…" not in one.msg)]

    assert len(lines) > 20 and strange == []
