"""ADDs and DELs that are under way.

A reply names no container, so replies are joined to requests by address or by age.
"""

from __future__ import annotations

import re
from typing import Final

from ipamd.core.commands import AddNetwork, DelNetwork
from ipamd.core.types import Pod, Sandbox

from .facts import Facts, protobuf
from .sorting import Heard

_REASON: Final = re.compile(r"addresses \((\w+): (.*)\)$", re.DOTALL)


class Requests:
    """By container id, oldest first."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._adds: dict[str, tuple[Heard, AddNetwork]] = {}
        self._reasons: dict[str, str] = {}
        self.told: tuple[str, str] | None = None
        """Reason and fact of the newest refusal, where the log names them (ours does)."""

    def begun(self, heard: Heard, values: dict[str, str]) -> tuple[Heard, AddNetwork] | None:
        """D1, D2 or H1 of an ADD, or of a DEL; gives back an ADD that a DEL found without an outcome."""
        fields = protobuf(values["pb"]) if "pb" in values else {}
        container = fields.get("ContainerID") or values.get("cid", "")
        verb = values.get("verb", "Add").lower()
        if not container:
            return None
        if verb == "del":
            if fields.get("Reason"):
                self._reasons[container] = fields["Reason"]
            return self._adds.pop(container, None)
        interface = fields.get("IfName") or values.get("ifn", "")
        sandbox = Sandbox(fields.get("NetworkName") or "aws-cni", container, interface or "eth0")
        pod = self._facts.pods.get(container, Pod())
        before = self._adds.pop(container, None)
        if before is not None and "pb" not in values:
            self._adds[container] = before
        else:
            multi_nic = fields.get("RequiresMultiNICAttachment") == "true"
            self._adds[container] = (before[0] if before else heard, AddNetwork(sandbox, pod, multi_nic))
        return None

    def granted(self, sandbox: Sandbox, pod: Pod) -> AddNetwork:
        """The ADD of an assignment, heard of or not."""
        asked = self._adds.pop(sandbox.container, None)
        return AddNetwork(sandbox, pod, asked is not None and asked[1].multi_nic)

    def refused(self) -> tuple[AddNetwork | None, bool]:
        """The ADD that a failure answers: the oldest one. Whether it is sure, for there is no other."""
        sure = len(self._adds) == 1
        if not self._adds:
            return None, False
        container = next(iter(self._adds))
        return self._adds.pop(container)[1], sure

    def released(self, sandbox: Sandbox) -> DelNetwork:
        """The DEL of a release, with the reason that its request gave."""
        return DelNetwork(sandbox, self._reasons.pop(sandbox.container, ""))

    def reason(self, msg: str) -> None:
        """A10: keep what it says of the reason."""
        found = _REASON.search(msg)
        self.told = (found[1], found[2]) if found else None

    def drop(self) -> list[tuple[Heard, AddNetwork]]:
        """A process ended: whatever waited for it."""
        waiting = list(self._adds.values())
        self._adds.clear()
        self._reasons.clear()
        return waiting
