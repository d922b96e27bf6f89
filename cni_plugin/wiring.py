"""`Host` on a real kernel: looks at what is there, has a plan made of it, and carries it out.

A plan that fails half-way is taken back as far as it got, so a failed ADD leaves the host as it was (upstream
leaves links and rules to a later ADD or DEL). A plugin that is killed leaves what it made: the next ADD or DEL
of the pod finds it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from typing import TYPE_CHECKING

from cni_plugin import iproute, plan
from cni_plugin.host import DryRun, HostError
from cni_plugin.namespace import Namespace
from cni_plugin.plan import POD, Facts, Ip, Settle, Step, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cni_plugin.host import Branch, Link, Route
    from cni_plugin.log import Log

SIOCGIFHWADDR = 0x8927
MAC_TRIES = 10
SETTLE_SECONDS, SETTLE_PAUSE = 10.0, 0.05  # as upstream waits for duplicate address detection
TENTATIVE, DAD_FAILED = 0x40, 0x08  # flags of an address in if_inet6
REPEATS_MAX = 64  # of a rule that is there more than once


class Kernel:
    """Programs the host that this process runs on, and pods' namespaces by their path."""

    programs = True

    def __init__(self, log: Log) -> None:
        self._log = log
        self._words = DryRun(log)

    def set_up(self, links: Sequence[Link], branch: Branch | None, netns: str, mtu: int) -> None:
        """Make the links; a HostError leaves nothing of them."""
        self._words.set_up(links, branch, netns, mtu)
        steps = plan.set_up(links, branch, mtu, _facts(links, branch))
        pod = Namespace(netns)
        try:
            done: list[Ip] = []
            try:
                self._carry_out(steps, pod, done)
            except BaseException:
                self._take_back(done, pod)
                raise
        finally:
            pod.close()

    def mac(self, netns: str, interface: str) -> str:
        """As the kernel chose it."""
        pod = Namespace(netns)
        try:
            with pod:
                found = _macs_of(frozenset((interface,)))
        finally:
            pod.close()
        if not found:
            raise HostError(f"{interface}: is gone from the pod's namespace")
        return found.pop()

    def tear_down(self, routes: Sequence[Route], vlan_id: int) -> None:
        """Remove what is there of these addresses; what is not there is no failure."""
        self._words.tear_down(routes, vlan_id)
        self._carry_out(plan.tear_down(routes, vlan_id, link_names()), None, [])

    def _carry_out(self, steps: Sequence[Step], pod: Namespace | None, done: list[Ip]) -> None:
        """All steps in order, neighbours of a kind together; `done` collects what has an undo."""
        for group in groups(steps):
            if group[0].where == POD and pod is not None:
                with pod as home:
                    self._perform(group, done, home)
            else:
                self._perform(group, done)

    def _perform(self, group: Sequence[Step], done: list[Ip], home: int = -1) -> None:
        lines = [step for step in group if isinstance(step, Ip)]
        for step in group:
            if isinstance(step, Write):
                _write(step)
            elif isinstance(step, Settle):
                _settle(step.interface)
        if lines and is_forced(lines[0]):
            self._clean(lines)
        elif lines:
            self._make(lines, done, home)

    def _make(self, lines: Sequence[Ip], done: list[Ip], home: int) -> None:
        """Lines that must succeed, but for errors that are `fine`: after one of those it goes on behind it."""
        while lines:
            try:
                result = iproute.batch([line.words for line in lines], six=lines[0].six, other=home)
            except HostError:  # nobody knows how far it came
                done += [line for line in lines if line.undo]
                raise
            at = min(result.failures, default=len(lines))
            done += [line for line in lines[:at] if line.undo]
            if at < len(lines):
                _check(lines[at], result.failures[at])
            lines = lines[at + 1 :]

    def _clean(self, lines: Sequence[Ip]) -> None:
        """Lines that take away: all are tried, those that are to be repeated until there is nothing left."""
        for _ in range(REPEATS_MAX):
            result = iproute.batch([line.words for line in lines], six=lines[0].six, force=True)
            for at, said in result.failures.items():
                _check(lines[at], said)
                if not is_one_of(said, plan.ABSENT):
                    self._log.error(f"ip {lines[at].words}: {said}")
            lines = [line for at, line in enumerate(lines) if line.again and at not in result.failures]
            if not lines:
                return

    def _take_back(self, done: Sequence[Ip], pod: Namespace) -> None:
        """Undo in reverse order; only the log hears of what cannot be undone."""
        back = [Ip(line.where, line.undo, line.six, (*plan.ABSENT, *plan.ANY)) for line in reversed(done)]
        for group in groups(back):  # the one after the other, since a namespace may be gone
            try:
                self._carry_out(group, pod, [])
            except HostError as error:
                self._log.error(f"Failed to undo a half-made set-up: {error}")


