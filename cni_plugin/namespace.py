"""Network namespaces: open the one at a path, and be in it for a while.

Only the calling thread moves, and the processes that it starts meanwhile are born there. Python 3.11 has no
os.setns; there libc's own is called through `_ctypes`, whose wrapper `ctypes` would cost each pod 4 ms.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cni_plugin.host import HostError
from cni_plugin.iproute import high

if TYPE_CHECKING:
    from types import TracebackType

OWN = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x40000000


class Namespace:
    """A network namespace, held open. Close it."""

    def __init__(self, path: str) -> None:
        """HostError when there is no network namespace at `path`."""
        try:
            if os.stat(path).st_dev != os.stat(OWN).st_dev:  # the kernel's own file system, also for bind mounts
                raise HostError(f"CNI_NETNS {path!r} is no namespace; want the path of the pod's network namespace")
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            words = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
            raise HostError(f"CNI_NETNS {path!r}: cannot open it: {words}; the pod may be gone") from error
        self._home = -1

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)

    def __enter__(self) -> int:
        """Move this thread there; a descriptor of the namespace it came from. HostError when it may not."""
        self._home = high(os.open(OWN, os.O_RDONLY | os.O_CLOEXEC))
        try:
            setns(self.fd)
        except OSError as error:
            os.close(self._home)
            said = (error.strerror or "").lower()
            raise HostError(f"CNI_NETNS: cannot enter that namespace: {said}; want a network one, and root") from error
        return self._home

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Move back."""
        try:
            setns(self._home)
        finally:
            os.close(self._home)


def setns(fd: int) -> None:
    """Move this thread into the network namespace that `fd` holds open. OSError when it may not, or is none."""
    if hasattr(os, "setns"):
        os.setns(fd, CLONE_NEWNET)
        return
    import _ctypes

    itself: Any = None  # dlopen's word for what is loaded already
    call = _ctypes.dlsym(_ctypes.dlopen(itself, os.RTLD_NOW), "setns")
    if _ctypes.call_function(call, (fd, CLONE_NEWNET)) != 0:
        import errno

        code = errno.EPERM if os.geteuid() else errno.EINVAL  # libc's own errno is out of reach from here
        raise OSError(code, os.strerror(code))
