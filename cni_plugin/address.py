"""Where a gRPC server listens: `unix:///path`, `unix:/path`, `unix:path`, or `ADDRESS:PORT`.

`%20` in a path is a space, as in the address that the daemon prints and as gRPC's clients read it.
Names other than `localhost` are refused, because a look-up may take longer than any deadline of ours.
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from cni_plugin.prevresult import atoi, canonical_address

UNIX_PATH_MAX = 107  # bytes, the kernel's sun_path less the final zero


class Address(NamedTuple):
    """A socket family, what to connect to, and the words for it in an error: `unix /run/x.sock`."""

    family: int
    target: str | tuple[str, int]
    words: str


def parse(text: str) -> Address:
    """The address that `text` means; ValueError says what is wanted."""
    wanted = "want unix:///path/of.sock or 127.0.0.1:50051"
    scheme, colon, rest = text.partition(":")
    if scheme == "unix" and colon:
        path = _unescaped(rest[2:] if rest.startswith("///") else rest)
        length = len(path.encode("utf-8", "surrogateescape"))
        if not path or path.startswith("//") or "\0" in path or length > UNIX_PATH_MAX:
            raise ValueError(f"{text!r}: {wanted}, with 1 to {UNIX_PATH_MAX} bytes of path")
        return Address(socket.AF_UNIX, path, f"unix {path}")
    host, _, port = text.rpartition(":")
    number = atoi(port)
    if number is None or not 0 < number < 65_536:
        raise ValueError(f"{text!r}: {wanted}")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        host = canonical_address(host)
    except ValueError as error:
        raise ValueError(f"{text!r}: {wanted}; names of hosts are not looked up") from error
    is_v6 = ":" in host
    words = f"tcp [{host}]:{number}" if is_v6 else f"tcp {host}:{number}"
    return Address(socket.AF_INET6 if is_v6 else socket.AF_INET, (host, number), words)


def _unescaped(path: str) -> str:
    """The path with every %XX decoded; a % that begins no such thing stays. urllib would cost each pod its import."""
    first, *pieces = path.encode("utf-8", "surrogateescape").split(b"%")
    for piece in pieces:
        try:
            first += (bytes.fromhex(piece[:2].decode()) if piece[:2].isalnum() else b"%" + piece[:2]) + piece[2:]
        except ValueError:
            first += b"%" + piece
    return first.decode("utf-8", "surrogateescape")
