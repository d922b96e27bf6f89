"""`ipamd controller` as a process of its own, against the lab's API server, and things to make there."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tests.k8s.apiserver import MERGE, NODES, Api, pod, serving

ADDRESS = "vpc.amazonaws.com/PrivateIPv4Address"
CONFIG = "/api/v1/namespaces/kube-system/configmaps"
PODS = "/api/v1/namespaces/default/pods"
PATIENCE = 30.0
IPAM = {"enable-windows-ipam": "true"}
DELEGATION = {**IPAM, "enable-windows-prefix-delegation": "true"}

T = TypeVar("T")


def until(what: str, found: Callable[[], T | None]) -> T:
    """Ask until there is an answer that is not None; another process is at work."""
    deadline = time.monotonic() + PATIENCE
    while (answer := found()) is None:
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)
    return answer


class Spawned:
    """One controller process."""

    def __init__(self, directory: Path, api: Api, *options: str) -> None:
        words = [
            sys.executable, "-m", "ipamd", "controller", "--kubeconfig", api.kubeconfig, "--state-dir", str(directory),
            "--introspect-bind-addr", "127.0.0.1:0", "--metrics-bind-address", "127.0.0.1:0",
            "--healthz-bind-address", "127.0.0.1:0", *options,
        ]  # fmt: skip
        self._log = directory.with_name(f"{directory.name}.{time.monotonic_ns()}.stderr")
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log)
        assert self.popen.stdout is not None
        assert select.select([self.popen.stdout], [], [], PATIENCE)[0], self.stderr
        line = self.popen.stdout.readline()
        assert line, f"exit code {self.popen.wait(PATIENCE)}: {self.stderr}"
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    def text(self, path: str, door: str = "introspection") -> str:
        """The body of an answer, also of a refusal."""
        try:
            with urllib.request.urlopen(f"{self.ready[door]}{path}", timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()

    def get(self, path: str) -> Any:
        return json.loads(self.text(path))

    def leads(self) -> None:
        """Wait until it leads."""
        until("it leads", lambda: self.get("/v1/role")["leading"] or None)

    def says(self, words: str) -> str:
        """Wait for a line of its log."""
        return until(f"a line with {words!r}", lambda: next((x for x in self.stderr.splitlines() if words in x), None))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.popen.send_signal(number)
        code = self.popen.wait(PATIENCE)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        return code


@contextmanager
def controlling(directory: Path, api: Api, *options: str) -> Iterator[Spawned]:
    """A controller that is ended whatever happens."""
    one = Spawned(directory, api, *options)
    try:
        yield one
    finally:
        if one.popen.poll() is None:
            one.popen.kill()
            one.popen.wait(PATIENCE)
        if one.popen.stdout is not None:
            one.popen.stdout.close()


@contextmanager
def cluster(*words: str) -> Iterator[Api]:
    """A lab API server of its own: controllers act on all of a cluster."""
    with serving("--bookmark-seconds", "1", *words) as (line, process):
        api = Api(line["kubeconfig"], process)
        yield api
        api.clean()


def configure(api: Api, data: dict[str, str] | None) -> None:
    """The ConfigMap, made or replaced; None deletes it."""
    path = f"{CONFIG}/amazon-vpc-cni"
    if data is None:
        api.call("DELETE", path)
        return
    code, found = api.call("GET", path)
    if code == 404:
        api.create(CONFIG, {"metadata": {"name": "amazon-vpc-cni"}, "data": data})
        return
    gone = {key: None for key in found.get("data") or {}}
    api.patch(path, {"data": gone | data}, MERGE)


def windows_node(api: Api, name: str, instance_type: str = "c5.large", provider_id: str | None = None) -> None:
    """A node of a kubelet that has reported."""
    labels = {"kubernetes.io/os": "windows", "node.kubernetes.io/instance-type": instance_type}
    identity = f"aws:///us-west-2a/i-{name}" if provider_id is None else provider_id
    api.create(NODES, {
        "metadata": {"name": name, "labels": labels}, "spec": {"providerID": identity},
        "status": {"capacity": {"cpu": "2"}},
    })  # fmt: skip
    api.patch(f"{NODES}/{name}/status", {"status": {"capacity": {"cpu": "2"}}})


def windows_pod(api: Api, name: str, node: str) -> None:
    """A pod as the webhook leaves it, bound to a node."""
    made = pod(name, node=node)
    made["spec"]["containers"][0]["resources"] = {"requests": {ADDRESS: "1"}, "limits": {ADDRESS: "1"}}
    api.create(PODS, made)


def address_of(api: Api, name: str) -> str | None:
    """The annotation of a pod, None while there is none."""
    found: str | None = (api.get(f"{PODS}/{name}")["metadata"].get("annotations") or {}).get(ADDRESS)
    return found


def addressed(api: Api, names: list[str]) -> dict[str, str]:
    """Wait until all pods have addresses; pod -> address."""
    return {name: until(f"an address for {name}", partial(address_of, api, name)) for name in names}


def capacity_of(api: Api, node: str) -> str | None:
    """What the node advertises."""
    found: str | None = (api.get(f"{NODES}/{node}").get("status", {}).get("capacity") or {}).get(ADDRESS)
    return found


def reasons(api: Api, name: str) -> list[str]:
    """Reasons of the events about an object."""
    found = api.get("/api/v1/events", fieldSelector=f"involvedObject.name={name}")["items"]
    return [one["reason"] for one in found]