def groups(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Neighbours that can be done together: of one namespace, one kind, one family, and one way to fail."""
    group: list[Step] = []
    for step in steps:
        if group and _kind(group[0]) != _kind(step):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def _kind(step: Step) -> tuple[object, ...]:
    return (type(step), step.where, *((step.six, is_forced(step)) if isinstance(step, Ip) else ()))


def is_forced(line: Ip) -> bool:
    """Whether a line only takes away, so that its failure must not stop the next one."""
    return line.fine[: len(plan.ABSENT)] == plan.ABSENT


def is_one_of(said: str, known: Sequence[str]) -> bool:
    """Whether `ip` said one of these."""
    return any(each in said for each in known)


def link_names() -> frozenset[str]:
    """The names of all links in this thread's namespace."""
    return frozenset(name for _, name in socket.if_nameindex())


def _facts(links: Sequence[Link], branch: Branch | None) -> Facts:
    present = link_names()
    return Facts(present, _new_macs(len(links), present), _trunk(branch))


def _trunk(branch: Branch | None) -> str:
    if branch is None:
        return ""
    try:
        return socket.if_indextoname(branch.parent_index)
    except (OSError, OverflowError) as error:
        raise HostError(
            f"the trunk ENI: no link has index {branch.parent_index}; ipamd must run in the host's network namespace"
        ) from error


def _new_macs(count: int, present: frozenset[str]) -> tuple[str, ...]:
    """Random locally administered unicast addresses that no link of the host has."""
    taken = _macs_of(present)
    found: list[str] = []
    for _ in range(count):
        for _ in range(MAC_TRIES):
            raw = bytearray(os.urandom(6))
            raw[0] = (raw[0] | 0x02) & 0xFE
            mac = raw.hex(":")
            if mac not in taken:
                break
        else:
            raise HostError(f"no unused MAC address for a host link in {MAC_TRIES} tries")
        taken.add(mac)
        found.append(mac)
    return tuple(found)


def _macs_of(present: frozenset[str]) -> set[str]:
    """The link addresses of those links that are still there."""
    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        for name in present:
            try:
                answer = fcntl.ioctl(door, SIOCGIFHWADDR, name.encode("utf-8", "surrogateescape").ljust(40, b"\0"))
            except OSError:
                continue
            found.add(answer[18:24].hex(":"))
    return found


def _write(step: Write) -> None:
    try:
        with open(f"/proc/sys/{step.file}", "wb", buffering=0) as file:
            file.write(step.value.encode())
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"/proc/sys/{step.file}: cannot write {step.value}: {_words(error)}") from error


def _settle(interface: str) -> None:
    """Wait for duplicate address detection. HostError when it found a duplicate, or does not end."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        flags = _six_flags(interface)
        if any(each & DAD_FAILED for each in flags):
            raise HostError(f"{interface}: another node of its link has the same IPv6 address (DAD failed)")
        if not any(each & TENTATIVE for each in flags):
            return
        if time.monotonic() > end:
            raise HostError(f"{interface}: its IPv6 address is still tentative after {SETTLE_SECONDS:g} s")
        time.sleep(SETTLE_PAUSE)


def _six_flags(interface: str) -> list[int]:
    """The flags of each IPv6 address of the interface."""
    try:
        with open("/proc/thread-self/net/if_inet6", encoding="utf-8", errors="replace") as file:
            rows = [row.split() for row in file]
    except FileNotFoundError:
        return []  # a kernel without IPv6; adding the address has failed by then
    return [int(row[4], 16) for row in rows if len(row) > 5 and row[5] == interface]


def _check(line: Ip, said: str) -> None:
    if not is_one_of(said, line.fine):
        raise HostError(f"ip {line.words}: {said or 'failed'}{_remedy(said)}")


def _remedy(said: str) -> str:
    return "; run as root" if "Operation not permitted" in said else ""


def _words(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)
