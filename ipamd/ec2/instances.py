"""Launching and terminating instances, with the ENIs they begin and end with."""

from __future__ import annotations

from typing import Final

import msgspec

from ipamd.core.calls import Failed
from ipamd.core.types import Instant

from . import answers, describe, refusals
from .addresses import IPV4, IPV6, Family
from .interfaces import freed_branches, new_eni, off_instance, on_instance, repeated, unfit
from .limits import Limits, limits
from .requests import LaunchInterface, RunInstances, TerminateInstances
from .rows import Effect, EniGone, EniRow, InstanceRow, Row, UsedToken, identifier
from .state import Vpc
from .tags import wrong_tags

COUNT_MAX: Final = 1000
INTERFACES_MAX: Final = 100
"""ENIs of one launch, which keeps the ids of one change apart."""


class Started(msgspec.Struct, frozen=True):
    """One instance with its ENIs, not yet installed."""

    instance: InstanceRow
    enis: tuple[EniRow, ...]


def run(vpc: Vpc, request: RunInstances, now: Instant) -> Effect | Failed:
    """`max_count` instances or, if there is no room for so many, as many as there is, `min_count` at least."""
    used = repeated(vpc, request, now) if request.token else None
    if used is not None:
        return used
    host = limits(request.instance_type)
    wrong = _wrong_launch(vpc, request, host)
    if wrong is not None or host is None:
        return wrong or refusals.bad_type(request.instance_type)
    started: list[Started] = []
    try:
        for number in range(request.max_count):
            one = _one(vpc, request, host, number, now)
            if isinstance(one, Failed):
                if number < request.min_count:
                    return one
                break
            _hold(vpc, one.enis)
            started.append(one)
    finally:
        for one in started:
            _release(vpc, one.enis)
    rows: list[Row] = []
    for one in started:
        rows += [one.instance, *one.enis]
    answer = answers.Launched(tuple(describe.instance(vpc, one.instance, list(one.enis)) for one in started))
    if request.token:
        rows.append(UsedToken(request.token, request, answer, now))
    return Effect(answer, tuple(rows), settled=True)


def terminate(vpc: Vpc, request: TerminateInstances, now: Instant) -> Effect | Failed:
    """All of them or none. Of their ENIs those with delete-on-termination go, the others become `available`."""
    if not request.instances:
        return refusals.missing("InstanceId")
    rows: list[Row] = []
    before: list[tuple[str, str]] = []
    for name in dict.fromkeys(request.instances):
        host = vpc.instances.get(name)
        if host is None and name not in vpc.terminated:
            return refusals.no_such("instance", name)
        before.append((name, "terminated" if host is None else "running"))
        if host is None:
            continue
        for eni in [vpc.enis[e] for e in vpc.attached[name]]:
            if eni.delete_on_termination:
                rows += [*freed_branches(vpc, eni.eni), EniGone(eni.eni)]
            else:
                rows.append(off_instance(eni))
        rows.append(msgspec.structs.replace(host, terminated_at=max(now, 1)))
    return Effect(answers.Terminated(tuple(before)), tuple(rows))


def _wrong_launch(vpc: Vpc, request: RunInstances, host: Limits | None) -> Failed | None:
    """What is wrong with a launch, whatever room there is."""
    if host is None:
        return refusals.bad_type(request.instance_type)
    if not 1 <= request.min_count <= request.max_count <= COUNT_MAX:
        return refusals.invalid("maxCount", request.max_count, f"want 1 <= minCount <= maxCount <= {COUNT_MAX}")
    if any(name in vpc.instances or name in vpc.terminated for name in request.named):
        return refusals.invalid("instanceId", request.named[0], "it exists")
    wrong = wrong_tags({}, request.tags) or wrong_tags({}, request.interface_tags)
    if wrong is not None:
        return wrong
    if not request.interfaces:
        return refusals.missing("subnetId") if not request.subnet else None
    if request.subnet or request.primary or request.security_groups or request.ipv6_address_count:
        return Failed(
            refusals.INVALID_COMBINATION,
            "Network interfaces and an instance-level subnet ID, group or private IP address "
            "may not be specified on the same request",
        )
    if len(request.interfaces) > INTERFACES_MAX:
        return refusals.too_many_interfaces(len(request.interfaces), request.instance_type)
    if not any((i.device, i.card) == (0, 0) for i in request.interfaces):
        return refusals.missing("network interface with device index 0")
    if request.max_count > 1 and any(i.eni for i in request.interfaces):
        return refusals.either("networkInterfaceId", "a count of more than one instance")
    return None


