"""Every intended difference from upstream v1.23.1: what it does, what we do, why, and what brings its way back.

`SWITCHED` are the fields of `ipamd.core.settings.Quirks`, each named in `UPSTREAM_PARITY`; `DEFAULTS` are values that
`UPSTREAM_PARITY=strict` takes back; `CHOICES` lie where upstream leaves room or has nothing, and have no switch or one
of their own. tests/core/test_quirks.py shows both ways of each switched one that the core knows.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Difference(msgspec.Struct, frozen=True):
    """One difference. `spec`: the clauses it departs from; `back`: the setting that follows upstream, "" for none."""

    name: str
    spec: tuple[str, ...]
    upstream: str
    ours: str
    reason: str
    back: str = ""


def switched(name: str, spec: tuple[str, ...], upstream: str, ours: str, reason: str) -> Difference:
    """A field of Quirks."""
    return Difference(name, spec, upstream, ours, reason, f"UPSTREAM_PARITY={name}")


SWITCHED: Final = (
    switched(
        "cooling_counts_as_available",
        ("DM-34", "DM-37", "POOL-5", "POOL-8"),
        "cooling addresses count as available in every warm-pool figure",
        "they count as used until they have cooled",
        "a pool full of cooling addresses looks warm and can give nothing out",
    ),
    switched(
        "cooling_released_by_scale_down",
        ("POOL-31", "DM-35", "DM-45", "RPC-52", "INIT-28"),
        "a block goes back to EC2 while its addresses cool",
        "it stays until they have cooled",
        "EC2 may give the address to another node within the cooldown",
    ),
    switched(
        "restart_forgets",
        ("DM-3", "DM-29", "POOL-28", "REC-11"),
        "ENI ages, cooldowns, pauses and the scale-down clock are lost with the process",
        "they are folded from the journal",
        "a crash is no reason to hand out a cooling address",
    ),
    switched(
        "restart_trusts_metadata",
        ("INIT-25", "DM-64"),
        "at start the store is what instance metadata shows, and pods whose address it does not show are dropped",
        "EC2 is believed where the two differ",
        "metadata lags EC2 by seconds, and a dropped pod's address is handed out twice",
    ),
    switched(
        "forced_removal_subtracts_twice",
        ("DM-43",),
        "sizes and prefixes of an ENI that is gone with pods are subtracted twice from the shown totals",
        "once",
        "totals go negative, and the count of prefixes skews the scale-down",
    ),
    switched(
        "modify_error_shadowed",
        ("EC2-9",),
        "a failed delete-on-termination is reported by its clean-up's error; after a good clean-up the loop waits for "
        "an ENI without id",
        "the first error is reported, at once",
        "the pool stands still for minutes and the cause is not told",
    ),
    switched(
        "one_of_several_prefixes_fails",
        ("EC2-14",),
        "the wait for a new ENI fails if exactly one of several wanted prefixes is there",
        "one does, as one of several addresses does",
        "the ENI is there and usable",
    ),
    switched(
        "leftover_ip_kept",
        ("RPC-53",),
        "in prefix mode DelNetwork never releases a leftover secondary address",
        "it goes back, as a leftover prefix does in the other mode",
        "the address would occupy a slot until the next start",
    ),
    switched(
        "exclusion_failure_skips_host",
        ("INIT-38", "INIT-39"),
        "an ENI whose exclusion check failed stays in the store and is filled later without host set-up",
        "it is left out, and set up as a whole by a later reconcile",
        "pods on it would have no routes",
    ),
    switched(
        "excluded_purge_forgets",
        ("DM-33",),
        "the purge of an excluded ENI's empty block neither fixes the totals nor calls EC2",
        "the totals follow, and the block goes back to EC2",
        "the reconcile finds the block again and the total grows with each round",
    ),
    switched(
        "discovery_needs_second_describe",
        ("POOL-44",),
        "without DescribeSubnets the fallback to the primary subnet asks it again, and fails",
        "the primary subnet is used",
        "the fallback is for nodes without that permission",
    ),
    switched(
        "unparsable_created_at_leaks",
        ("EC2-44",),
        "an unattached ENI whose createdAt tag cannot be read is tagged anew and deleted all the same",
        "it counts as fresh: it is tagged anew and judged an hour later",
        "a tag somebody mistyped is no reason to delete what may be in use in a minute",
    ),
    switched(
        "last_store_by_index",
        ("RPC-40", "RPC-57"),
        "the last store is told by its card's index: with gaps among the cards a pod without an address, and the "
        "release of an unknown one, succeed with nothing",
        "the last store is the last one",
        "a pod without an address would be told that it has one",
    ),
    switched(
        "repeated_add_per_store",
        ("RPC-31", "DM-17"),
        "a repeated ADD asks store by store, so a pod with an address of card 1 may get a second one of card 0",
        "it gets the address that it has, whichever card it is of",
        "a retry must not change a pod's address, nor leak one",
    ),
    switched(
        "card_surplus_in_addresses",
        ("POOL-12",),
        "on cards > 0 surplus prefixes are counted in addresses: an idle prefix is given back and asked for again",
        "surplus is counted in prefixes on every card",
        "the prefix would come and go for ever",
    ),
    switched(
        "excluded_cleanup_first_card",
        ("POOL-48",),
        "at start only excluded ENIs of card 0 give back what is unused",
        "those of every card do",
        "what nobody may use is kept from others",
    ),
    switched(
        "ipv6_block_gauge_sinks",
        ("DM-26",),
        "in IPv6 mode the gauge of pods per block falls with each release and never rises",
        "it counts the pods",
        "a negative number of pods says nothing",
    ),
    switched(
        "detach_raises_no_event",
        ("EC2-23",),
        "a detach without permission raises no Kubernetes event",
        "it does, as every other EC2 call",
        "whoever looks for MissingIAMPermissions finds all that is missing",
    ),
    switched(
        "imds_only_asks_ec2",
        ("EC2-32", "EC2-33"),
        "ENABLE_IMDS_ONLY_MODE still describes subnets, asks EC2 where metadata differs, and gives leftovers back",
        "EC2 is not asked at all; metadata is believed, but a block with a pod stays",
        "the mode is for nodes that must not call EC2",
    ),
    switched(
        "keeps_serving_after_sigterm",
        ("RPC-8",),
        "SIGTERM only stops scaling; the process serves until it is killed",
        "it answers what is staged, syncs and exits 0 within 2 s",
        "whoever stops a service expects it to stop",
    ),
    switched(
        "windows_insufficient_cidr_missed",
        ("WIN-46",),
        "InsufficientCidrBlocks is not recognised behind the SDK's wrapping: no node event, and pods ask every 600 ms",
        "the node event is posted and pods wait two minutes",
        "it is what the guides describe, and each retry costs EC2 calls",
    ),
    switched(
        "windows_prefixes_unavailable_at_first",
        ("WIN-48",),
        "a prefix pool takes its subnet for full until its first job has ended",
        "for free until EC2 says otherwise",
        "a pod at node boot would wait two minutes for nothing",
    ),
    switched(
        "windows_cooling_counts_as_supply",
        ("WIN-92",),
        "cooling addresses of prefixes count as supply for the warm target",
        "only assignable ones do; for the minimum both count",
        "a pool whose addresses all cool would neither serve nor grow",
    ),
    switched(
        "windows_out_of_range_saturates",
        ("WIN-4",),
        "a target beyond 64 bits becomes the largest such number",
        "it becomes 0, like every other unreadable value",
        "one mistyped digit too many would fill the node",
    ),
    switched(
        "windows_capacity_by_equality",
        ("WIN-149",),
        "with more addresses in use than the capacity a pod is told that the pool is empty",
        "it is told that the node is full",
        "a retry every 600 ms cannot help",
    ),
    switched(
        "windows_lost_annotation_stays_lost",
        ("WIN-61",),
        "a pod that has an address but no annotation is left as it is",
        "its annotation is written again",
        "the pod would never start",
    ),
    switched(
        "windows_allocated_event_on_failure",
        ("WIN-63",),
        "ResourceAllocated is announced though the annotation failed",
        "only when it was written",
        "the event would be false",
    ),
    switched(
        "windows_failed_delete_loses_mask",
        ("WIN-112",),
        "addresses whose release failed come back without their mask until the re-sync",
        "they come back as they were",
        "a pod could be annotated with a bare address",
    ),
    switched(
        "windows_separate_ledgers",
        ("WIN-110",),
        "a node's two pools count free slots without each other's changes",
        "they count what is attached",
        "after a switch of the mode EC2 would be asked in vain",
    ),
    switched(
        "windows_non_nitro_drains_at_first",
        ("WIN-70",),
        "a node whose type has no prefixes gives its free addresses back at Init while delegation is on",
        "it keeps them",
        "they are asked for again a moment later",
    ),
    switched(
        "windows_low_cooldown_repeats",
        ("WIN-145",),
        "a branch-eni-cooldown below 30 counts as changed at every event of the ConfigMap, and every node is told",
        "nodes are told when the period that counts has changed",
        "one edit of another key posts an event on each node of the cluster",
    ),
)

KEPT: Final = (
    Difference(
        "windows_minimum_alone_keeps_none_warm",
        ("WIN-11",),
        "a minimum without a warm target means that none is kept warm, also by default here (V-107, V-108)",
        "the documents' 3 are kept warm",
        "who sized a cluster by what the controller does would find more addresses taken",
        "on unless UPSTREAM_PARITY=-windows_minimum_alone_keeps_none_warm",
    ),
    Difference(
        "windows_exhausted_groups_hide_shortage",
        ("WIN-47",),
        "an exhausted prefix keeps its key, so pods ask every 600 ms in a subnet without a block; so by default here "
        "(V-117)",
        "they wait two minutes, as on a node without any prefix",
        "an address that comes back on the node would be waited for in vain",
        "on unless UPSTREAM_PARITY=-windows_exhausted_groups_hide_shortage",
    ),
    Difference(
        "windows_other_mode_keeps_static",
        ("WIN-14",),
        "a node that cannot carry prefixes keeps 3/3 while the delegation key says true, also by default here (V-13)",
        "its targets are the ConfigMap's",
        "targets for prefixes would be taken for targets of addresses",
        "on unless UPSTREAM_PARITY=-windows_other_mode_keeps_static",
    ),
)
"""Accidents of upstream's that our default keeps, for vectors and clusters count on them."""

