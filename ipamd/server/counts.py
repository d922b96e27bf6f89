"""Requests, counted where they arrive: a rejected one leaves no record but counts all the same (RPC-19)."""

from __future__ import annotations

from typing import Final

from .exposition import Histogram

ADD_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. The usual bounds, and finer ones below: most answers are one sync of the disk away."""

REASONS_MAX: Final = 32
"""Distinct DelNetwork reasons that become label values; the text is the caller's, so it has a bound here."""
REASON_LENGTH: Final = 64
OTHER: Final = "other"
REJECTED: Final = ("malformed", "version", "not_ready", "not_recorded", "no_vpc_cidrs")
"""Why an AddNetwork gets an error of gRPC: bytes that are none, RPC-18, node init, the disk, RPC-37."""


class RequestCounts:
    """`awscni_add_ip_req_count` and `awscni_del_ip_req_count{reason}` (HTTP-21), and how long AddNetwork took."""

    __slots__ = ("add_seconds", "adds", "deletes", "rejected")

    def __init__(self) -> None:
        self.adds = 0
        self.deletes: dict[str, int] = {}
        self.rejected = dict.fromkeys(REJECTED, 0)
        """AddNetwork requests that leave no record, by reason."""
        self.add_seconds = Histogram(
            "ipamd_add_duration_seconds", "From an AddNetwork request to its answer, whatever it is", (), ADD_BOUNDS
        )

    def deleted(self, reason: str) -> None:
        """RPC-43: under the reason verbatim, as long as it is a sane one."""
        known = self.deletes
        if reason not in known and (len(known) >= REASONS_MAX or len(reason) > REASON_LENGTH):
            reason = OTHER
        known[reason] = known.get(reason, 0) + 1
