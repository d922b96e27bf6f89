"""Which records of a journal are wanted: by pod, address, prefix, ENI or type; all given conditions must hold.

A release names an address and a sandbox but no pod, so the filter remembers who held what. It must see every
record from where it begins; `Filter.wants` is asked once for each.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, NetmaskValueError
from typing import Final, get_args

import msgspec

from ipamd.core import events as ev
from ipamd.core import views
from ipamd.core.commands import AddNetwork, Command, DelNetwork, Imported, RefuseAdd
from ipamd.core.events import Event, Record
from ipamd.core.state import State
from ipamd.core.types import IpText, Pod, Sandbox
from ipamd.core.windows_commands import WindowsPod
from ipamd.core.windows_events import PodKnown

from .output import Usage

_TYPES: Final[dict[str, type]] = {kind.__name__.lower(): kind for kind in (*get_args(Event), *get_args(Command))}
_BLOCK_MIN: Final = {4: 28, 6: 80}
"""Wider CIDRs are subnets and VPCs, not blocks of an ENI."""
_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network
_FIRST: Final = frozenset("0123456789abcdef:")
"""What an address begins with; most other texts do not."""
_SURROUNDINGS: Final = frozenset({"block", "subnet_cidr"})
"""Members that say where something lies, not what it is about: a neighbour's block is no news of an address."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that `Filter.of` reads."""
    text = "records of this pod; * stands for any text"
    parser.add_argument("--pod", action="append", default=[], metavar="[NAMESPACE/]NAME", help=text)
    parser.add_argument("--ip", action="append", default=[], metavar="ADDRESS", help="of this address or its block")
    text = "of this prefix and of the addresses in it, such as 10.0.0.16/28"
    parser.add_argument("--prefix", action="append", default=[], metavar="CIDR", help=text)
    parser.add_argument("--eni", action="append", default=[], metavar="ID", help="of this ENI")
    text = "with this event or cause: AddressAssigned, Tick, ..."
    parser.add_argument("--type", action="append", default=[], metavar="TYPE", help=text)


class Filter:
    """What is wanted. Values of one option are alternatives."""

    def __init__(
        self, pods: list[str], ips: list[str], enis: list[str], types: list[str], prefixes: Sequence[str] = ()
    ) -> None:
        """Raises `Usage` for a text that can be none of these."""
        self._pods = pods
        self._ips = {_asked_address(text) for text in ips}
        self._prefixes = {_asked_prefix(text) for text in prefixes}
        self._enis = enis
        self._types = tuple(type_named(name) for name in types)
        self._by_sandbox: dict[Sandbox, Pod] = {}
        self._by_address: dict[IpText, Pod] = {}
        self._by_uid: dict[str, Pod] = {}
        """Pods of Windows nodes."""

    @classmethod
    def of(cls, args: argparse.Namespace) -> Filter:
        """The filter that a command line asks for. Raises `Usage`."""
        return cls(args.pod, args.ip, args.eni, args.type, args.prefix)

    @property
    def remembers(self) -> bool:
        """Whether it must know who held what before its first record."""
        return bool(self._pods)

    @property
    def everything(self) -> bool:
        """Whether no record is left out."""
        return not (self._pods or self._ips or self._prefixes or self._enis or self._types)

    def begin(self, state: State) -> None:
        """The State before the first record."""
        for held in views.pods(state):
            pod = Pod(held.namespace, held.name)
            self._by_sandbox[Sandbox(held.network, held.container, held.interface)] = pod
            self._by_address[held.address] = pod
        for known in state.windows.pods.values():
            self._by_uid.update((uid, Pod(pod.namespace, pod.name)) for uid, pod in known.items())

    def wants(self, record: Record) -> bool:
        """Whether the record is wanted."""
        if self._pods and not self._of_pods(record):
            return False
        if self._types and not any(isinstance(part, self._types) for part in (record.cause, *record.events)):
            return False
        if self._enis or self._ips or self._prefixes:
            found = list(_strings(msgspec.to_builtins((record.cause, record.events))))
            if self._enis and not any(eni in found for eni in self._enis):
                return False
            blocks = [block for text in found if (block := _block(text)) is not None]
            if self._ips and not any(address in block for block in blocks for address in self._ips):
                return False
            if self._prefixes and not any(_inside(block, prefix) for block in blocks for prefix in self._prefixes):
                return False
        return True

    def _of_pods(self, record: Record) -> bool:
        wanted = False
        cause = record.cause
        if isinstance(cause, Imported) and cause.demand is not None:
            cause = cause.demand
        if isinstance(cause, AddNetwork | RefuseAdd):
            wanted = self._is_wanted(cause.pod)
        elif isinstance(cause, DelNetwork):
            wanted = self._is_wanted(self._by_sandbox.get(cause.sandbox))
        for event in record.events:
            if isinstance(event, ev.AddressAssigned):
                self._by_sandbox[event.sandbox] = self._by_address[event.address] = event.pod
                wanted = wanted or self._is_wanted(event.pod)
            elif isinstance(event, ev.AddressReleased):
                wanted = wanted or self._is_wanted(self._by_address.pop(event.address, None))
            elif isinstance(event, PodKnown):
                self._by_uid[event.pod.uid] = Pod(event.pod.namespace, event.pod.name)
        return wanted or any(self._is_wanted(self._by_uid.get(_uid(part))) for part in (record.cause, *record.events))

    def _is_wanted(self, pod: Pod | None) -> bool:
        if pod is None:
            return False
        names = (pod.name, f"{pod.namespace}/{pod.name}")
        return any(fnmatchcase(name, text) for text in self._pods for name in names)


