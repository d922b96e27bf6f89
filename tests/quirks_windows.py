"""Intended differences of the Windows controller: a part of the table in tests/quirks.py."""

from __future__ import annotations

from typing import Final

from .difference import Difference, switched

SWITCHED: Final = (
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

CHOICES: Final = (
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
