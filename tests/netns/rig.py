"""Network namespaces of a test's own: made, looked at as data (`ip -j`), and removed with everything in them."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cni_plugin.namespace import Namespace

FOLDER = Path("/var/run/netns")
FAMILIES = {"4": "-4", "6": "-6"}
_numbers = itertools.count(1)

Row = dict[str, Any]
State = dict[str, list[Row]]


def require() -> None:
    """Skip where no namespace can be made; where CI runs that is a failure."""
    wanting = "root" if os.geteuid() else "iproute2" if shutil.which("ip") is None else ""
    if wanting and os.environ.get("CI"):
        pytest.fail(f"needs {wanting}, which CI has")
    if wanting:
        pytest.skip(f"makes network namespaces, which needs {wanting}")


def ip(*words: str, netns: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `ip` in a namespace; CalledProcessError carries what it said."""
    command = ["ip", *(["-n", netns] if netns else []), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done


def rows(netns: str, *words: str) -> list[Row]:
    """What `ip -j` shows, a row each."""
    return [row for row in json.loads(ip("-j", *words, netns=netns).stdout or "[]") if row]


def path_of(netns: str) -> str:
    """What the runtime passes as CNI_NETNS."""
    return str(FOLDER / netns)


@contextmanager
def namespaces(*roles: str) -> Iterator[list[str]]:
    """One namespace a role, its loopback up, under names that no other test has."""
    names = [f"t{os.getpid()}-{next(_numbers)}-{role}" for role in roles]
    made: list[str] = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
            ip("link", "set", "lo", "up", netns=name)
        yield names
    finally:
        for name in made:
            ip("netns", "delete", name, check=False)


def run_in(
    netns: str, *command: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, seconds: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run a process in a namespace."""
    words = ["ip", "netns", "exec", netns, *command]
    return subprocess.run(words, input=stdin, env=env, capture_output=True, timeout=seconds, check=False)


def sysctl(netns: str, key: str, value: str | None = None) -> str:
    """A file below /proc/sys as the namespace has it, set first when there is a value."""
    place, file = Namespace(path_of(netns)), Path("/proc/sys") / key
    try:
        with place:
            if value is not None:
                file.write_text(value)
            return file.read_text().strip()
    finally:
        place.close()


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Look again and again until it holds, which is the kernel's or another process's doing."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"still not so after {seconds:g} s"
        time.sleep(0.02)


def gone(netns: str, names: Iterable[str]) -> None:
    """Wait until links have gone, which the kernel does after the namespace of their other end has."""
    known = set(names)
    until(lambda: not {row["ifname"] for row in rows(netns, "link", "show")} & known)


def whole(netns: str) -> State:
    """Every link, address, route, rule and neighbour of a namespace, without what a new link changes by itself.

    Numbers of links and lifetimes are left out, and what the kernel keeps for IPv6 while a link is there stays in.
    """
    found: State = {"links": [], "addresses": []}
    for row in rows(netns, "address", "show"):
        addresses = row.pop("addr_info")
        found["links"].append(_without(row, "ifindex", "link_index", "link_netnsid"))
        found["addresses"] += [_without(each, "valid_life_time", "preferred_life_time") for each in addresses if each]
    for family, flag in FAMILIES.items():
        found[f"routes{family}"] = rows(netns, flag, "route", "show", "table", "all")
        found[f"rules{family}"] = rows(netns, flag, "rule", "show")
        found[f"neighbours{family}"] = [_without(row, "state") for row in rows(netns, flag, "neighbour", "show")]
    return {name: sorted(each, key=lambda row: json.dumps(row, sort_keys=True)) for name, each in found.items()}


def _without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}
