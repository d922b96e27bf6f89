"""ICMP echo between namespaces, all at once: a socket stays in the namespace that it was made in."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable

from cni_plugin.namespace import Namespace
from tests.netns.rig import path_of

REQUEST, REPLY = {4: 8, 6: 128}, {4: 0, 6: 129}
AGAIN = 0.3  # seconds after which an unanswered request is sent anew
IDENT = 0x6970


def unanswered(netns: str, addresses: Iterable[str], seconds: float = 5) -> set[str]:
    """Those of `addresses` that do not answer a request from `netns` in time."""
    left = set(addresses)
    place = Namespace(path_of(netns))
    with place:
        doors = {
            4: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
            6: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
        }
    place.close()  # or the namespace would outlive its deletion
    end = time.monotonic() + seconds
    try:
        while left and time.monotonic() < end:
            for address in left:
                _ask(doors, address)
            again = min(end, time.monotonic() + AGAIN)
            while left and (wait := again - time.monotonic()) > 0:
                for door in select.select(list(doors.values()), [], [], wait)[0]:
                    left.discard(_answer(door))
    finally:
        for door in doors.values():
            door.close()
    return left


def _ask(doors: dict[int, socket.socket], address: str) -> None:
    kind = 6 if ":" in address else 4
    body = struct.pack("!BBHHH", REQUEST[kind], 0, 0, IDENT, 1) + b"pod"
    if kind == 4:
        body = struct.pack("!BBHHH", REQUEST[4], 0, _sum(body), IDENT, 1) + b"pod"
    try:
        doors[kind].sendto(body, (address, 0))
    except OSError:  # no route (yet): as good as no answer
        return


def _answer(door: socket.socket) -> str:
    """Whose reply this is; "" when it is none."""
    packet, source = door.recvfrom(2048)
    kind = 6 if door.family == socket.AF_INET6 else 4
    body = packet[(packet[0] & 15) * 4 :] if kind == 4 else packet
    is_reply = len(body) >= 8 and body[0] == REPLY[kind] and struct.unpack("!H", body[4:6])[0] == IDENT
    return str(source[0]) if is_reply else ""


def _sum(body: bytes) -> int:
    """The internet checksum."""
    padded = body + b"\0" * (len(body) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
