"""Settings and node facts, as `Started` carries them. Reading them from the environment is `ipamd.config`'s task.

Defaults here are upstream's code defaults (spec section 10, column "Code default") except where the comment
says otherwise, so that a test may write `Settings()` and get a node that works.
"""

from __future__ import annotations

import msgspec


class Quirks(msgspec.Struct, frozen=True, omit_defaults=True):
    """Upstream behaviours that look accidental. True replicates upstream, False is ours (tests/quirks.py)."""

    cooling_counts_as_available: bool = False
    """DM-34: cooling addresses count as available in every warm-pool figure."""
    cooling_released_by_scale_down: bool = False
    """POOL-31: a block may be given back to EC2 while its addresses still cool."""
    restart_forgets: bool = False
    """DM-3, DM-29, Appendix D: ENI ages, cooldowns, pauses and the scale-down clock start anew."""
    restart_trusts_metadata: bool = False
    """INIT-25, DM-64: at start the store is what instance metadata shows, though it may lag EC2."""
    forced_removal_subtracts_twice: bool = False
    """DM-43: totals of a force-removed ENI with pods are subtracted twice."""
    modify_error_shadowed: bool = False
    """EC2-9: a failed delete-on-termination is reported by its clean-up's error, or not at all."""
    one_of_several_prefixes_fails: bool = False
    """EC2-14: with exactly one of several wanted prefixes attached the wait fails."""
    leftover_ip_kept: bool = False
    """RPC-53: with prefix delegation on, DelNetwork never releases a leftover secondary address."""
    exclusion_failure_skips_host: bool = False
    """INIT-39: an ENI whose exclusion check failed is filled later without host set-up."""
    excluded_purge_forgets: bool = False
    """DM-33: the purge of an excluded ENI's empty block neither fixes totals nor calls EC2."""
    discovery_needs_second_describe: bool = False
    """POOL-44: without DescribeSubnets the fallback to the primary subnet fails too."""
    unparsable_created_at_leaks: bool = False
    """EC2-44: an unattached ENI whose createdAt tag cannot be read is tagged anew and deleted all the same."""
    last_store_by_index: bool = False
    """RPC-40, RPC-57: with gaps among the cards, exhaustion and an unknown pod are successes without an address."""
    repeated_add_per_store: bool = False
    """RPC-31, DM-17: a repeated ADD asks store by store, so a pod of card 1 may get a second address of card 0."""
    card_surplus_in_addresses: bool = False
    """POOL-12: on cards > 0 prefixes too many are counted in addresses, so an idle one comes and goes."""
    excluded_cleanup_first_card: bool = False
    """POOL-48: at start only excluded ENIs of card 0 give back what is unused."""
    ipv6_block_gauge_sinks: bool = False
    """DM-26: in IPv6 mode the gauge of pods per block falls with each release and never rises."""
    detach_raises_no_event: bool = False
    """EC2-23: DetachNetworkInterface without permission raises no Kubernetes event."""
    imds_only_asks_ec2: bool = False
    """EC2-33: IMDS-only mode still describes subnets, asks EC2 where metadata differs, and gives leftovers back."""
    exhausted_without_room_asks_on: bool = False
    """POOL-27, POOL-28: with discovery on and no room for an ENI, a full subnet is asked again each cycle, for ever."""
    keeps_serving_after_sigterm: bool = False
    """RPC-8: SIGTERM only stops scaling; the process goes on serving until it is killed."""
    windows_insufficient_cidr_missed: bool = False
    """WIN-46: InsufficientCidrBlocks is an ordinary failure: no node event, pods retry every 600 ms."""
    windows_prefixes_unavailable_at_first: bool = False
    """WIN-48: until its first job ends a prefix pool takes its subnet for full; pods wait two minutes."""
    windows_cooling_counts_as_supply: bool = False
    """WIN-92: cooling addresses of prefixes count as supply for the warm target."""
    windows_out_of_range_saturates: bool = False
    """WIN-4: a target beyond 64 bits becomes the largest one, not 0."""
    windows_capacity_by_equality: bool = False
    """WIN-149: with more addresses in use than the capacity a pod is not told so."""
    windows_lost_annotation_stays_lost: bool = False
    """WIN-61: a pod with an address but no annotation is never annotated."""
    windows_allocated_event_on_failure: bool = False
    """WIN-63: ResourceAllocated is announced though the annotation failed."""
    windows_failed_delete_loses_mask: bool = False
    """WIN-112: addresses of a failed delete come back without their mask until the re-sync."""
    windows_separate_ledgers: bool = False
    """WIN-110: each of a node's two pools counts an interface's free slots without the other's changes."""
    windows_non_nitro_drains_at_first: bool = False
    """WIN-70: on a type without prefixes the free addresses are released at Init while delegation is on."""
    windows_low_cooldown_repeats: bool = False
    """WIN-145: a branch-eni-cooldown below 30 is told to every node at each event of the ConfigMap."""


