"""The kubeconfig file of a lab: written whole or not at all, readable by its owner, never in place of another's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

MARK: Final = "# written by ipamd lab apiserver; it is gone when that ends\n"


def text(url: str) -> str:
    """The file's content: one cluster, one context, a user without credentials."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "ipamd-lab", "cluster": {"server": url}}],
        "users": [{"name": "ipamd-lab", "user": {}}],
        "contexts": [
            {"name": "ipamd-lab", "context": {"cluster": "ipamd-lab", "user": "ipamd-lab", "namespace": "default"}}
        ],
        "current-context": "ipamd-lab",
        "preferences": {},
    }
    return MARK + msgspec.json.format(msgspec.json.encode(config), indent=2).decode() + "\n"


def write(path: Path | None, url: str) -> Path:
    """Write it; without a path into a new file of the temporary directory. The file's path.

    Raises FileExistsError if another program's file is there: a developer's own kubeconfig is not overwritten.
    """
    if path is not None and path.exists() and not path.read_bytes().startswith(MARK.encode()):
        raise FileExistsError(f"{path}: there is another file; name one that is not there yet")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix="ipamd-lab-", suffix=".kubeconfig", dir=path.parent if path else None)
    with os.fdopen(handle, "w") as file:
        file.write(text(url))
    if path is None:
        return Path(name)
    os.replace(name, path)
    return path


def remove(path: Path) -> None:
    """Delete it, unless it is another program's by now."""
    try:
        if path.read_bytes().startswith(MARK.encode()):
            path.unlink()
    except FileNotFoundError:
        pass