def _uid(part: object) -> str:
    """The Windows pod that a command or an event is about, if it is about one."""
    known = getattr(part, "pod", None)
    uid = getattr(known if isinstance(known, WindowsPod) else part, "uid", "")
    return uid if isinstance(uid, str) else ""


def type_named(name: str) -> type:
    """The event or the command of that name, in any case. Raises `Usage`."""
    found = _TYPES.get(name.lower())
    if found is None:
        known = ", ".join(kind.__name__ for kind in _TYPES.values())
        raise Usage(f'--type "{name[:80]}": want one of {known}')
    return found


def _asked_address(text: str) -> _Address:
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except AddressValueError:
        raise Usage(f'--ip "{text[:80]}": want an IPv4 address such as 10.0.0.16, or an IPv6 one') from None


def _asked_prefix(text: str) -> _Network:
    want = f'--prefix "{text[:80]}": want a prefix of an ENI such as 10.0.0.16/28 or 2001:db8::/80'
    try:
        prefix = _network(text)
    except (AddressValueError, NetmaskValueError):
        raise Usage(want) from None
    except ValueError:
        first = _network(text, strict=False)
        raise Usage(f"{want}; it lies in {first}") from None
    if "/" not in text or prefix.prefixlen < _BLOCK_MIN[prefix.version]:
        raise Usage(want)
    return prefix


def _network(text: str, strict: bool = True) -> _Network:
    return IPv6Network(text, strict) if ":" in text else IPv4Network(text, strict)


def _block(text: str) -> _Network | None:
    """The block of an ENI, or the one address, that a text is; None for any other text."""
    if not text or text[0] not in _FIRST or not ("." in text or ":" in text):
        return None
    try:
        found = _network(text)
    except ValueError:
        return None
    return found if found.prefixlen >= _BLOCK_MIN[found.version] else None


def _inside(block: _Network, prefix: _Network) -> bool:
    return block.version == prefix.version and block.subnet_of(prefix)  # type: ignore[arg-type]


def _strings(value: object) -> Iterator[str]:
    """Every text inside plain lists and objects."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key not in _SURROUNDINGS:
                yield from _strings(key)
                yield from _strings(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _strings(entry)
