"""Requests, counted where they arrive: a rejected one leaves no record but counts all the same (RPC-19)."""

from __future__ import annotations

from typing import Final

REASONS_MAX: Final = 32
"""Distinct DelNetwork reasons that become label values; the text is the caller's, so it has a bound here."""
REASON_LENGTH: Final = 64
OTHER: Final = "other"


class RequestCounts:
    """`awscni_add_ip_req_count` and `awscni_del_ip_req_count{reason}` (HTTP-21)."""

    __slots__ = ("adds", "deletes")

    def __init__(self) -> None:
        self.adds = 0
        self.deletes: dict[str, int] = {}

    def deleted(self, reason: str) -> None:
        """RPC-43: under the reason verbatim, as long as it is a sane one."""
        known = self.deletes
        if reason not in known and (len(known) >= REASONS_MAX or len(reason) > REASON_LENGTH):
            reason = OTHER
        known[reason] = known.get(reason, 0) + 1
