"""Fault scripts: what shall go wrong, as data that a file can hold.

A list of steps, each about one action (EC2's name, or `ReadMetadata`):

    - {action: AssignPrivateIpAddresses, do: fail, code: InsufficientCidrBlocks, times: 2}
    - {action: CreateNetworkInterface, do: lose the reply, effect: true}
    - {action: AttachNetworkInterface, do: delay, seconds: 30, skip: 1}
    - {action: CreateNetworkInterface, do: do it twice}
    - {action: AssignPrivateIpAddresses, do: grant, at_most: 1}
    - {action: DescribeNetworkInterfaces, do: fail, code: RequestLimitExceeded, from: 60, until: 90, times: -1}

`from` and `until` are seconds after the script begins; `skip` lets so many requests through first; `times` is how
often the step applies (once by default, -1: always). Every step may have `seconds` of delay.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import msgspec

from ipamd.core.calls import FindNetworkInterfaces, ReadMetadata
from ipamd.core.types import SECOND, Instant

from .faults import ALWAYS, Fault
from .requests import Change, Listing, ReadInstanceMetadata

Deed = Literal["fail", "delay", "lose the reply", "do it twice", "grant"]
ACTIONS: Final = frozenset(
    kind.__name__
    for kind in (*get_args(Change), *get_args(Listing), ReadInstanceMetadata, ReadMetadata, FindNetworkInterfaces)
)


class FaultStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    """One step as it is written down."""

    action: str
    do: Deed
    code: str = ""
    message: str = "injected"
    effect: bool = True
    at_most: int = -1
    seconds: float = 0
    times: int = 1
    skip: int = 0
    start: float = 0
    until: float = 0


class BadFaultScript(ValueError):
    """A step that cannot be meant; the message says which, what, and what would do."""


def faults_of(steps: object, begins: Instant = 0) -> tuple[Fault, ...]:
    """The rules of a decoded script whose times count from `begins`. Raises `BadFaultScript`."""
    try:
        script = msgspec.convert(steps, list[FaultStep])
    except msgspec.ValidationError as error:
        raise BadFaultScript(f"fault script: {error}; want a list of steps with `action` and `do`") from error
    return tuple(_fault(number, step, begins) for number, step in enumerate(script, 1))


def _fault(number: int, step: FaultStep, begins: Instant) -> Fault:
    where = f"fault script, step {number}"
    if step.action not in ACTIONS:
        raise BadFaultScript(f"{where}: action={step.action[:80]!r}: want an EC2 action such as CreateTags")
    if step.do == "fail" and not step.code and step.action not in ("ReadMetadata", "ReadInstanceMetadata"):
        raise BadFaultScript(f"{where}: a failure without code; want one such as InsufficientCidrBlocks")
    if step.do == "delay" and step.seconds <= 0:
        raise BadFaultScript(f"{where}: a delay of {step.seconds:g} s; want seconds > 0")
    if step.do == "grant" and step.at_most < 0:
        raise BadFaultScript(f"{where}: a grant without at_most; want a count >= 0")
    if step.times == 0 or step.times < ALWAYS or step.skip < 0 or min(step.start, step.until, step.seconds) < 0:
        raise BadFaultScript(f"{where}: a negative figure or times=0; want times >= 1 or {ALWAYS} for always")
    return Fault(
        action=step.action,
        times=step.times,
        lost=step.do == "lose the reply",
        effect=step.effect,
        code=step.code if step.do == "fail" else "",
        message=step.message if step.do == "fail" else "",
        twice=step.do == "do it twice",
        at_most=step.at_most if step.do == "grant" else -1,
        delay=round(step.seconds * SECOND),
        skip=step.skip,
        since=begins + round(step.start * SECOND),
        until=begins + round(step.until * SECOND) if step.until else 0,
    )
