"""Scenario files: YAML that tells what nodes there are, what befalls them, and what is expected to be so then.

    rows: [L-30, L-31]                    # which statements about the VPC CNI it shows
    subnet: 10.0.0.0/24
    nodes:
      - name: a
        type: c5.large
        env: {ENABLE_PREFIX_DELEGATION: true}
        kubelet_args: --max-pods=110
    steps:
      - settle
      - add_pods: 20
      - settle
    expect:
      nodes: {a: {prefixes: 3}}

Here are the shapes; `scenario_read` reads and checks a file, `scenario_run` runs it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ipamd.ec2.latency import Profile
from ipamd.ec2.state import Placement

from .fleet_view import Facts


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A member that nobody knows is an error."""


class NodeSpec(_Part, frozen=True, kw_only=True):
    """One node. It joins at the beginning, or at the step `join` that names it."""

    type: str
    name: str = ""
    """Default `node-1`, `node-2`, ... by position."""
    os: str = "linux"
    env: dict[str, str | int | bool] = {}
    """Of the daemon's container, as the manifest has it."""
    kubelet_args: str = ""
    """`--max-pods=N` counts."""
    bootstrap_args: str = ""
    """`--use-max-pods=false`: the type's figure is not used; without `--max-pods` kubelet's own 110 is."""
    group: str = ""
    """A managed node group: all its nodes have the lowest recommended max-pods of its instance types."""
    requirements: dict[str, tuple[str, ...]] = {}
    """Of the pool that it comes from: `node.kubernetes.io/instance-type` lists the types allowed."""
    cni_version: str = ""
    """A version before 1.9 knows nothing of prefixes: it neither asks for them nor sees them."""
    labels: dict[str, str] = {}
    """Of the Node object; one may name an ENIConfig."""


class Config(_Part, frozen=True, kw_only=True):
    """The world of the scenario."""

    seed: int = 1
    latency: Profile = "none"
    placement: Placement = "packed"
    vpc: str = ""
    """Its CIDR; default the /16 around the subnet."""
    retry_seconds: float = 10
    """How long the kubelet waits after a refusal."""


class AddPods(_Part, frozen=True, kw_only=True):
    """New pods. `one_by_one`: the fleet settles after each."""

    count: int
    node: str = ""
    one_by_one: bool = False


class DeletePods(_Part, frozen=True, kw_only=True):
    """Pods end; which ones is the order of their age, or drawn from the seed."""

    count: int
    node: str = ""
    order: Literal["oldest", "newest", "random"] = "oldest"
    one_by_one: bool = False


class Drain(_Part, frozen=True, kw_only=True):
    """Cordon and evict; `max_unavailable` is a PodDisruptionBudget over all pods."""

    node: str
    max_unavailable: int = 0
    """0: no budget."""


class Restart(_Part, frozen=True, kw_only=True):
    """The daemon starts anew with another environment or version; pods run on."""

    node: str
    env: dict[str, str | int | bool] = {}
    cni_version: str = ""


class Take(_Part, frozen=True, kw_only=True):
    """Others take addresses of the subnet: one of the three."""

    in_each_block: int = 0
    """So many in every aligned /28."""
    count: int = 0
    """So many, wherever EC2 gives them."""
    addresses: tuple[str, ...] = ()


class Give(_Part, frozen=True, kw_only=True):
    """Others give back the addresses that they took first."""

    count: int


class Reserve(_Part, frozen=True, kw_only=True):
    """A CIDR reservation of the subnet."""

    cidr: str
    type: Literal["prefix", "explicit"] = "prefix"


class Assign(_Part, frozen=True, kw_only=True):
    """Somebody assigns addresses or prefixes to an ENI of a node; EC2's answer is kept under `named`."""

    node: str
    device: int = 0
    addresses: int = 0
    prefixes: int = 0
    named: str = ""


class Fault(_Part, frozen=True, kw_only=True):
    """EC2 refuses the next requests of an action."""

    action: str
    code: str
    message: str = "injected"
    times: int = 1


class Repeat(_Part, frozen=True, kw_only=True):
    """The steps again and again."""

    times: int
    steps: tuple[Literal["settle"] | Step, ...]


class Step(_Part, frozen=True, kw_only=True, omit_defaults=True):
    """What happens next: exactly one member is set."""

    add_pods: int | AddPods | None = None
    delete_pods: int | DeletePods | None = None
    settle: float | None = None
    """Until nothing changed for so many seconds; the bare word `settle` is 40."""
    wait: float | None = None
    """So many seconds pass."""
    join: str | None = None
    cordon: str | None = None
    uncordon: str | None = None
    drain: str | Drain | None = None
    terminate: str | None = None
    restart: str | Restart | None = None
    take: Take | None = None
    give: Literal["all"] | Give | None = None
    reserve: str | Reserve | None = None
    assign: Assign | None = None
    fault: Fault | None = None
    configure: dict[str, str | int | bool] | None = None
    """Windows nodes: the ConfigMap's data is now this."""
    repeat: Repeat | None = None
    expect: Facts | None = None
    """What is expected to be so at this point."""

    @property
    def action(self) -> str:
        """The name of the member that is set; "" where it is none or several."""
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        return given[0] if len(given) == 1 else ""


Steps: TypeAlias = tuple[Literal["settle"] | Step, ...]


class EniConfigSpec(_Part, frozen=True, kw_only=True):
    """An ENIConfig with a subnet of its own."""

    subnet: str
    """Its CIDR, in the VPC."""


class ScenarioFile(_Part, frozen=True, kw_only=True):
    """A whole scenario."""

    title: str = ""
    rows: tuple[str, ...] = ()
    subnet: str = "10.0.0.0/16"
    nodes: tuple[NodeSpec, ...]
    """All of one OS."""
    config_map: dict[str, str | int | bool] | None = None
    """Windows nodes: ConfigMap amazon-vpc-cni at the beginning; by default it turns Windows IPAM on."""
    config: Config = Config()
    steps: Steps = ("settle",)
    expect: Facts
    eni_configs: dict[str, EniConfigSpec] = {}

    @property
    def windows(self) -> bool:
        """Whether its nodes are Windows ones."""
        return bool(self.nodes) and self.nodes[0].os == "windows"
