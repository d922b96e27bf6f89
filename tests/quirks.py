"""Every intended difference from upstream v1.23.1: what it does, what we do, why, and what brings its way back.

`SWITCHED` are the fields of `ipamd.core.settings.Quirks`, each named in `UPSTREAM_PARITY`; `DEFAULTS` are values that
`UPSTREAM_PARITY=strict` takes back; `CHOICES` lie where upstream leaves room or has nothing, and have no switch or one
of their own. tests/core/test_quirks.py shows both ways of each switched one that the core knows.
"""

from __future__ import annotations

from typing import Final

from . import quirks_windows
from .difference import Difference, switched

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
        "exhausted_without_room_asks_on",
        ("POOL-27", "POOL-28"),
        "with subnet discovery on, a full subnet starts the 120 s pause only through a new ENI: where none has room "
        "EC2 is asked twice each 5 s, for ever",
        "where none has room the pause begins at once",
        "each of these requests is one that another node is throttled for",
    ),
    switched(
        "keeps_serving_after_sigterm",
        ("RPC-8",),
        "SIGTERM only stops scaling; the process serves until it is killed",
        "it answers what is staged, syncs and exits 0 within 2 s",
        "whoever stops a service expects it to stop",
    ),
    *quirks_windows.SWITCHED,
)

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
        "empty_versions",
        ("RPC-20",),
        "both sides' version strings are empty by a slip of the build, so equal",
        "ours is empty on purpose: the stock plugin's empty one must fit, any other is refused",
        "a version of our own would refuse the plugin that nodes have",
    ),
    Difference(
        "unknown_pod_is_an_error",
        ("RPC-49",),
        "DEL of a pod that is gone means to succeed, but its test cannot match: an error of gRPC",
        "that error, with no attempt at success",
        "the plugin knows the error by its text",
    ),
    Difference(
        "branch_del_in_ipv4_field",
        ("RPC-50",),
        "DEL of a pod with a branch ENI returns `privateIp` in the IPv4 field, in IPv6 mode too, by oversight",
        "the same, as the rule",
        "the plugin reads nothing but whether it is empty",
    ),
    Difference(
        "roll_back_without_uid",
        ("RPC-51",),
        "the plugin's roll-back DEL lacks the pod's UID, which for a branch ENI's pod is an error it ignores",
        "our plugin sends none either, our daemon says the same, and both go on",
        "stock plugins stay as they are",
    ),
    Difference(
        "ec2_endpoint",
        ("EC2-0",),
        "AWS_EC2_ENDPOINT reaches the client of instance metadata alone",
        "it is EC2's URL",
        "it is what its name says, and what a private endpoint needs",
        "AWS_ENDPOINT_URL_EC2, with AWS_EC2_ENDPOINT unset",
    ),
    Difference(
        "has_trunk_label",
        ("SGP-11",),
        "the README names the label vpc.amazonaws.com/has-trunk-attached, which nothing sets or reads",
        "no page names it, and nothing sets or reads it",
        "the CNINode has taken its place",
    ),
    Difference(
        "metadata_latency",
        ("HTTP-24",),
        "the latency summary has a label GetMetadata for reads that never pass it",
        "no such series",
        "a series that never moves says nothing",
    ),
    Difference(
        "metadata_errors_by_operation",
        ("HTTP-26",),
        "failed reads of instance metadata are counted by some twenty names, one a field",
        "metadata is read as a whole: what fails is counted where it matters, as reconcileFailedGetENIs and the like",
        "nobody acts on which field it was; the log names the URL",
    ),
    Difference(
        "long_fields",
        ("RPC-30",),
        "no bound",
        "a field above 4 KiB is refused",
        "one caller must not fill the journal",
    ),
    *quirks_windows.CHOICES,
)
