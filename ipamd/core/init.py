"""Node init, at first start and at every restart (INIT-16..33, DM-61..65).

step       wants                                   failure
orphans    FindNetworkInterfaces, lost creates     logged
drop       DeleteNetworkInterface, one an orphan   logged; the next start tries again
metadata   ReadMetadata                            fatal (INIT-17)
host       SetUpHost                               fatal (INIT-18)
describe   DescribeNetworkInterfaces, all          12 tries, then fatal (INIT-20)
subnets    DescribeSubnets; IPv6 and discovery     fatal; no ENI left: one is made (INIT-23)
adopt      see adopt, every attached ENI           tag: fatal; else the ENI is left out (INIT-34)
links      ReadLinks                               fatal (DM-62); so are two rows with one address (DM-64)
prune      PrunePodRules, one a dropped row        logged
clean      UnassignPrivateIpAddresses              logged (INIT-27, INIT-28)
rules      RefreshPodRules                         logged (INIT-29)
groups     ModifyNetworkInterfaceAttribute         logged (INIT-31, POOL-51)
features   AddFeature                              fatal or counted (SGP-4, SGP-5)
prescale   one increase a card where it is low     assigning: fatal; growing: not (POOL-20)

In IMDS-only mode describe is left out: metadata alone says what there is, and nothing is given back (EC2-32).
"""

from __future__ import annotations

import msgspec

from . import adopt, cards, census, links, trunk
from . import events as ev
from .calls import (
    ENI_NOT_FOUND,
    DeleteNetworkInterface,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    Ec2Call,
    EnisView,
    Failed,
    FindNetworkInterfaces,
    HostCall,
    LinksView,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    ReadLinks,
    ReadMetadata,
    RefreshPodRules,
    SetUpHost,
    Succeeded,
    View,
)
from .census import fatal
from .fill import unassign_calls
from .grow import TOKEN_TAG
from .observe import offered
from .resync import quoted_id
from .state import State, assignments
from .steps import DESCRIBE_STEP, DESCRIBE_TRIES, Want, code_of, logged, moved, text_of
from .types import Instant
from .work import Adoption, Init

_QUEUES = ("drop", "prune", "clean", "groups", "features")
"""Steps that work a queue of calls whose failures are logged."""


def want(state: State, work: Init) -> Want:
    """The next step. Without call and look the step is a decision: see `evaluate`."""
    match work.step:
        case "orphans":
            if (state.pending or state.lost_tokens) and not state.ec2_silent:
                return Want(look=FindNetworkInterfaces({cards.INSTANCE_TAG: state.node.instance}))
            return Want()
        case "metadata":
            return Want(look=ReadMetadata())
        case "host":
            return Want(call=SetUpHost(state.node_ip, state.vpc_cidrs, _primary_mac(state, work)))
        case "describe":
            return Want(look=DescribeNetworkInterfaces(_ids(state, work)), due=work.due)
        case "subnets":
            return Want(look=DescribeSubnets())
        case "adopt":
            assert work.adoption is not None
            return adopt.want(state, work.adoption) if work.adoption.queue else Want()
        case "links":
            return Want(look=ReadLinks())
        case "rules":
            held = any(store.owners for store in state.stores.values()) and not state.settings.ipv6  # V6-10
            return Want(call=_refresh(state)) if held else Want()
        case _:
            return Want(call=work.calls[0]) if work.calls else Want()


def _primary_mac(state: State, work: Init) -> str:
    """The MAC of the primary ENI as metadata shows it; "" where it shows none."""
    return next((shown.mac for shown in work.seen if shown.eni == state.node.primary_eni), "")


def _ids(state: State, work: Init) -> tuple[str, ...]:
    """Every ENI that metadata shows or the store knows; a lying metadata service hides none of ours."""
    ids = [shown.eni for shown in work.seen]
    if not state.settings.quirks.restart_trusts_metadata:
        ids += [eni for eni in state.enis if eni not in ids]
    return tuple(eni for eni in ids if eni not in work.missing)


def _refresh(state: State) -> RefreshPodRules:
    pods = [(block.address(offset), eni.table) for eni, block, offset, _ in assignments(state)]
    return RefreshPodRules(tuple(pods))


def evaluate(state: State, work: Init, now: Instant) -> list[ev.Event]:
    """A step that has nothing (more) to ask."""
    match work.step:
        case "orphans" | "drop":
            return [moved(Init("metadata"))]
        case "adopt":
            assert work.adoption is not None
            if not work.adoption.queue:
                return census.allocate(state) if work.lacking else [moved(Init("links"))]
            rest = adopt.next_candidate(state, work.adoption)
            admitted = [*_confirmed(state, work.adoption), *adopt.admit(state, work.adoption)]
            return [*admitted, moved(Init("adopt", adoption=rest, lacking=work.lacking))]
        case "prune":
            return _clean(state, now)
        case "clean":
            return [moved(Init("rules"))]
        case "rules":
            return _to_groups(state)
        case "groups":
            return _to_features(state)
        case "features":
            return [moved(Init("prescale"))]
        case _:
            raise AssertionError(f"step {work.step} is not a decision")


