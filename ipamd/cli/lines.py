"""Records as lines for people, one an event: `seq  time  cause  Event field=value ...`.

Works from the fields alone, so that every event there is or will be has a line. Texts from outside are escaped.
"""

from __future__ import annotations

import json
from typing import Final

import msgspec

from ipamd.core.commands import Command, Imported
from ipamd.core.events import AssignRefused, Event, Record
from ipamd.core.reasons import REMEDIES
from ipamd.core.types import Pod, Sandbox
from ipamd.core.work import _Work

from .output import time_text, visible

_INSTANTS: Final = frozenset({"due", "held_until"})
_TEXT_MAX: Final = 200
_PLAIN: Final = frozenset("()=,\"'")


def record_lines(record: Record) -> list[str]:
    """One line an event; a record has one at least."""
    head = f"{record.seq:>8}  {time_text(record.at)}  {cause_text(record.cause):<14}"
    return [f"{head}  {event_text(event)}" for event in record.events]


def cause_text(cause: Command) -> str:
    """The command's name, for a look or a call's end with what it was about."""
    name = type(cause).__name__
    if isinstance(cause, Imported) and cause.demand is not None:
        return f"{name}({type(cause.demand).__name__})"
    about = getattr(cause, "lane", "") or getattr(cause, "call_id", "")
    look = getattr(cause, "look", None)
    return f"{name}({type(look).__name__ if look is not None else about})" if look is not None or about else name


def event_text(event: Event) -> str:
    """`AddressAssigned address=10.0.0.16 eni=eni-1 ...`; members that have their default are left out.

    A refusal is followed by what may be done about it, which is not recorded.
    """
    words = [type(event).__name__, *_members(event)]
    if isinstance(event, AssignRefused) and event.reason in REMEDIES:
        words.append(f"remedy={_word(REMEDIES[event.reason])}")
    return " ".join(words)


def _members(struct: msgspec.Struct, short: bool = False) -> list[str]:
    """`name=value` of each member that is not as it is by default; `short` leaves out lists and structs."""
    members = []
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        if short and not isinstance(value, str | int):
            continue
        if field.default is not msgspec.NODEFAULT and value == field.default:
            continue
        if field.default_factory is not msgspec.NODEFAULT and value == field.default_factory():
            continue
        members.append(f"{field.name}={time_text(value) if field.name in _INSTANTS else _text(value)}")
    return members


def _text(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str():
            return _word(value)
        case Sandbox():
            return _word(value.text)
        case Pod():
            return _word(f"{value.namespace}/{value.name}")
        case _Work():
            return f"{type(value).__name__}({' '.join(_members(value, short=True))})"
        case msgspec.Struct():
            return f"{type(value).__name__}({' '.join(_members(value))})"
        case tuple():
            return ",".join(map(_text, value)) or "()"
        case dict():
            return ",".join(f"{_text(key)}={_text(entry)}" for key, entry in value.items()) or "()"
        case _:
            return str(value)


def _word(text: str) -> str:
    """The text as it is, or in quotes where it would not stand as one word; a very long one is cut."""
    shown = visible(text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}... ({len(text)} characters)")
    if shown and " " not in shown and not _PLAIN & set(shown):
        return shown
    return json.dumps(shown, ensure_ascii=False)
