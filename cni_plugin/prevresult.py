"""The result of an earlier ADD, as the runtime hands it back in `prevResult`.

It is parsed in the configuration's version (result formats: `versions.FAMILIES`). Formats 0.1 and 0.2 have no
interfaces, so the numbers that ADD hides there are lost.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cni_plugin.versions import family


class Interface(NamedTuple):
    """One link of the result; for ours `mac` is a decimal number and no MAC (RPC-59)."""

    name: str
    mac: str
    sandbox: str


class Ip(NamedTuple):
    """One address with its prefix length; `interface` is an index into the interfaces, or None."""

    address: str
    interface: int | None


class PrevResult(NamedTuple):
    """Links and addresses of an earlier ADD, in its order."""

    interfaces: tuple[Interface, ...]
    ips: tuple[Ip, ...]

    @staticmethod
    def parse(document: dict[str, Any], version: str) -> PrevResult:
        """Read `document` as a result of `version`; ValueError names the member that is not so."""
        own = _member(document, "cniVersion", str, "")
        if own and own not in family(version):
            raise ValueError(f"its cniVersion is {own!r}, but the configuration's is {version!r}")
        if version in ("0.1.0", "0.2.0"):
            ips = [_old_ip(document, key) for key in ("ip4", "ip6")]
            return PrevResult((), tuple(ip for ip in ips if ip is not None))
        return PrevResult(
            tuple(_interface(each) for each in _members(document, "interfaces")),
            tuple(_ip(each) for each in _members(document, "ips")),
        )

    def interface_named(self, name: str) -> Interface | None:
        """The first link of that name."""
        return next((each for each in self.interfaces if each.name == name), None)

    def only_address_on(self, name: str) -> str | None:
        """The address on the first link of that name; None unless there is exactly one."""
        index = next((at for at, each in enumerate(self.interfaces) if each.name == name), None)
        found = [ip.address for ip in self.ips if index is not None and ip.interface == index]
        return found[0] if len(found) == 1 else None


def atoi(text: str) -> int | None:
    """A decimal integer with an optional sign, of at most 18 digits; None for anything else."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def canonical_address(text: str) -> str:
    """An IPv4 or IPv6 address in its canonical form; ValueError when it is none."""
    import socket

    kind = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_ntop(kind, socket.inet_pton(kind, text))
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{text!r} is not an IP address") from error


def _member(document: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    """The member of that name and type, found without regard to case; null and absent are the default."""
    value = next((each for name, each in document.items() if name.lower() == key.lower()), None)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{key}: want {kind.__name__}, got {type(value).__name__}")
    return value


def _members(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of the array at `key`."""
    found: list[dict[str, Any]] = _member(document, key, list, [])
    for at, each in enumerate(found):
        if not isinstance(each, dict):
            raise ValueError(f"{key}[{at}]: want object, got {type(each).__name__}")
    return found


def _interface(document: dict[str, Any]) -> Interface:
    name, mac, sandbox = (_member(document, key, str, "") for key in ("name", "mac", "sandbox"))
    return Interface(name, mac, sandbox)


def _ip(document: dict[str, Any]) -> Ip:
    return Ip(_cidr(_member(document, "address", str, "")), _member(document, "interface", int, None))


def _old_ip(document: dict[str, Any], key: str) -> Ip | None:
    old = _member(document, key, dict, None)
    return None if old is None else Ip(_cidr(_member(old, "ip", str, "")), None)


def _cidr(text: str) -> str:
    """`address/length` with the address made canonical; ValueError for anything else."""
    address, slash, length = text.partition("/")
    bits = atoi(length)
    limit = 128 if ":" in address else 32
    if not slash or bits is None or not 0 <= bits <= limit:
        raise ValueError(f"address {text!r}: want ADDRESS/LENGTH")
    return f"{canonical_address(address)}/{bits}"
