"""deploy/: what the controller asks of an API server is what its roles allow, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from ipamd.k8s.control import ControlCluster
from ipamd.k8s.control_views import CLEANUP, CniNodeRow, ControlledNode, ControlledPod, Lease, Note
from ipamd.server.webhook import MUTATE_POD, VALIDATE_NODE, VALIDATE_POD

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}


class Ledger:
    """A session that answers `{}` and writes down what was asked, as RBAC names it."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str, str, bool]] = set()

    async def request(self, method: str, path: str, **_: Any) -> bytes:
        self._note(VERBS[method], path)
        return b"{}"

    async def lines(self, path: str, _: Any) -> AsyncGenerator[bytes, None]:
        self._note("watch", path)
        nothing: tuple[bytes, ...] = ()
        for line in nothing:
            yield line

    def _note(self, verb: str, path: str) -> None:
        """Verb, group, resource, whether in a namespace of its own choice (kube-system)."""
        parts = urlsplit(path).path.strip("/").split("/")
        group = "" if parts[0] == "api" else parts[1]
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        space = rest[1] if rest[0] == "namespaces" else ""
        rest = rest[2:] if space else rest
        resource = "/".join([rest[0], *rest[2:]])
        verb = "list" if verb == "get" and len(rest) == 1 else verb
        self.asked.add((verb, group, resource, space == "kube-system"))


def documents(name: str) -> list[dict[str, Any]]:
    """The objects of a file."""
    return [msgspec.yaml.decode(part, type=dict[str, Any]) for part in (DEPLOY / name).read_text().split("\n---\n")]


async def everything(cluster: ControlCluster) -> None:
    """Each thing that the door can do, once."""
    pod, node = ControlledPod("default", "p", "u"), ControlledNode("n")
    await cluster.pod("default", "p")
    await cluster.node("n")
    await cluster.annotate_pod(pod, "k", "v")
    await cluster.advertise(node, "r", 1)
    await cluster.create_cni_node("n", "windows", "c", "i")
    await cluster.release_cni_node(CniNodeRow("n", finalizers=(CLEANUP,)))
    await cluster.note(Note("Pod", "p", "R", "t", 1, namespace="default"))
    lease = Lease("kube-system", "l")
    await cluster.lease("kube-system", "l")
    await cluster.create_lease(lease)
    await cluster.update_lease(lease)
    for source in (
        cluster.pods(), cluster.nodes(), cluster.cni_nodes(), cluster.policies(), cluster.service_accounts(),
        cluster.config_map("kube-system", "c"), cluster.deployment("kube-system", "d"),
    ):  # fmt: skip
        await source.list()
        async for _ in source.watch("1"):
            pass


def test_the_roles_allow_what_is_asked_and_no_more() -> None:
    """Every verb on every resource, in both directions."""
    ledger = Ledger()
    asyncio.run(everything(ControlCluster(ledger)))  # type: ignore[arg-type] # all of it that is used
    allowed = {
        (verb, group, resource, role["kind"] == "Role")
        for role in documents("controller.yaml")
        if role["kind"] in ("Role", "ClusterRole")
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }

    assert ledger.asked - allowed == set()
    assert allowed - ledger.asked == set()


@pytest.mark.spec("WIN-50", "WIN-52", "WIN-53")
def test_the_webhooks_are_registered_as_upstream_has_them() -> None:
    """Paths, operations, failure policy; behind the Service of the other file."""
    found = {
        hook["clientConfig"]["service"]["path"]: (hook["failurePolicy"], hook["rules"][0]["operations"], hook)
        for document in documents("controller-webhooks.yaml")
        for hook in document["webhooks"]
    }
    objects = documents("controller.yaml")
    (service,) = [one for one in objects if one["kind"] == "Service"]
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]

    assert {path: row[:2] for path, row in found.items()} == {
        MUTATE_POD: ("Ignore", ["CREATE"]),
        VALIDATE_POD: ("Ignore", ["CREATE", "UPDATE"]),
        VALIDATE_NODE: ("Ignore", ["UPDATE"]),
    }
    assert found[MUTATE_POD][2]["name"] == "mpod.vpc.k8s.aws"
    names = {row[2]["clientConfig"]["service"]["name"] for row in found.values()}
    assert names == {service["metadata"]["name"]}
    assert deployment["metadata"]["name"] != "vpc-resource-controller", "WIN-15: that name switches IPAM off"
