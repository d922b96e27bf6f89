"""What is sought: a pod, an address, an ENI or a type of record, told apart by how it is written.

    web-0   default/web-0   web-*     a pod
    10.0.0.16   2001:db8::5           an address, and the prefix that it lies in
    10.0.0.16/28                      a prefix, and the addresses in it
    eni-0e5c9cdd                      an ENI
    AssignRefused, tick               an event or a cause
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from ipamd.core.events import Record
from ipamd.core.state import State

from ..filters import Filter, type_named
from ..output import Usage

_ADDRESS: Final = re.compile(r"(\d+\.\d+\.\d+\.)\d+|[0-9a-f]*:[0-9a-f:]*", re.IGNORECASE)
_PREFIX: Final = re.compile(r"(?:[0-9.]+|[0-9a-f:]+)/\d+", re.IGNORECASE)
_ABOUT_PODS: Final = (b"Network", b"RefuseAdd", b"Address", b"Pod")
REFUSED: Final = (b'"AssignRefused"', b'"PodWaits"')
"""What the line of a refusal has in it."""
By = Literal["pod", "ip", "prefix", "eni", "type"]


class Query(msgspec.Struct, frozen=True):
    """`needles`: a line that has none of them in it need not be decoded."""

    by: By
    text: str
    needles: tuple[bytes, ...]

    def filter(self) -> Filter:
        """A fresh one; it remembers who held what from where it begins."""
        chosen: dict[By, list[str]] = {"pod": [], "ip": [], "prefix": [], "eni": [], "type": []}
        chosen[self.by].append(self.text)
        return Filter(chosen["pod"], chosen["ip"], chosen["eni"], chosen["type"], chosen["prefix"])


def query(text: str) -> Query:
    """What a person typed. Raises `Usage` for nothing at all, or for an address that is none."""
    wanted = text.strip()
    if not wanted:
        raise Usage("type a pod, an address, a prefix, an ENI or a type of record")
    if wanted.startswith("eni-"):
        return Query("eni", wanted, (wanted.encode(),))
    if found := _ADDRESS.fullmatch(wanted):
        return _checked(Query("ip", wanted, (found[1].encode(),) if found[1] else (b":",)))
    if _PREFIX.fullmatch(wanted):
        dots = wanted.split(".")
        return _checked(Query("prefix", wanted, (".".join(dots[:3]).encode() + b".",) if dots[3:] else (b":",)))
    try:
        kind = type_named(wanted).__name__
    except Usage:
        return Query("pod", wanted, _ABOUT_PODS)
    return Query("type", kind, (f'"{kind}"'.encode(),))


def _checked(made: Query) -> Query:
    made.filter()
    return made


def matcher(asked: Query, begin: Callable[[], State]) -> Callable[[Record], bool]:
    """Whether a record is meant. `begin` gives the State before the first record that will be asked about."""
    chosen = asked.filter()
    if chosen.remembers:
        chosen.begin(begin())
    return chosen.wants
