"""A node and a pod that are network namespaces, and the plugin as a process in the node's."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from tests.cni_plugin.harness import Outcome, environment
from tests.netns import rig


class Place(NamedTuple):
    """The names of a namespace that is the node, and of one that is the pod."""

    host: str
    pod: str


def inherited() -> dict[str, str]:
    """What a child needs to find this environment."""
    return {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


def call(place: Place, verb: str, stdin: bytes, **changes: str | None) -> Outcome:
    """One invocation for the pod, in the node's namespace."""
    environ = {**inherited(), **environment(verb, **{"CNI_NETNS": rig.path_of(place.pod), **changes})}
    done = rig.run_in(place.host, sys.executable, "-m", "cni_plugin", stdin=stdin, env=environ, seconds=120)
    return Outcome(done.stdout.decode(), done.returncode, done.stderr.decode())
