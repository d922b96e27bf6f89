"""The plugin's bundle on a node: where it comes from, and how it gets there without a moment in which there is none.

BIN/aws-cni        -> aws-cni.d/3f0c../aws-cni    one rename makes it the new one
BIN/aws-cni.d/3f0c../  launcher and lib/          this version, and the one before: processes of it may still run
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final

PLUGIN: Final = "aws-cni"
_KEPT: Final = 2
"""Versions that stay."""


class BundleError(Exception):
    """The plugin cannot be installed: the thing, the fact, the remedy."""


def bundled() -> Path:
    """The bundle that came with this program: of the image, or of `make plugin` in a checkout. Raises BundleError."""
    root = Path(__file__).resolve().parents[2]
    places = (Path(sys.prefix) / "share" / "ipamd-emulator" / PLUGIN, root / "build" / "plugin" / PLUGIN)
    for place in places:
        if (place / PLUGIN).is_file():
            return place
    raise BundleError(f"{places[-1]}: no plugin was built; run make plugin, or name one with --bundle")


def install(bundle: Path, into: Path) -> Path:
    """Put the bundle there; the launcher's path. The same one again changes nothing. Raises BundleError or OSError."""
    if not os.access(bundle / PLUGIN, os.X_OK):
        raise BundleError(f"{bundle / PLUGIN}: no such program; want the directory that make plugin writes")
    versions = into / f"{PLUGIN}.d"
    versions.mkdir(mode=0o755, parents=True, exist_ok=True)
    version = versions / _digest(bundle)
    if not version.exists():
        fresh = versions / f".new-{os.getpid()}"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(bundle, fresh, symlinks=True)
        fresh.rename(version)
    os.utime(version)
    launcher = into / PLUGIN
    beside = into / f".{PLUGIN}-{os.getpid()}"
    beside.unlink(missing_ok=True)
    beside.symlink_to(Path(versions.name) / version.name / PLUGIN)
    beside.rename(launcher)
    _forget(versions, version)
    return launcher


def remove(into: Path) -> list[Path]:
    """Take it away; what was there. A program of this name that is not ours stays."""
    launcher, versions = into / PLUGIN, into / f"{PLUGIN}.d"
    gone = []
    if launcher.is_symlink() and str(launcher.readlink()).startswith(f"{versions.name}/"):
        launcher.unlink()
        gone.append(launcher)
    if versions.is_dir():
        shutil.rmtree(versions)
        gone.append(versions)
    return gone


def _digest(bundle: Path) -> str:
    """A name for the content: every file's path, mode and bytes."""
    summed = hashlib.sha256()
    for path in sorted(bundle.rglob("*")):
        if path.is_file():
            summed.update(f"{path.relative_to(bundle)}\0{path.stat().st_mode & 0o777:o}\0".encode())
            summed.update(path.read_bytes())
    return summed.hexdigest()[:16]


def _forget(versions: Path, current: Path) -> None:
    """Older versions go, but the one before this."""
    others = [path for path in versions.iterdir() if path != current]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for path in others[_KEPT - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
