"""`ipamd ec2 serve` as the child of a daemon: it ends when its standard input does, as it does when the parent dies."""

from __future__ import annotations

import os
import sys
import threading

from . import main as ipamd


def main(words: list[str]) -> int:
    """Serve until told to end, or until the parent is gone."""
    threading.Thread(target=_watch, name="parent", daemon=True).start()
    return ipamd(["ec2", "serve", *words])


def _watch() -> None:
    """The parent never writes, so a read ends when it does. Nothing is kept, so nothing has to be put in order."""
    try:
        while os.read(0, 4096):
            pass
    finally:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
