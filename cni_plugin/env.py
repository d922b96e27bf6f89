"""The environment and stdin of one invocation, checked before anything else is done.

Which variables a verb needs is the table `REQUIRED`; missing ones are reported together. A variable that the
verb does not need is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from cni_plugin.errors import (
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    CniError,
)

if TYPE_CHECKING:
    from typing import BinaryIO

STDIN_MAX = 4 << 20  # bytes; a network configuration with a large prevResult is some tens of kilobytes
IFNAME_MAX = 15  # bytes, the kernel's IFNAMSIZ less the final zero

REQUIRED = {  # variable: the verbs that need it; CNI_ARGS and CNI_NETNS_OVERRIDE are optional everywhere
    "CNI_CONTAINERID": ("ADD", "CHECK", "DEL"),
    "CNI_NETNS": ("ADD", "CHECK"),
    "CNI_IFNAME": ("ADD", "CHECK", "DEL"),
    "CNI_PATH": ("ADD", "CHECK", "DEL", "GC", "STATUS"),
}


class Invocation(NamedTuple):
    """One call by the runtime. `netns` is a path or "", `stdin` the network configuration's bytes."""

    command: str
    container_id: str
    netns: str
    ifname: str
    args: str
    path: str
    netns_override: bool
    stdin: bytes

    @property
    def words(self) -> str:
        """The whole request for the log."""
        return (
            f"ContainerID({self.container_id}) Netns({self.netns}) IfName({self.ifname}) Args({self.args}) "
            f"Path({self.path}) argsStdinData({self.stdin.decode('utf-8', 'replace')})"
        )


def read_invocation(environ: Mapping[str, str], stdin: BinaryIO | None) -> Invocation:
    """The call described by `environ` (CNI_COMMAND set) and `stdin`; CniError 4 or 5 where they are unfit."""
    command = environ.get("CNI_COMMAND", "")
    missing = [] if command else ["CNI_COMMAND"]
    for name, verbs in REQUIRED.items():
        if command not in verbs:
            continue
        value = environ.get(name, "")
        if not value:
            missing.append(name)
        elif name in CHECKS:
            CHECKS[name](value)
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    return Invocation(
        command=command,
        container_id=environ.get("CNI_CONTAINERID", ""),
        netns=environ.get("CNI_NETNS", ""),
        ifname=environ.get("CNI_IFNAME", ""),
        args=environ.get("CNI_ARGS", ""),
        path=environ.get("CNI_PATH", ""),
        netns_override=environ.get("CNI_NETNS_OVERRIDE", "").lower() in ("true", "1"),
        stdin=read_stdin(stdin),
    )


def read_stdin(stdin: BinaryIO | None) -> bytes:
    """All of stdin, at most STDIN_MAX bytes; CniError 5 when it cannot be read or is longer."""
    if stdin is None:
        raise CniError(IO_FAILURE, "error reading from stdin: it is closed; want the network configuration")
    try:
        text = stdin.read(STDIN_MAX + 1)
    except (OSError, ValueError) as error:
        raise CniError(IO_FAILURE, f"error reading from stdin: {error}") from error
    if len(text) > STDIN_MAX:
        raise CniError(
            IO_FAILURE,
            f"error reading from stdin: more than {STDIN_MAX} bytes; a network configuration is far smaller",
        )
    return text


def is_identifier(text: str) -> bool:
    """Whether `text` is `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, the form of container ids and network names."""
    bare = text.replace("_", "").replace(".", "").replace("-", "")
    return text.isascii() and text[:1].isalnum() and bare.isalnum()


def check_container_id(text: str) -> None:
    """Refuse (code 4) a container id that is not an identifier."""
    if not is_identifier(text):
        raise CniError(
            INVALID_ENVIRONMENT,
            "invalid characters in containerID",
            f"CNI_CONTAINERID={text!r}: want a letter or digit, then letters, digits, '_', '.' or '-'",
        )


def check_network_name(text: str) -> None:
    """Refuse (code 7) a network without a name, or with one that is not an identifier."""
    if not text:
        raise CniError(INVALID_CONFIG, "missing network name", 'give the network configuration a "name"')
    if not is_identifier(text):
        raise CniError(
            INVALID_CONFIG,
            "invalid characters found in network name",
            f"name={text!r}: want a letter or digit, then letters, digits, '_', '.' or '-'",
        )


def check_ifname(text: str) -> None:
    """Refuse (code 4) what the kernel does not take as an interface name. The text is not empty."""
    if len(text.encode("utf-8", "surrogateescape")) > IFNAME_MAX:
        fault = "interface name is too long"
    elif text in (".", ".."):
        fault = "interface name is . or .."
    elif any(char in "/:" or char.isspace() for char in text):
        fault = "interface name contains / or : or whitespace characters"
    else:
        return
    raise CniError(INVALID_ENVIRONMENT, fault, f"CNI_IFNAME={text!r}: want 1 to {IFNAME_MAX} bytes such as 'eth0'")


CHECKS: dict[str, Callable[[str], None]] = {"CNI_CONTAINERID": check_container_id, "CNI_IFNAME": check_ifname}
