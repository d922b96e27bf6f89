"""gRPC status codes, and the errors an RPC can end with, worded as the reference client words them."""

from __future__ import annotations

from collections.abc import Mapping

NAMES = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)
OF_HTTP = {  # status of a reply that is not gRPC's
    400: "Internal",
    401: "Unauthenticated",
    403: "PermissionDenied",
    404: "Unimplemented",
    429: "Unavailable",
    502: "Unavailable",
    503: "Unavailable",
    504: "Unavailable",
}
OF_RESET = {  # HTTP/2 error code of a RST_STREAM; any other is Internal
    0x7: "Unavailable",  # REFUSED_STREAM
    0x8: "Canceled",  # CANCEL
    0xB: "ResourceExhausted",  # ENHANCE_YOUR_CALM
    0xC: "PermissionDenied",  # INADEQUATE_SECURITY
}


class RpcError(Exception):
    """An RPC without a reply. `code` is one of NAMES, `metadata` what the server sent along."""

    def __init__(self, code: str, desc: str, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(f"rpc error: code = {code} desc = {desc}")
        self.code = code
        self.metadata = metadata or {}


class DialError(RpcError):
    """No connection: the server is not there, or does not speak HTTP/2."""

    def __init__(self, cause: str) -> None:
        super().__init__("Unavailable", f'connection error: desc = "{cause}"')


def name_of(number: str) -> str:
    """The name of the code in a `grpc-status` field, `Unknown` when it is none."""
    known = number.isascii() and number.isdigit() and len(number) <= 2 and int(number) < len(NAMES)
    return NAMES[int(number)] if known else "Unknown"


def percent_decoded(text: bytes) -> str:
    """The text of a `grpc-message` field; a `%` without two hex digits after it stands for itself."""
    head, *parts = text.split(b"%")
    out = bytearray(head)
    for part in parts:
        digits = part[:2]
        if len(digits) == 2 and all(digit in b"0123456789abcdefABCDEF" for digit in digits):
            out.append(int(digits, 16))
            out += part[2:]
        else:
            out += b"%" + part
    return out.decode("utf-8", "replace")