def _one(vpc: Vpc, request: RunInstances, host: Limits, number: int, now: Instant) -> Started | Failed:
    """One instance of a launch."""
    seed, serial = vpc.settings.seed, vpc.serial + 1
    name = request.named[number] if number < len(request.named) else identifier("i", seed, serial, number)
    wanted = request.interfaces or (
        LaunchInterface(
            subnet=request.subnet,
            security_groups=request.security_groups,
            primary=request.primary,
            ipv6_address_count=request.ipv6_address_count,
        ),
    )
    first = next(w for w in wanted if (w.device, w.card) == (0, 0))
    subnet = vpc.enis[first.eni].subnet if first.eni in vpc.enis else first.subnet
    if subnet not in vpc.subnets:
        return refusals.no_such("subnet", subnet)
    zone = vpc.subnets[subnet].zone
    row = InstanceRow(name, request.instance_type, zone, host, "", now, request.tags)
    enis: list[EniRow] = []
    try:
        for k, interface in enumerate(wanted):
            n = number * INTERFACES_MAX + k
            eni = _interface(vpc, interface, request, now, n)
            wrong = unfit(vpc, eni, row, enis, interface.device, interface.card) if isinstance(eni, EniRow) else eni
            if isinstance(eni, Failed) or wrong is not None:
                return wrong or refusals.no_such_eni(interface.eni)
            attachment = identifier("eni-attach", seed, serial, n)
            eni = on_instance(eni, name, attachment, interface.device, interface.card, now)
            _hold(vpc, (eni,))
            enis.append(msgspec.structs.replace(eni, delete_on_termination=interface.delete_on_termination))
    finally:
        _release(vpc, tuple(enis))
    primary = next(e for e in enis if (e.device, e.card) == (0, 0))
    return Started(msgspec.structs.replace(row, primary_eni=primary.eni), tuple(enis))


def _interface(
    vpc: Vpc, interface: LaunchInterface, request: RunInstances, now: Instant, n: int
) -> EniRow | Failed:
    """The ENI of a launch: one that exists and is unattached, or a new one."""
    if interface.eni:
        eni = vpc.enis.get(interface.eni)
        if eni is None:
            return refusals.no_such_eni(interface.eni)
        return refusals.already_attached(eni.eni) if eni.attachment or eni.association else eni
    made = new_eni(vpc, interface, interface.subnet, interface.security_groups, interface.interface_type, now, n)
    if isinstance(made, Failed):
        return made
    return msgspec.structs.replace(made, description=interface.description, tags=request.interface_tags)


def _hold(vpc: Vpc, enis: tuple[EniRow, ...]) -> None:
    """Take what new ENIs will have, so that the next one is given something else."""
    _each(vpc, enis, take=True)


def _release(vpc: Vpc, enis: tuple[EniRow, ...]) -> None:
    _each(vpc, enis, take=False)


def _each(vpc: Vpc, enis: tuple[EniRow, ...], *, take: bool) -> None:
    for eni in enis:
        if eni.eni in vpc.enis:
            continue
        kinds: tuple[tuple[Family, tuple[str, ...], tuple[str, ...]], ...] = (
            (IPV4, eni.addresses, eni.prefixes),
            (IPV6, eni.ipv6_addresses, eni.ipv6_prefixes),
        )
        for family, addresses, prefixes in kinds:
            if not addresses and not prefixes:
                continue
            space = vpc.spaces[eni.subnet] if family is IPV4 else vpc.spaces6[eni.subnet]
            for text in addresses:
                (space.take if take else space.give)(family.parse(text))
            for text in prefixes:
                (space.take_block if take else space.give_block)(family.parse(text.partition("/")[0]))
