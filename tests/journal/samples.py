"""Records like those of a node at work, and journals made of them."""

from __future__ import annotations

from pathlib import Path

from ipamd.core.calls import AssignPrivateIpAddresses, Failed, Granted, Succeeded
from ipamd.core.commands import AddNetwork, Command, DelNetwork, Settle, Start, Tick
from ipamd.core.events import (
    FORMAT,
    AddressAssigned,
    AddressReleased,
    AssignRefused,
    CallEnded,
    CallStarted,
    CidrAdded,
    Event,
    PoolActed,
    Record,
    Started,
    SubnetExhausted,
)
from ipamd.core.settings import Node, Settings
from ipamd.core.types import MS, CallId, Instant, Pod, Sandbox
from ipamd.journal.journal import Journal

NODE = "i-0123456789abcdef0"
ENI = "eni-0a1b2c3d4e5f60718"
START: Instant = 1_732_230_000_000_000_000


def sandbox(n: int) -> Sandbox:
    """The n-th sandbox, with a container id as long as containerd's."""
    return Sandbox("aws-cni", f"{n:064x}", "eth0")


def address(n: int) -> str:
    """The n-th address of 10.0.0.0/16."""
    return f"10.0.{n >> 8 & 255}.{n & 255}"


def assigned(seq: int, n: int | None = None) -> Record:
    """Record `seq`: an AddNetwork that got its address."""
    n = seq if n is None else n
    pod = Pod("default", f"web-{n}", 1)
    block = f"10.0.{n >> 8 & 255}.{n & 240}/28"
    return _record(
        seq,
        AddNetwork(sandbox(n), pod),
        AddressAssigned(address(n), ENI, block, sandbox(n), pod),
    )


def varied(seq: int) -> Record:
    """Record `seq` of a history in which every kind of line occurs: small, large, refused, with odd text."""
    if seq == 1:
        started = Started(Settings(prefix_delegation=True), Node(NODE, "t3.small"), 7)
        return _record(seq, Start(started.settings, started.node, started.seed), started)
    call = AssignPrivateIpAddresses(ENI, prefixes=1)
    match seq % 7:
        case 0:
            why = {"short": 1, "total": 32, "assigned": 20}
            return _record(seq, Tick(), PoolActed("increase", 0, why), CallStarted(CallId(seq), call))
        case 1:
            prefix = f"10.0.{seq & 255}.16/28"
            settled = Settle(CallId(seq - 1), Succeeded(Granted(prefixes=(prefix,))))
            return _record(seq, settled, CallEnded(CallId(seq - 1), "succeeded"), CidrAdded(ENI, prefix))
        case 2:
            released = AddressReleased(address(seq), ENI, "10.0.0.16/28")
            return _record(seq, DelNetwork(sandbox(seq), 'evicted, "crc":"00000000"}'), released)
        case 3:
            pod = Pod("Überfluß", 'name with "quotes", \\ and \n a newline, \x00 and ,"crc":"deadbeef"}')
            refused = AssignRefused("pool_empty", "no free address", None, pod)
            return _record(seq, AddNetwork(sandbox(seq), pod), refused)
        case 4:
            failed = Failed("InsufficientCidrBlocks", "no /28 is free")
            ended = CallEnded(CallId(seq), "failed", failed.code, failed.message)
            return _record(seq, Settle(CallId(seq), failed), ended, SubnetExhausted(failed.code, failed.message))
        case _:
            return assigned(seq)


def _record(seq: int, cause: Command, *events: Event) -> Record:
    return Record(FORMAT, seq, START + seq * MS, NODE, cause, tuple(events))


def write(directory: Path, last: int, segment_bytes: int = 64 << 20) -> list[Record]:
    """A closed journal of the records 1 to `last`; gives them back."""
    records = [varied(seq) for seq in range(1, last + 1)]
    journal = Journal.open(directory, segment_bytes=segment_bytes, sync=False)
    for record in records:
        journal.stage(record)
    journal.close()
    return records


def extend(directory: Path, upto: int, segment_bytes: int = 64 << 20) -> None:
    """Opens the journal again and records on to record `upto`."""
    journal = Journal.open(directory, segment_bytes=segment_bytes, sync=False)
    for seq in range(journal.next_seq, upto + 1):
        journal.stage(varied(seq))
    journal.close()
