"""Where a run writes: journals on the disk that is measured, sockets where their paths stay short; all goes away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """The directories of one run, both absolute."""

    disk: Path
    sockets: Path
    """A Unix socket's path has at most 107 bytes, wherever the checkout lies."""


@contextmanager
def new_place(within: Path) -> Iterator[Place]:
    """Fresh directories, removed afterwards; `within` is made if it is not there."""
    within.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ipamd-") as sockets:
        disk = Path(tempfile.mkdtemp(prefix="bench-", dir=within.resolve()))
        try:
            yield Place(disk, Path(sockets))
        finally:
            shutil.rmtree(disk, ignore_errors=True)