class WindowsQuirks(Quirks, frozen=True, omit_defaults=True):
    """Those of a controller of Windows nodes. These three are on unless `UPSTREAM_PARITY=-NAME` turns them off:
    operators size their clusters by what they do. False is what was meant."""

    windows_minimum_alone_keeps_none_warm: bool = True
    """WIN-11: a minimum target without a warm one means warm 0, not 3, in secondary mode."""
    windows_exhausted_groups_hide_shortage: bool = True
    """WIN-47: an exhausted prefix keeps its key, so pods see "empty" where the subnet is out of blocks."""
    windows_other_mode_keeps_static: bool = True
    """WIN-14: a secondary pool under a raw prefix-delegation key gets 3/3 whatever the ConfigMap says."""


KEPT = tuple(f.name for f in msgspec.structs.fields(WindowsQuirks) if f.default is True)
"""Upstream's accidents that are ours too unless they are turned off."""


def windows_quirks(quirks: Quirks, *off: str) -> WindowsQuirks:
    """The switches of `UPSTREAM_PARITY` for a controller; `off`: names of `KEPT` that it turns off."""
    return WindowsQuirks(**msgspec.structs.asdict(quirks), **dict.fromkeys(off, False))


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What tunes the pool. Times in seconds, counts in addresses, ENIs or prefixes as named."""

    warm_ip_target: int = 0
    minimum_ip_target: int = 0
    warm_eni_target: int = 1
    warm_prefix_target: int = 0
    max_eni: int = 0
    """0: the instance's limit (ENV-5)."""
    prefix_delegation: bool = False
    """After INIT-13: false on an instance that cannot carry prefixes, whatever the variable says."""
    ip_cooldown_period: int = 30
    """Seconds; negative means none (DM-28)."""
    subnet_discovery: bool = True
    leaked_cleanup_disabled: bool = False
    """ENV-11, or implied by ENV-10 (EC2-40)."""
    provisioning_disabled: bool = False
    """ENV-9, or implied by ENV-10."""
    manage_enis_non_schedulable: bool = False
    manage_untagged_eni: bool = True
    cluster_name: str = ""
    additional_eni_tags: dict[str, str] = {}
    network_policy_mode: str = ""
    custom_networking: bool = False
    """ENV-6: new ENIs are made as the node's ENIConfig says (POOL-39..42)."""
    eni_config_annotation: str = "k8s.amazonaws.com/eniConfig"
    eni_config_label: str = "k8s.amazonaws.com/eniConfig"
    pod_eni: bool = False
    """ENV-13: security groups for pods (SGP-1)."""
    annotate_pod_ip: bool = False
    """ENV-20."""
    imds_only: bool = False
    """ENV-10; `provisioning_disabled` and `leaked_cleanup_disabled` follow from it."""
    external_snat: bool = False
    exclude_snat_cidrs: tuple[str, ...] = ()
    ipv6: bool = False
    """IPv6 mode: one /80 an ENI, no warm pool (V6-1..10). `prefix_delegation` is then true."""
    multi_nic: bool = False
    """ENV-22: network cards beside the first have stores of their own (DM-50)."""
    quirks: Quirks = Quirks()


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """Facts of the instance the daemon runs on, gathered before `Start`."""

    instance: str
    instance_type: str
    region: str = ""
    zone: str = ""
    vpc: str = ""
    subnet: str = ""
    """The primary ENI's subnet."""
    primary_eni: str = ""
    primary_ip: str = ""
    enis_max: int = -1
    """Instance limit (LIM-2); -1 for an unknown type (LIM-6)."""
    ips_per_eni: int = 0
    """IPv4 addresses per ENI, the primary one included (LIM-1); 0 for an unknown type, so L = -1 (POOL-1)."""
    max_pods: int = 110
    trunking_compatible: bool = True
    cards: tuple[int, ...] = ()
    """ENIs of each network card by its index (LIM-1); empty: one card that carries `enis_max`."""
    primary_ip6: str = ""
    """The primary ENI's first IPv6 address; "" if it has none."""
    name: str = ""
    """The Node object's (INIT-15)."""
    cluster: bool = False
    """Whether an API server was reached at start (INIT-2, INIT-3)."""