DEFAULTS: Final = (
    Difference(
        "ENABLE_IPv4",
        ("ENV-17",),
        "false in the code, true in the stock manifest; with neither family on the process does not start",
        "true",
        "a daemon that is started by hand has no manifest",
        "UPSTREAM_PARITY=strict",
    ),
    Difference(
        "WARM_PREFIX_TARGET",
        ("ENV-4",),
        "0 in the code, 1 in the stock manifest",
        "1",
        "with 0 and no other target the pool flaps",
        "UPSTREAM_PARITY=strict",
    ),
)

CHOICES: Final = (
    Difference(
        "plugin_deadline",
        ("RPC-61",),
        "the plugin waits for ipamd as long as the runtime lets it",
        "10 s",
        "a pod sandbox that hangs is harder to explain than one that fails",
        '"rpcDeadlineSeconds": 0',
    ),
    Difference(
        "plugin_undoes",
        ("RPC-43",),
        "an ADD that fails while it wires the pod leaves links and rules to a later ADD or DEL",
        "it takes them back",
        "the runtime may never come back to that pod, and its address goes to another",
    ),
    Difference(
        "own_namespace_refused_first",
        ("RPC-61",),
        "a pod's namespace that is the host's is refused once the pod is wired into it",
        "before ipamd is asked",
        "a default route on the node is a high price for a slip of the pen",
        "CNI_NETNS_OVERRIDE=true",
    ),
    Difference(
        "check_checks",
        ("RPC-61",),
        "the plugin answers CHECK with yes, whatever became of the pod",
        "it compares the kernel with ADD's result",
        "a check that cannot fail tells nothing",
        '"disableCheck": true',
    ),
    Difference(
        "status_and_gc",
        ("RPC-61",),
        "the plugin answers STATUS and GC with yes and does nothing",
        "the same, unless asked to look",
        "a runtime that sends them may want to know",
        '"statusAndGc": false',
    ),
    Difference(
        "kubeconfig",
        ("INIT-3", "INIT-4"),
        "without a service account ~/.kube/config is read",
        "only what --kubeconfig or KUBECONFIG names is, and only if --node-name or MY_NODE_NAME names this node",
        "a daemon started on a desk must not write to whatever cluster that desk works with",
        "KUBECONFIG",
    ),
    Difference(
        "live_pods",
        ("INIT-4", "RPC-22"),
        "pods are read from a cache",
        "from the API server, at each request that needs one",
        "an annotation that the cache lacks fails an ADD; a node makes few such requests",
    ),
    Difference(
        "trunk_lookout",
        ("SGP-7",),
        "the CNINode is read and, where the feature is missing, patched in each pool update",
        "the same every 5 s in a lane of its own; what changes nothing leaves no record",
        "a node that waits for its trunk must not fill its journal",
    ),
    Difference(
        "event_series",
        ("EV-1",),
        "the recorder makes one series of the same event",
        "the same event is raised again after 6 minutes",
        "a call that is refused every 5 s is said once",
    ),
    Difference(
        "address_order",
        ("DM-17", "DM-18"),
        "random among ENIs, blocks and cooled addresses",
        "the fullest block first, then device number and address; of cooled ones the one that rested longest",
        "prefixes fall free sooner, and a run can be repeated",
    ),
    Difference(
        "scale_down_order",
        ("POOL-31", "DM-36"),
        "random among ENIs",
        "the last device first",
        "secondary ENIs empty and can be freed; the primary one never goes",
    ),
    Difference(
        "orphans",
        ("EC2-8", "EC2-24"),
        "an ENI that hung on nothing when the process died waits for the leaked-ENI cleaner",
        "the next start deletes it",
        "the journal knows whose it is",
    ),
    Difference(
        "failed_set_up_keeps_pods",
        ("INIT-34", "INIT-38"),
        "an ENI that cannot be set up at a restart loses the pods on it",
        "they keep their addresses",
        "the reconcile would adopt the ENI and hand the addresses out again",
    ),
    Difference(
        "device_index_100",
        ("EC2-6",),
        "an attachment with index 100 crashes the search",
        "it is no obstacle",
        "a crash serves nobody",
    ),
    Difference(
        "lost_answers",
        ("EC2-1", "EC2-7", "EC2-20"),
        "a request without an answer is a failed one",
        "its effect is sought before anything else is done",
        "a created ENI would be forgotten, an assigned address would be learnt by accident",
    ),
    Difference(
        "long_fields",
        ("RPC-30",),
        "no bound",
        "a field above 4 KiB is refused",
        "one caller must not fill the journal",
    ),
    Difference(
        "windows_one_record_an_edit",
        ("WIN-19", "WIN-103"),
        "an edit of the ConfigMap is remembered before nodes are updated; a failed update is not tried again",
        "the edit and what follows on every node are one record; no update can fail between them",
        "a node that misses an edit until its next event is nobody's wish",
    ),
    Difference(
        "windows_no_empty_jobs",
        ("WIN-64",),
        "after each create and delete a job that does nothing is queued and counted",
        "no job where there is nothing to do",
        "jobs_submitted_count would grow with pods rather than with work",
    ),
    Difference(
        "windows_keeps_bare_interfaces",
        ("WIN-104",),
        "a secondary interface left with its primary address alone is deleted after a release",
        "it stays",
        "the controller made none, so it is somebody else's",
    ),
    Difference(
        "windows_empty_reply_fails",
        ("WIN-108",),
        "an assign reply without addresses passes one check and fails the next; one without prefixes fails at once",
        "either is a shortfall: a failed job, a comparison with EC2",
        "the outcome is the same, by one way",
    ),
    Difference(
        "windows_one_ledger",
        ("WIN-111",),
        "a re-sync adds a second count of an interface's slots and tries the stale one first",
        "slots are counted from what the pool holds",
        "there is no second count that could be stale",
    ),
    Difference(
        "windows_health_of_nodes",
        ("WIN-32",),
        "the check of the node queue is not made for 10 minutes after a throttled Init",
        "health tells of watches and the disk; a throttled Init is no sign of ill health, so there is no pause",
        "a restart would only add requests to those that are throttled",
    ),
    Difference(
        "windows_room_is_clamped",
        ("WIN-148",),
        "with more addresses than the capacity, room is negative and a job of a negative count is queued; a room that "
        "is no multiple of 16 leaves a remainder pending for good",
        "room is 0 at least, and what is pending is what was asked for",
        "a remainder that never returns blocks every later comparison with EC2",
    ),
)