def _confirmed(state: State, adoption: Adoption) -> list[ev.Event]:
    """REC-10: EC2 says that these blocks are here, so the entry of an earlier release does not hold them any more.

    A reconcile would drop them with the pods they got meanwhile (REC-13). Upstream's entries end with the process.
    """
    if state.settings.quirks.restart_trusts_metadata:
        return []
    return [ev.HoldEnded(cidr) for cidr in adopt.blocks_of(adoption.queue[0]) if cidr in state.held]


def observe(state: State, work: Init, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """Where a look leads."""
    match work.step:
        case "orphans":
            return _orphans(state, seen)
        case "metadata":
            return _metadata(state, seen)
        case "describe":
            return _described(state, work, seen, now)
        case "subnets":
            return census.judged(state, work, seen)
        case "adopt":
            assert work.adoption is not None
            result = adopt.observed(state, work.adoption, seen)
            return [*adopt.unpermitted(state, seen), *_adopting(state, work, result, now)]
        case "links":
            return _links(state, seen)
        case _:
            raise AssertionError(f"step {work.step} looks at nothing")


def settle(state: State, work: Init, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """Where a call's outcome leads."""
    if work.step == "adopt":
        assert work.adoption is not None
        return _adopting(state, work, adopt.settled(state, work.adoption, outcome, now, retry_host=True), now)
    failed: list[ev.Event] = []
    if not isinstance(outcome, Succeeded):
        if work.step == "host":
            return fatal("host", outcome)
        if work.step == "features":
            failed = trunk.failed_at_init(work.calls[0], outcome)
            if any(isinstance(event, ev.InitFailed) for event in failed):
                return failed
        else:
            failed = [logged(f"init {work.step}", outcome)]
    if work.step in _QUEUES:
        rest = msgspec.structs.replace(work, calls=work.calls[1:])
        done: list[ev.Event] = []
        head = work.calls[0]
        gone = isinstance(outcome, Succeeded) or code_of(outcome) == ENI_NOT_FOUND
        if gone and isinstance(head, DeleteNetworkInterface):
            done = [ev.EniDiscarded(head.eni)]
        return [*failed, *done, moved(rest)]
    if work.step == "host":
        if state.ec2_silent:
            return census.from_metadata(state, work)
        return [moved(Init("describe", seen=work.seen))]
    return [*failed, *_to_groups(state)]


def _orphans(state: State, seen: View | Failed) -> list[ev.Event]:
    """ENIs of ours that hung on nothing when the last process ended, just made or half freed: they are deleted."""
    if not isinstance(seen, EnisView):
        assert isinstance(seen, Failed)
        return [logged("FindNetworkInterfaces", seen), moved(Init("metadata"))]
    tokens = {*state.lost_tokens, *(pending.token for pending in state.pending.values() if pending.token)}
    ours = [eni.eni for eni in seen.enis if eni.eni in state.pending or eni.tags.get(TOKEN_TAG) in tokens]
    return [moved(Init("drop", calls=tuple(DeleteNetworkInterface(eni) for eni in ours)))]


def _metadata(state: State, seen: View | Failed) -> list[ev.Event]:
    if not isinstance(seen, MetadataView):
        assert isinstance(seen, Failed)
        return fatal("metadata", seen)
    if not seen.enis:
        return fatal("metadata", Failed("", "instance metadata listed no ENI at all"))
    seen = offered(state, seen)
    events: list[ev.Event] = []
    vpc_cidrs = seen.vpc_cidrs6 if state.settings.ipv6 else seen.vpc_cidrs
    if vpc_cidrs != state.vpc_cidrs:
        events.append(ev.VpcCidrsChanged(vpc_cidrs))
    groups = tuple(sorted(seen.security_groups))
    if groups != state.security_groups:
        events.append(ev.SecurityGroupsChanged(groups))
    return [*events, moved(Init("host", seen=seen.enis))]


def _described(state: State, work: Init, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """EC2-30: an id EC2 does not know is left out, other errors are retried k * 10 ms apart."""
    if isinstance(seen, Failed):
        missing = quoted_id(seen.message) if seen.code == ENI_NOT_FOUND else ""
        if missing and missing in _ids(state, work):
            return [moved(msgspec.structs.replace(work, missing=(*work.missing, missing)))]
        if work.attempt + 1 < DESCRIBE_TRIES:
            due = now + work.attempt * DESCRIBE_STEP
            return [moved(msgspec.structs.replace(work, attempt=work.attempt + 1, due=due))]
        return fatal("describe", seen)
    assert isinstance(seen, EnisView)
    return census.described(state, work, seen)


def _adopting(state: State, work: Init, result: adopt.Stuck | Adoption, now: Instant) -> list[ev.Event]:
    """INIT-24: tags are fatal. INIT-34: an ENI that cannot be set up is counted and left out."""
    if isinstance(result, Adoption):
        return [moved(msgspec.structs.replace(work, adoption=result))]
    assert work.adoption is not None
    if result.step == "tag":
        return fatal("tag", result.failure)
    looks = ("check", "read_prefix", "assign_prefix")
    if result.step in looks and result.tries < adopt.HOST_TRIES:
        step = "check" if result.step == "check" else "read_prefix"
        retry = msgspec.structs.replace(work.adoption, step=step, attempt=result.tries, due=now + adopt.HOST_PAUSE)
        return [moved(msgspec.structs.replace(work, adoption=retry))]
    message = f"{work.adoption.queue[0].eni}: {text_of(result.failure)}"
    counted = ev.ErrorCounted("waitENIAttachedMaxRetryExceeded", message)
    rest = adopt.next_candidate(state, work.adoption)
    left = _given_up(state, work.adoption, result.step)
    return [counted, *left, moved(msgspec.structs.replace(work, adoption=rest))]


def _given_up(state: State, adoption: Adoption, step: str) -> list[ev.Event]:
    """INIT-38: an ENI that cannot be set up has no place in the store; a later reconcile tries again.

    One that holds pods stays as it was: adopted anew it would hand out their addresses a second time.
    """
    bare = step in ("read_prefix", "assign_prefix")
    if bare or (step == "check" and state.settings.quirks.exclusion_failure_skips_host):
        return adopt.admit(state, adoption, with_blocks=False)
    known = state.enis.get(adoption.queue[0].eni)
    return [ev.EniLeft(known.eni, "gone")] if known is not None and not known.assigned else []


def _links(state: State, seen: View | Failed) -> list[ev.Event]:
    """DM-62, DM-64: rows that hold no more are dropped, the checkpoint's others are taken over."""
    if isinstance(seen, Failed):
        return fatal("links", seen)
    assert isinstance(seen, LinksView)
    result = links.survivors(state, seen)
    if isinstance(result, Failed):
        return fatal("restore", result)
    events, pruned = result
    return [*events, moved(Init("prune", calls=tuple(pruned)))]


def _clean(state: State, now: Instant) -> list[ev.Event]:
    """INIT-27, INIT-28, POOL-48: unused blocks of the other mode, and of excluded ENIs, go back to EC2.

    Those with a cooling address wait for it (see purge), unless the quirk lets them go at once.
    """
    if state.ec2_silent:
        return [moved(Init("clean"))]
    late = state.settings.quirks.cooling_released_by_scale_down
    events: list[ev.Event] = []
    calls: list[Ec2Call | HostCall] = []
    mode = state.settings.prefix_delegation
    first_card_only = state.settings.quirks.excluded_cleanup_first_card  # POOL-48
    for eni in state.enis.values():
        idle = [block for block in eni.blocks.values() if not block.assigned]
        blocks = []
        for block in idle:
            if block.prefix == mode and (not eni.excluded or (eni.card and first_card_only)):
                continue
            if not late and block.cooling_at(now, state.cooldown):
                events.append(ev.PurgeDue(eni.eni, block.cidr, block.cooling[-1][0] + state.cooldown + 1))
                continue
            events.append(ev.CidrRemoved(eni.eni, block.cidr, "leftover"))
            blocks.append(block.cidr)
        calls += unassign_calls(eni, blocks)
    return [*events, moved(Init("clean", calls=tuple(calls)))]


def _to_groups(state: State) -> list[ev.Event]:
    """POOL-51: the cached groups are set on every ENI, ascending id; at a restart only if they changed."""
    if state.settings.provisioning_disabled or state.settings.custom_networking:
        return _to_features(state)
    groups = state.security_groups or ()
    calls: tuple[HostCall | Ec2Call, ...] = ()
    if state.groups_stale:
        calls = tuple(ModifyNetworkInterfaceAttribute(eni, security_groups=groups) for eni in sorted(state.enis))
    return [moved(Init("groups", calls=calls))]


def _to_features(state: State) -> list[ev.Event]:
    """SGP-4..6, behind the security groups."""
    said, calls = trunk.features(state)
    return [*said, moved(Init("features", calls=calls))] if said or calls else [moved(Init("prescale"))]
