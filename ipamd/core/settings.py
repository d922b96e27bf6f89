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
    keeps_serving_after_sigterm: bool = False
    """RPC-8: SIGTERM only stops scaling; the process goes on serving until it is killed."""


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
    external_snat: bool = False
    exclude_snat_cidrs: tuple[str, ...] = ()
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
