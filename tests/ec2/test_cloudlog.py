"""The embedded cloud's log: readable, whole or refused, and short."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest

from ipamd.core.calls import (
    AssignPrivateIpAddresses,
    CreateTags,
    MetadataView,
    ReadMetadata,
)
from ipamd.core.types import SECOND
from ipamd.ec2.cloudlog import CloudDamaged
from ipamd.ec2.embedded import CloudOptions, EmbeddedCloud
from tests.ec2.clouds import Clock, abandon, log_of, populated, reopened
from tests.ec2.worlds import primary


@pytest.mark.asyncio
async def test_the_log_is_lines_with_a_checksum_that_grep_finds(tmp_path: Path) -> None:
    """Each line ends in the CRC-32 of what stands before it; calls, ids and addresses are plain text."""
    cloud = await populated(tmp_path)
    await cloud.close()
    lines = log_of(tmp_path).read_bytes().splitlines()
    for line in lines:
        body, _, tail = line.rpartition(b',"crc":"')
        assert tail == b'%08x"}' % zlib.crc32(body)
    changes = [json.loads(line) for line in lines if b'"Changed"' in line]
    assert [c["call"]["type"] for c in changes] == [
        "CreateNetworkInterface",
        "AttachNetworkInterface",
        "AssignPrivateIpAddresses",
        "CreateTags",
    ]
    assert changes[0]["call_id"] == 7 and "10.0.0.16/28" in changes[2]["rows"][0]["prefixes"]


@pytest.mark.asyncio
async def test_the_log_cut_at_every_byte_of_its_last_line(tmp_path: Path) -> None:
    """A torn last line is dropped, the rest is there, and the log can be written on."""
    cloud = await populated(tmp_path)
    await cloud.close()
    path = log_of(tmp_path)
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rindex(b"\n") + 1
    serial = cloud.vpc.serial
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        again = reopened(tmp_path)
        kept = cut == len(whole) - 1  # all but the line end: the change is known
        assert again.vpc.serial == (serial if kept else serial - 1)
        assert path.read_bytes() == (whole if kept else whole[:start])
        abandon(again)
    path.write_bytes(whole[: len(whole) - 3])
    again = reopened(tmp_path)
    await again.call(AssignPrivateIpAddresses(primary(again.vpc), 1))
    await again.close()
    last = reopened(tmp_path)
    assert (last.vpc.serial, last.vpc.rows()) == (serial, again.vpc.rows())
    abandon(last)


@pytest.mark.asyncio
async def test_a_flipped_bit_anywhere_is_refused_with_its_line(tmp_path: Path) -> None:
    """Every byte of the log, one bit each: never read as if nothing had happened, and never forgotten quietly."""
    cloud = await populated(tmp_path)
    await cloud.close()
    path = log_of(tmp_path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(CloudDamaged, match=r"cloud\.jsonl, line \d+: .*; restore the file") as damage:
            reopened(tmp_path)
        assert abs(damage.value.line - whole.count(b"\n", 0, position) - 1) <= 1


@pytest.mark.asyncio
async def test_missing_lines_are_damage(tmp_path: Path) -> None:
    """A line taken out of the image or of the changes is noticed, though every other checksum fits."""
    cloud = await populated(tmp_path)
    await cloud.close()
    path = log_of(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for missing in range(len(lines) - 1):
        path.write_bytes(b"".join(lines[:missing] + lines[missing + 1 :]))
        with pytest.raises(CloudDamaged):
            reopened(tmp_path)
    path.write_bytes(b"".join(lines[:3]))
    with pytest.raises(CloudDamaged, match="line 4: the image ends before"):
        reopened(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(CloudDamaged, match="does not begin with an image"):
        reopened(tmp_path)


@pytest.mark.asyncio
async def test_a_compacted_log_tells_the_same(tmp_path: Path) -> None:
    """The log stays short however long the cloud lives; nothing is lost by it, metadata included."""
    cloud = EmbeddedCloud.open(tmp_path, CloudOptions(compact_bytes=4000), clock=Clock())
    eni = primary(cloud.vpc)
    sizes = []
    for number in range(40):
        await cloud.call(CreateTags(eni, {"n": str(number)}))
        sizes.append(log_of(tmp_path).stat().st_size)
    await cloud.call(AssignPrivateIpAddresses(eni, 2))
    assert max(sizes) < 6000 and min(sizes[5:]) < 2500
    before, serial = cloud.vpc.rows(), cloud.vpc.serial
    seen = await cloud.look(ReadMetadata())
    await cloud.close()
    again = reopened(tmp_path)
    assert (again.vpc.rows(), again.vpc.serial) == (before, serial)
    assert await again.look(ReadMetadata()) == seen
    await again.close()


@pytest.mark.asyncio
async def test_no_compaction_while_metadata_lags(tmp_path: Path) -> None:
    """An image has no past: an ENI must not vanish from metadata because its cloud was compacted and reopened."""
    options = CloudOptions(compact_bytes=1, metadata_lag=60 * SECOND)
    clock = Clock()
    cloud = EmbeddedCloud.open(tmp_path, options, clock=clock)
    eni = primary(cloud.vpc)
    await cloud.call(AssignPrivateIpAddresses(eni, 1))
    await cloud.call(CreateTags(eni, {"a": "b"}))
    await cloud.close()
    again = EmbeddedCloud.open(tmp_path, options, clock=clock)
    view = await again.look(ReadMetadata())
    assert isinstance(view, MetadataView) and view.enis[0].addresses == ("10.0.0.4",)
    clock.now += 60 * SECOND
    view = await again.look(ReadMetadata())
    assert isinstance(view, MetadataView) and len(view.enis[0].addresses) == 2
    await again.call(CreateTags(eni, {"a": "c"}))
    assert b'"Changed"' not in log_of(tmp_path).read_bytes()
    await again.close()
