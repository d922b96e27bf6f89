"""A certificate and its key from files, for a door that speaks TLS; changed files are used without a restart.

The files are looked at when a client connects, so a renewed certificate is served from the next handshake on. A pair
that cannot be used (half written, key of another certificate) is reported once and the last good one goes on serving.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from .listen import ListenError

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
_Stamp: TypeAlias = tuple[int, int, int]


class Certificates:
    """The pair `tls.crt` and `tls.key` of a directory, as a Secret of type kubernetes.io/tls is mounted."""

    def __init__(self, directory: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        """Raises `ListenError` if there is no usable pair."""
        self._files = (directory / CERTIFICATE, directory / KEY)
        self._warn = warn
        self.loaded = 0
        """How many pairs were taken into use."""
        try:
            self._seen = self._stamps()
            self._current = self._load()
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ListenError(
                f"certificate {self._files[0]}", _said(error), f"want {CERTIFICATE} and {KEY} in PEM, of one pair"
            ) from None
        self.context = self._current
        """What the door listens with; each handshake gets the newest pair."""
        self.context.sni_callback = self._handshake

    def _handshake(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        self.refresh()
        connection.context = self._current

    def refresh(self) -> None:
        """Use the files as they are now, if they changed and are a pair."""
        try:
            stamps = self._stamps()
            if stamps == self._seen:
                return
            self._seen = stamps
            self._current = self._load()
        except (OSError, ssl.SSLError, ValueError) as error:
            self._warn(f"certificate {self._files[0]}: {_said(error)}; the last good pair goes on serving")

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate, key = self._files
        context.load_cert_chain(certificate, key, password=_no_password)
        self.loaded += 1
        return context

    def _stamps(self) -> tuple[_Stamp, ...]:
        stats = [os.stat(path) for path in self._files]
        return tuple((found.st_mtime_ns, found.st_ino, found.st_size) for found in stats)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"it cannot be used ({error.reason or error})"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
