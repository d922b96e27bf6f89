"""The API server of the contract suite: the lab as a process of its own, or a real one, and requests to it.

IPAMD_TEST_KUBECONFIG names a kubeconfig of a real API server that these tests may write to: they make namespaces
named ipamd-test-..., nodes and custom resources named test-..., and the CRDs of ipamd where they are missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import User

from ipamd.k8s.lab.seeds import DEFINITIONS

REAL = os.environ.get("IPAMD_TEST_KUBECONFIG", "")
PATIENCE = 30
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
ENI_CONFIGS = "/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs"
CNI_NODES = "/apis/vpcresources.k8s.aws/v1alpha1/cninodes"
NODES = "/api/v1/nodes"

_NAMES = count(1)


class Api:
    """One API server: raw requests, and things to make there."""

    def __init__(self, kubeconfig: str, process: subprocess.Popen[str] | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.process = process
        config = KubeConfig.from_file(kubeconfig).get()
        assert config is not None
        self.url = config.cluster.server
        self._http = Client(config if config.user else config._replace(user=User()), ConnectionParams())
        self.made: list[str] = []
        """Paths of what belongs to the cluster and is to be deleted."""

    def call(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **params: Any
    ) -> tuple[int, Any]:
        """Status and JSON of one request; underscores at the end of a parameter's name are dropped."""
        headers = {"Content-Type": content_type, "Accept": "application/json"} if body is not None else {}
        content = json.dumps(body) if body is not None else None
        query = {name.rstrip("_"): value for name, value in params.items()}
        answer = self._http.request(method, path, params=query, content=content, headers=headers, timeout=PATIENCE)
        return answer.status_code, answer.json()

    def get(self, path: str, **params: Any) -> Any:
        """The answer to a GET that must succeed."""
        code, answer = self.call("GET", path, **params)
        assert code == 200, answer
        return answer

    def create(self, path: str, body: dict[str, Any]) -> Any:
        """A new object; what belongs to the cluster is deleted again when the tests end."""
        code, answer = self.call("POST", path, body)
        assert code == 201, answer
        if "/namespaces/" not in path:
            self.made.append(f"{path}/{answer['metadata']['name']}")
        return answer

    def patch(self, path: str, body: Any, content_type: str = MERGE, **params: Any) -> Any:
        """The object after a patch that must succeed."""
        code, answer = self.call("PATCH", path, body, content_type, **params)
        assert code in (200, 201), answer
        return answer

    @contextmanager
    def watching(self, path: str, **params: Any) -> Iterator[Iterator[dict[str, Any]]]:
        """The events of a watch, which the server ends after two seconds unless told otherwise."""
        query = {"watch": "1", "timeoutSeconds": 2, **params}
        with self._http.stream("GET", path, params=query, timeout=PATIENCE) as answer:
            assert answer.status_code == 200, answer.read()
            yield (json.loads(line) for line in answer.iter_lines() if line)

    def watched(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Every event of a watch, until the server ends it."""
        with self.watching(path, **params) as events:
            return list(events)

    def name(self, what: str = "test") -> str:
        """A name that nothing has yet."""
        return f"{what}-{os.getpid()}-{time.time_ns() % 1_000_000}-{next(_NAMES)}"

    def namespace(self) -> str:
        """The path of a new namespace, in which pods can be made."""
        name = self.name("ipamd-test")
        self.create("/api/v1/namespaces", {"metadata": {"name": name}})
        path = f"/api/v1/namespaces/{name}"
        self.call("POST", f"{path}/serviceaccounts", {"metadata": {"name": "default"}})
        return path

    def define(self) -> None:
        """Make sure the custom resources of ipamd are served."""
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in DEFINITIONS:
            code, answer = self.call("POST", crds, definition)
            assert code in (201, 409), answer
        deadline = time.monotonic() + PATIENCE
        while any(self._http.get(path).status_code != 200 for path in (ENI_CONFIGS, CNI_NODES)):
            assert time.monotonic() < deadline, "the custom resources are not served"

    def clean(self) -> None:
        """Delete what was made, the newest first."""
        for path in reversed(self.made):
            self.call("DELETE", path, gracePeriodSeconds=0)
        self._http.close()


@contextmanager
def serving(*words: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """`ipamd lab apiserver`: its ready line and the process, until the block ends."""
    command = [sys.executable, "-m", "ipamd", "lab", "apiserver", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(PATIENCE)
            raise AssertionError(f"exit code {process.returncode}: {process.stderr.read()}")
        yield json.loads(line), process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@contextmanager
def any_api() -> Iterator[Api]:
    """The real API server if one is named, else the lab."""
    if REAL:
        api = Api(REAL)
        api.define()
        yield api
        api.clean()
        return
    with serving("--bookmark-seconds", "1") as (line, process):
        api = Api(line["kubeconfig"], process)
        api.define()
        yield api
        api.clean()


def pod(name: str, node: str = "", **metadata: Any) -> dict[str, Any]:
    """A pod of one container, on a node if one is named."""
    containers = [{"name": "main", "image": "registry.invalid/pause:1"}]
    placed = {"nodeName": node} if node else {}
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": containers, **placed}}
