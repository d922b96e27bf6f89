"""The writes that need a look first: a pod's annotation on ADD and DEL, and a feature of the CNINode."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from .choices import features_with
from .port import Cluster, ClusterError
from .views import POD_IPS, CniNodeView, PodView

PAUSES_MS: Final = (10, 50, 250)
"""Between the tries after a conflict: four tries, as client-go's default backoff, without its jitter (EV-3)."""

Sleep = Callable[[float], Awaitable[None]]
S = TypeVar("S")


class NotOurs(Exception):
    """The annotation holds another address than the one released; it stays (EV-4)."""


async def set_pod_ip(
    cluster: Cluster, namespace: str, name: str, address: str, sleep: Sleep = asyncio.sleep
) -> PodView:
    """The pod's annotation says the address; nothing is sent if it does already (EV-3)."""

    async def attempt() -> PodView:
        pod = await cluster.pod(namespace, name)
        if pod.annotations.get(POD_IPS) == address:
            return pod
        return await cluster.patch_pod_annotations(pod, {POD_IPS: address})

    return await _without_conflict(attempt, sleep)


async def clear_pod_ip(
    cluster: Cluster, namespace: str, name: str, released: str, sleep: Sleep = asyncio.sleep
) -> PodView | None:
    """The pod's annotation is empty; None if there is no such pod any more, which is fine too (EV-4).

    Raises NotOurs if the annotation names another address. Without the annotation an empty patch is sent.
    """

    async def attempt() -> PodView | None:
        try:
            pod = await cluster.pod(namespace, name)
            held = pod.annotations.get(POD_IPS)
            if held not in (None, released):
                raise NotOurs(f"released IP {released} does not match existing annotation. Not patching pod")
            return await cluster.patch_pod_annotations(pod, {} if held is None else {POD_IPS: ""})
        except ClusterError as error:
            if error.missing:
                return None
            raise

    return await _without_conflict(attempt, sleep)


async def add_feature(cluster: Cluster, node: str, name: str, value: str = "") -> CniNodeView:
    """The CNINode has the feature. A conflict is the caller's to repeat, in a later cycle (SGP-3)."""
    seen = await cluster.cni_node(node)
    features = features_with(seen.features, name, value)
    return seen if features is None else await cluster.patch_features(seen, features)


async def _without_conflict(attempt: Callable[[], Awaitable[S]], sleep: Sleep) -> S:
    for pause in PAUSES_MS:
        try:
            return await attempt()
        except ClusterError as error:
            if not error.conflict:
                raise
        await sleep(pause / 1000)
    return await attempt()
