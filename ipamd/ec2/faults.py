"""Faults as data: what the next requests of an action shall suffer. Nothing here is random.

Rules are used in the order they were added: the first one for an action applies until it is used up.
An action is EC2's name (`AssignPrivateIpAddresses`) or a look's (`ReadMetadata`, `FindNetworkInterfaces`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from ipamd.core.calls import MetadataView
from ipamd.core.types import Instant

ALWAYS = -1
"""As `times`: until `clear`."""

Metadata = Callable[[MetadataView], MetadataView]
"""What instance metadata shows instead: a function of what it would have shown."""


class Fault(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """One rule. With `code` a request is refused; `lost`: it gets no answer, and (`effect`) is carried out or not.

    `twice`: it is carried out two times and the second is answered. `at_most` >= 0: of what it counts, so many are
    granted. `delay`: the answer takes so many ns longer; alone it changes nothing else.

    It applies to requests from `since` to before `until` (instants in ns; 0: without end), after the first `skip` of
    them, `times` times.
    """

    action: str
    times: int = 1
    lost: bool = False
    effect: bool = False
    code: str = ""
    message: str = ""
    twice: bool = False
    at_most: int = -1
    delay: int = 0
    skip: int = 0
    since: Instant = 0
    until: Instant = 0

    @property
    def refuses(self) -> bool:
        """Whether it is a refusal; metadata's refusals have no code."""
        return not (self.lost or self.twice or self.at_most >= 0) and bool(self.code or self.message)


class Faults:
    """The rules that wait, and what metadata is made to show."""

    def __init__(self) -> None:
        self.rules: list[Fault] = []
        self._metadata: list[tuple[Metadata, int]] = []

    def fail_next(self, action: str, code: str, message: str = "injected", times: int = 1) -> None:
        """The next `times` requests of the action are refused with `code`."""
        self.rules.append(Fault(action, times, code=code, message=message))

    def lose_next(self, action: str, *, effect: bool, times: int = 1) -> None:
        """The next `times` requests of the action get no answer; `effect`: whether they are carried out."""
        self.rules.append(Fault(action, times, lost=True, effect=effect))

    def add(self, rules: Iterable[Fault]) -> None:
        """Rules of a script, each a copy, since rules are used up."""
        self.rules.extend(msgspec.structs.replace(rule) for rule in rules)

    def metadata_shows(self, view: MetadataView | Metadata, times: int = ALWAYS) -> None:
        """The next `times` reads of metadata show `view`, or what the function makes of the true one."""
        if isinstance(view, MetadataView):
            canned = view
            self._metadata.append((lambda _: canned, times))
        else:
            self._metadata.append((view, times))

    def clear(self) -> None:
        """No faults any more."""
        self.rules.clear()
        self._metadata.clear()

    def strike(self, *actions: str, now: Instant = 0) -> Fault | None:
        """The rule that hits a request known under these names, one of its times used up."""
        for i, rule in enumerate(self.rules):
            if rule.action not in actions or now < rule.since or (rule.until and now >= rule.until):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.times > 0:
                rule.times -= 1
                if rule.times == 0:
                    del self.rules[i]
            return rule
        return None

    def seen(self, view: MetadataView) -> MetadataView:
        """What a read of instance metadata shows in place of `view`."""
        if not self._metadata:
            return view
        change, times = self._metadata[0]
        if times > 0:
            if times == 1:
                del self._metadata[0]
            else:
                self._metadata[0] = (change, times - 1)
        return change(view)
