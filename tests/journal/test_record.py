"""One record, one line."""

from __future__ import annotations

import json
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipamd.core.calls import DescribeSubnets, Failed, Subnet, SubnetsView
from ipamd.core.commands import AddNetwork, Command, DelNetwork, Observed, Settle, Tick
from ipamd.core.events import FORMAT, AddressAssigned, AssignRefused, Event, PoolActed, Record
from ipamd.core.types import Pod, Sandbox
from ipamd.journal.errors import CrcMismatch, LineTorn, NotARecord, UnknownVersion
from ipamd.journal.record import begins, decode, encode, head, seal, sealed, verify_crc

from .samples import NODE, START, assigned, varied

TEXT = st.text(max_size=40)
POD = st.builds(Pod, TEXT, TEXT, st.integers(0, 9))
SANDBOX = st.builds(Sandbox, TEXT, TEXT, TEXT)
SUBNET = st.builds(Subnet, TEXT, TEXT, st.integers(0, 2**16), TEXT, st.dictionaries(TEXT, TEXT, max_size=3))
VIEW = st.builds(SubnetsView, st.lists(SUBNET, max_size=3).map(tuple))
COMMAND: st.SearchStrategy[Command] = st.one_of(
    st.builds(AddNetwork, SANDBOX, POD),
    st.builds(DelNetwork, SANDBOX, TEXT),
    st.builds(Tick),
    st.builds(Settle, st.integers(1, 10**6), st.builds(Failed, TEXT, TEXT)),
    st.builds(Observed, st.just(DescribeSubnets()), st.builds(Failed, TEXT, TEXT) | VIEW),
)
EVENT: st.SearchStrategy[Event] = st.one_of(
    st.builds(AddressAssigned, TEXT, TEXT, TEXT, SANDBOX, POD),
    st.builds(AssignRefused, TEXT, TEXT, st.none() | SANDBOX, POD),
    st.builds(PoolActed, st.just("increase"), st.integers(0, 3), st.dictionaries(TEXT, st.integers(0, 99))),
)
RECORD = st.builds(
    Record,
    st.just(FORMAT),
    st.integers(1, 10**18),
    st.integers(0, 2**62),
    TEXT,
    COMMAND,
    st.lists(EVENT, max_size=4).map(tuple),
)


@given(RECORD)
def test_what_is_written_is_read(record: Record) -> None:
    """Any record comes back equal from its line, which is one line of JSON."""
    line = encode(record)

    assert decode(line) == record
    assert decode(line[:-1]) == record
    assert line.count(b"\n") == 1 and b"\0" not in line
    assert json.loads(line)["seq"] == record.seq


def test_a_line_ends_with_the_crc_of_what_stands_before_it() -> None:
    """The last member is `crc`: CRC-32 in lower-case hex of the bytes before `,"crc"`."""
    line = encode(assigned(7))

    body, tail = line[:-19], line[-19:]

    assert tail == b',"crc":"%08x"}\n' % zlib.crc32(body)
    assert list(json.loads(line)) == ["v", "seq", "at", "node", "cause", "events", "crc"]


def test_addresses_blocks_and_event_names_are_plain_text() -> None:
    """What an operator searches for stands in the line as he writes it."""
    line = encode(assigned(300))

    assert b'"10.0.1.44"' in line and b'"10.0.1.32/28"' in line
    assert b'"type":"AddressAssigned"' in line and b'"type":"AddNetwork"' in line


def test_a_text_that_looks_like_a_crc_is_only_text() -> None:
    """The tail has a fixed length, so a pod named like one confuses nothing."""
    record = varied(10)
    assert isinstance(record.cause, AddNetwork) and ',"crc":"' in record.cause.pod.name

    assert decode(encode(record)) == record


def test_every_kind_of_bad_line_has_an_error_of_its_own() -> None:
    """Torn, changed, foreign and newer lines are told apart, the CRC first."""
    line = encode(assigned(1))
    newer = seal(line[:-19].replace(b'"v":1', b'"v":2'))
    foreign = seal(b'{"v":1,"seq":1,"at":1,"node":"","cause":{"type":"Dance"},"events":[]')

    with pytest.raises(LineTorn, match="does not end with its CRC"):
        decode(line[:-5])
    with pytest.raises(CrcMismatch, match=r"CRC is [0-9a-f]{8}, want [0-9a-f]{8}"):
        decode(line.replace(b"10.0.0.1", b"10.0.0.2"))
    with pytest.raises(UnknownVersion, match=r"written in format 2, this ipamd reads up to format 1; use the ipamd"):
        decode(newer)
    with pytest.raises(NotARecord, match="Dance"):
        decode(foreign)
    with pytest.raises(NotARecord, match="not a record"):
        decode(seal(b'{"v":1,"seq":1,"at":oops'))
    with pytest.raises(NotARecord, match="format version"):
        decode(seal(b'{"seq":1'))


def test_a_flipped_digit_of_the_version_is_a_wrong_crc_not_a_newer_version() -> None:
    """The CRC is judged before the version: damage is not mistaken for progress."""
    line = encode(assigned(1)).replace(b'{"v":1', b'{"v":3')

    with pytest.raises(CrcMismatch):
        decode(line)


def test_a_crc_in_capitals_is_not_the_one_that_was_written() -> None:
    """One spelling only: a flipped bit that turns `a` into `A` is found too."""
    seq = next(n for n in range(1, 99) if any(c in b"abcdef" for c in encode(assigned(n))[-11:-3]))
    line = encode(assigned(seq))
    capital = line[:-19] + line[-19:].replace(line[-11:-3], line[-11:-3].upper())

    assert sealed(line[:-1]) and not sealed(capital[:-1])
    with pytest.raises(CrcMismatch):
        verify_crc(capital)


def test_the_head_of_a_line_is_read_without_the_rest() -> None:
    """seq, time and node, also of a node whose name needs escapes."""
    record = msgspec.structs.replace(assigned(9), node='i-"9"\\x')

    found = head(encode(record))

    assert found is not None and found == (FORMAT, 9, record.at, 'i-"9"\\x')
    assert head(encode(assigned(9))) == (FORMAT, 9, START + 9_000_000, NODE)
    assert head(b"not a line\n") is None and head(b"") is None
    assert begins(encode(record), 9) and not begins(encode(record), 90)


def test_text_that_is_not_unicode_is_refused_before_anything_is_staged() -> None:
    """A lone surrogate cannot be written down; the caller hears of it at once."""
    record = msgspec.structs.replace(assigned(1), node="\ud800")

    with pytest.raises(UnicodeEncodeError):
        encode(record)
