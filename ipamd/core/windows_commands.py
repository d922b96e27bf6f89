"""What a controller of Windows nodes is told. Driver's guide: see `windows_decide`."""

from __future__ import annotations

import msgspec

from .settings import WindowsQuirks
from .types import Instant


class _Command(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag=True):
    """Frozen, compared by value, encoded with its class name in the member `type`."""


class WindowsPod(msgspec.Struct, frozen=True, omit_defaults=True):
    """What matters of a pod that requests an address (WIN-54). `annotation` is its PrivateIPv4Address."""

    uid: str
    namespace: str
    name: str
    annotation: str = ""
    done: bool = False
    """Phase Succeeded or Failed."""


class OpenController(_Command, frozen=True):
    """The process began (or became leader): calls in flight are lost, every node is to be initialised anew."""

    seed: int = 1
    prefix_delegation: bool = True
    """Flag `--enable-windows-prefix-delegation` (WIN-16)."""
    quirks: WindowsQuirks = WindowsQuirks()
    cleaner: bool = False
    """Whether leaked interfaces of the cluster are looked for (WIN-146)."""


class ConfigSeen(_Command, frozen=True):
    """ConfigMap `amazon-vpc-cni` as it is now; None when it is gone or cannot be read (WIN-1, WIN-18)."""

    data: dict[str, str] | None = None


class LegacySeen(_Command, frozen=True):
    """Whether Deployment kube-system/vpc-resource-controller exists (WIN-15, WIN-22)."""

    present: bool


class NodeSeen(_Command, frozen=True):
    """A Node object was added, updated or listed again (WIN-24..29)."""

    node: str
    instance: str = ""
    """Last segment of spec.providerID."""
    os: str = ""
    """Label kubernetes.io/os, else beta.kubernetes.io/os."""
    capacity: int = 0
    """status.capacity of the resource now; 0 when absent."""
    trunk: bool = False
    """It may carry a trunk (WIN-25): managed whatever its OS."""
    auto: bool = False
    """WIN-26: label eks.amazonaws.com/compute-type=auto; such a node is skipped."""


class NodeGone(_Command, frozen=True):
    """The Node object is gone (WIN-30)."""

    node: str


class PodSeen(_Command, frozen=True):
    """A pod that requests the resource stands on a node: added, updated, or listed again (WIN-54, WIN-55)."""

    node: str
    pod: WindowsPod


class PodGone(_Command, frozen=True):
    """The pod object is gone (WIN-65)."""

    node: str
    uid: str


class WindowsDue(_Command, frozen=True):
    """The earliest moment of `windows_state.next_due` has come: one pod's retry, or one pool's tick."""


WindowsCommand = OpenController | ConfigSeen | LegacySeen | NodeSeen | NodeGone | PodSeen | PodGone | WindowsDue


class PodAnswer(msgspec.Struct, frozen=True):
    """Answer to PodSeen: `outcome` is annotating, annotated, done, waiting or ignored; `retry_at` when it waits."""

    outcome: str
    reason: str = ""
    retry_at: Instant = 0
