"""Creating an ENI, step by step (POOL-30, POOL-43..50, EC2-1..14).

step          wants                        success         failure                         lost
eniconfig     ReadEniConfig                create          end (POOL-39, POOL-41)          -
subnets       DescribeSubnets              create          primary subnet or end           -
create        CreateNetworkInterface       index           next subnet; last: end          seek
seek          FindNetworkInterfaces        index           again, then give up to cleaner  -
index         DescribeInstances            attach          undo_delete                     -
attach        AttachNetworkInterface       modify          undo_delete                     seek_attach
seek_attach   DescribeNetworkInterfaces    modify|attach   undo_delete                     -
modify        ModifyNetworkInterfaceAttr.  wait            undo_detach                     again, then undo_detach
wait          ReadMetadata                 adopt           again (12 tries), then end      -
adopt         see adopt                    end             end                             end
undo_detach   DetachNetworkInterface       undo_delete     again (12 tries), then end      again
undo_delete   DeleteNetworkInterface       end             again (12 tries), then end      again
"""

from __future__ import annotations

from typing import Literal

import msgspec

from . import adopt
from . import events as ev
from .calls import (
    ATTACHMENT_NOT_FOUND,
    ENI_NOT_FOUND,
    INSUFFICIENT_CODES,
    Attached,
    AttachmentsView,
    AttachNetworkInterface,
    CreatedEni,
    CreateNetworkInterface,
    DeleteNetworkInterface,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    EnisView,
    Failed,
    FindNetworkInterfaces,
    Lost,
    MetadataEni,
    MetadataView,
    ModifyNetworkInterfaceAttribute,
    Outcome,
    ReadMetadata,
    SubnetsView,
    Succeeded,
    View,
)
from .cluster import own_eni_config
from .kube import EniConfigView, ReadEniConfig
from .moments import rfc3339
from .pool_linux import has_room_for_eni, limit_per_eni
from .reasons import NO_SUBNET, PRIMARY_EXCLUDED
from .state import State
from .steps import (
    DELETE_BACKOFF,
    DETACH_BACKOFF,
    DETACH_PAUSE,
    SEEK_BACKOFF,
    WAIT_BACKOFF,
    Want,
    after,
    code_of,
    counted,
    logged,
    moved,
    text_of,
)
from .subnets import candidates, primary_allowed
from .types import CallId, Instant
from .work import Adoption, Candidate, Grow, Then

DEVICE_INDEXES = 100
"""EC2-5: indexes 0..99 are searched."""
TOKEN_TAG = "ipamd-emulator/token"
"""Carries the client token, so that a create whose answer was lost can be found again."""


def start_growing(state: State, card: int, wanted: int, then: Then) -> list[ev.Event]:
    """POOL-30: begin, if there is room (POOL-38) and something to ask for."""
    resources = 1 if state.settings.ipv6 else min(wanted, limit_per_eni(state))
    if resources <= 0 or not has_room_for_eni(state, card):
        return after(then, card)
    step: Literal["eniconfig", "subnets"] = "eniconfig" if state.settings.custom_networking else "subnets"
    return [moved(Grow(resources, then, card, step))]


def token(state: State, call_id: CallId) -> str:
    """The client token of a create: unique among all tenures of this node, the same when the call is repeated."""
    return f"{state.seed:016x}-{call_id}"


def creation(state: State, work: Grow, now_text: str) -> CreateNetworkInterface:
    """EC2-1..3 for the best subnet that is left."""
    ipv6 = state.settings.ipv6
    prefix_mode = state.settings.prefix_delegation and not ipv6
    tags = {adopt.CREATED_AT: now_text, TOKEN_TAG: work.token} | adopt.cluster_tags(state)
    return CreateNetworkInterface(
        subnet=work.subnets[0],
        security_groups=tuple(sorted(work.groups or state.security_groups or ())),
        description=f"{adopt.DESCRIPTION}{state.node.instance}",
        token=work.token,
        secondary_ips=-1 if prefix_mode or ipv6 else work.wanted,
        prefixes=work.wanted if prefix_mode else -1,
        tags=dict(sorted(tags.items())),
        ipv6_addresses=work.wanted if ipv6 else -1,
        tracking=state.tracking,
    )


def want(state: State, work: Grow, now: Instant) -> Want:
    """The next step."""
    match work.step:
        case "eniconfig":
            return Want(look=ReadEniConfig(own_eni_config(state)))
        case "subnets":
            return Want(look=DescribeSubnets())
        case "create":
            return Want(call=creation(state, work, rfc3339(now)))
        case "seek":
            return Want(look=FindNetworkInterfaces({TOKEN_TAG: work.token}), due=work.due)
        case "index":
            return Want(look=DescribeInstances())
        case "attach":
            return Want(call=AttachNetworkInterface(work.eni, work.device, work.card))
        case "seek_attach":
            return Want(look=DescribeNetworkInterfaces((work.eni,)), due=work.due)
        case "modify":
            call = ModifyNetworkInterfaceAttribute(work.eni, work.attachment, delete_on_termination=True)
            return Want(call=call, due=work.due)
        case "wait":
            return Want(look=ReadMetadata(), due=work.due)
        case "adopt":
            assert work.adoption is not None
            return adopt.want(state, work.adoption)
        case "undo_detach":
            return Want(call=DetachNetworkInterface(work.eni, work.attachment), due=work.due)
        case "undo_delete":
            return Want(call=DeleteNetworkInterface(work.eni), due=work.due)


def settle(state: State, work: Grow, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """Where a call's outcome leads."""
    match work.step:
        case "create":
            return _created(state, work, outcome, now)
        case "attach":
            return _attached(work, outcome, now)
        case "modify":
            return _modified(work, outcome)
        case "adopt":
            assert work.adoption is not None
            return _adopting(state, work, adopt.settled(state, work.adoption, outcome, now, retry_host=False))
        case "undo_detach" | "undo_delete":
            return _undone(state, work, outcome, now)
        case _:
            raise AssertionError(f"step {work.step} makes no call")


def observe(state: State, work: Grow, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """Where a look leads."""
    match work.step:
        case "eniconfig":
            return _configured(state, work, seen)
        case "subnets":
            return _choose_subnets(state, work, seen)
        case "seek":
            return _sought(state, work, seen, now)
        case "index":
            return _indexed(work, seen)
        case "seek_attach":
            return _attach_sought(state, work, seen, now)
        case "wait":
            return _waited(state, work, seen, now)
        case "adopt":
            assert work.adoption is not None
            result = adopt.observed(state, work.adoption, seen)
            return [*adopt.unpermitted(state, seen), *_adopting(state, work, result)]
        case _:
            raise AssertionError(f"step {work.step} looks at nothing")


def evaluate(state: State, work: Grow) -> list[ev.Event]:
    """The adopted ENI is ready: into the store with it."""
    assert work.adoption is not None
    return [*adopt.admit(state, work.adoption), ev.PoolActed("increased", work.card), *after(work.then, work.card)]


def _to(work: Grow, **changes: object) -> ev.WorkMoved:
    return moved(msgspec.structs.replace(work, **{"attempt": 0, "due": 0, **changes}))


def _fail(work: Grow, fn: str, failure: Failed | Lost) -> list[ev.Event]:
    """The end of an attempt to grow: counted, and the 120 s pause where the subnet was the cause (POOL-30)."""
    events: list[ev.Event] = [counted(fn, failure)]
    if isinstance(failure, Failed) and failure.code in INSUFFICIENT_CODES:
        events.append(counted("increaseIPPoolAllocIPAddressesFailed", failure))
        events.append(ev.SubnetExhausted(failure.code, failure.message))
    if work.then == "links":  # INIT-23: without an ENI there is nothing to serve from
        return [*events, ev.InitFailed("allocate", code_of(failure), text_of(failure))]
    return [*events, *after(work.then, work.card)]


def _configured(state: State, work: Grow, seen: View | Failed) -> list[ev.Event]:
    """POOL-39: one subnet, no second try. POOL-41: without the ENIConfig there is no ENI."""
    if isinstance(seen, Failed):
        missing = ev.ErrorCounted("ENIConfig", f"eniconfig: eniconfig is not available: {seen.message}", seen.code, "")
        return [missing, *after(work.then, work.card)]
    assert isinstance(seen, EniConfigView)
    chosen = _create_in(state, work, (seen.subnet,))
    assert isinstance(chosen.work, Grow)
    return [moved(msgspec.structs.replace(chosen.work, groups=seen.security_groups or None))]


def _choose_subnets(state: State, work: Grow, seen: View | Failed) -> list[ev.Event]:
    """POOL-43..45 with discovery, POOL-50 without. Without DescribeSubnets only the primary subnet is left."""
    discovery = state.settings.subnet_discovery
    if isinstance(seen, Failed):
        if discovery and state.settings.quirks.discovery_needs_second_describe:
            return _fail(work, "increaseIPPoolAllocENI", seen)
        chosen: tuple[str, ...] = (state.node.subnet,)
        return [logged("DescribeSubnets", seen), _create_in(state, work, chosen)]
    assert isinstance(seen, SubnetsView)
    if discovery:
        chosen = candidates(state, seen.subnets)
        problem = NO_SUBNET
    else:
        chosen = (state.node.subnet,) if primary_allowed(state, seen.subnets) else ()
        problem = PRIMARY_EXCLUDED
    if not chosen:
        return _fail(work, "increaseIPPoolAllocENI", Failed("", problem))
    return [_create_in(state, work, chosen)]


def _create_in(state: State, work: Grow, subnets: tuple[str, ...]) -> ev.WorkMoved:
    return _to(work, step="create", subnets=subnets, token=token(state, CallId(state.next_call)))


def _created(state: State, work: Grow, outcome: Outcome, now: Instant) -> list[ev.Event]:
    match outcome:
        case Succeeded(result=CreatedEni() as made):
            address = made.ipv6_addresses[0] if state.settings.ipv6 and made.ipv6_addresses else made.primary_ip
            created = ev.EniCreated(made.eni, address, made.subnet, work.token)
            return [created, _to(work, step="index", eni=made.eni)]
        case Failed():
            if len(work.subnets) > 1:
                return [logged("CreateNetworkInterface", outcome), _create_in(state, work, work.subnets[1:])]
            return _fail(work, "increaseIPPoolAllocENI", outcome)
        case _:
            return [_to(work, step="seek", attempt=1, due=now)]


def _sought(state: State, work: Grow, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """A create without answer: the tag finds the ENI if it exists; in vain a few times, it is given up."""
    if isinstance(seen, EnisView) and seen.enis:
        found = seen.enis[0]
        addresses = found.ipv6_addresses if state.settings.ipv6 else found.addresses
        created = ev.EniCreated(found.eni, addresses[0] if addresses else "", found.subnet, work.token)
        return [created, _to(work, step="index", eni=found.eni)]
    if work.attempt < SEEK_BACKOFF.tries:
        return [_to(work, attempt=work.attempt + 1, due=now + SEEK_BACKOFF.delay(state, work.attempt))]
    return _fail(work, "increaseIPPoolAllocENI", Lost("no ENI with the token was found"))


def _indexed(work: Grow, seen: View | Failed) -> list[ev.Event]:
    """EC2-5: the smallest index that no attachment on the card has (EC2-6 is not replicated: 100 is ignored)."""
    if isinstance(seen, Failed):
        return [_to(work, step="undo_delete", error=f"DescribeInstances: {seen.message}", code=seen.code)]
    assert isinstance(seen, AttachmentsView)
    taken = {attachment.device for attachment in seen.attachments if attachment.card == work.card}
    free = next((index for index in range(DEVICE_INDEXES) if index not in taken), None)
    if free is None:
        return [_to(work, step="undo_delete", error="no free device index in 0..99")]
    return [_to(work, step="attach", device=free)]


def _attached(work: Grow, outcome: Outcome, now: Instant) -> list[ev.Event]:
    match outcome:
        case Succeeded(result=Attached(attachment=attachment)):
            event = ev.EniAttached(work.eni, attachment, work.device)
            return [event, _to(work, step="modify", attachment=attachment)]
        case Failed():
            error = f"AttachNetworkInterface: {outcome.message}"
            return [_to(work, step="undo_delete", error=error, code=outcome.code)]
        case _:
            return [_to(work, step="seek_attach", attempt=1, due=now)]


def _attach_sought(state: State, work: Grow, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """An attach without answer: EC2 says whether the ENI hangs on us."""
    if isinstance(seen, EnisView) and seen.enis and seen.enis[0].attachment:
        found = seen.enis[0]
        event = ev.EniAttached(work.eni, found.attachment, found.device)
        return [event, _to(work, step="modify", attachment=found.attachment, device=found.device)]
    if work.attempt < SEEK_BACKOFF.tries:
        return [_to(work, attempt=work.attempt + 1, due=now + SEEK_BACKOFF.delay(state, work.attempt))]
    return [_to(work, step="undo_delete", error="AttachNetworkInterface: no answer, and EC2 shows no attachment")]


def _modified(work: Grow, outcome: Outcome) -> list[ev.Event]:
    match outcome:
        case Succeeded():
            return [_to(work, step="wait")]
        case Lost() if work.attempt < 1:
            return [_to(work, attempt=1)]
        case Failed() | Lost():
            why = outcome.message if isinstance(outcome, Failed) else "no answer"
            error = f"ModifyNetworkInterfaceAttribute: {why}"
            undo = _to(work, step="undo_detach", error=error, code=code_of(outcome))
            return [logged("ModifyNetworkInterfaceAttribute", outcome), undo]


def _undone(state: State, work: Grow, outcome: Outcome, now: Instant) -> list[ev.Event]:
    """EC2-8, EC2-9: what was created is taken back; the error that led here is what is reported."""
    backoff = DETACH_BACKOFF if work.step == "undo_detach" else DELETE_BACKOFF
    gone = isinstance(outcome, Failed) and outcome.code in (ENI_NOT_FOUND, ATTACHMENT_NOT_FOUND)
    if not isinstance(outcome, Succeeded) and not gone:
        if work.attempt + 1 < backoff.tries:
            tries = work.attempt + 1
            return [_to(work, attempt=tries, due=now + backoff.delay(state, tries))]
        fn = "ENICleanupUponModifyNetworkErr" if work.attachment else "AllocENIDeleteErr"
        given_up: list[ev.Event] = [counted(fn, outcome, aws_utils=True), ev.EniDiscarded(work.eni)]
        shadows = work.attachment and state.settings.quirks.modify_error_shadowed
        return [
            *given_up,
            *_fail(work, "increaseIPPoolAllocENI", outcome if shadows else Failed(work.code, work.error)),
        ]
    if work.step == "undo_detach":
        return [_to(work, step="undo_delete", due=now + DETACH_PAUSE)]
    if work.attachment and state.settings.quirks.modify_error_shadowed:
        return [ev.EniDiscarded(work.eni), _to(work, step="wait", eni="")]
    return [ev.EniDiscarded(work.eni), *_fail(work, "increaseIPPoolAllocENI", Failed(work.code, work.error))]


def _waited(state: State, work: Grow, seen: View | Failed, now: Instant) -> list[ev.Event]:
    """EC2-14: metadata shows the ENI with what was asked for; after 12 tries a partial grant may do."""
    shown = None
    if isinstance(seen, MetadataView):
        shown = next((eni for eni in seen.enis if eni.eni == work.eni), None)
    count = _held(state, shown) if shown else 0
    enough = count >= max(work.wanted, 1)
    tries = work.attempt + 1
    if not enough and tries < WAIT_BACKOFF.tries:
        return [_to(work, attempt=tries, due=now + WAIT_BACKOFF.delay(state, tries))]
    if shown is None or not (enough or _partial_does(state, count)):
        failure = Failed("", f"ENI {work.eni or '(none)'} shows {count} of {work.wanted} in instance metadata")
        return [ev.EniDiscarded(work.eni), *_fail(work, "increaseIPPoolwaitENIAttachedFailed", failure)]
    adoption = adopt.start(state, (_candidate(state, shown),))
    return [_to(work, step="adopt", adoption=adoption)]


def _held(state: State, shown: MetadataEni) -> int:
    if state.settings.ipv6:
        return len(shown.ipv6_addresses)
    return len(shown.prefixes) if state.settings.prefix_delegation else len(shown.addresses) - 1


def _partial_does(state: State, count: int) -> bool:
    """EC2-14: some addresses do; of several prefixes one does not upstream (`one_of_several_prefixes_fails`)."""
    if state.settings.prefix_delegation and state.settings.quirks.one_of_several_prefixes_fails:
        return count > 1
    return count >= 1


def _candidate(state: State, shown: MetadataEni) -> Candidate:
    """A grown ENI was tagged when it was created: its tags need no look."""
    if state.settings.ipv6:
        return Candidate(
            shown.eni, shown.mac, shown.device, shown.card, shown.subnet, shown.subnet_cidr6, shown.ipv6_addresses[0],
            tags=adopt.cluster_tags(state),
        )  # fmt: skip
    return Candidate(
        shown.eni, shown.mac, shown.device, shown.card, shown.subnet, shown.subnet_cidr, shown.addresses[0],
        shown.addresses[1:], shown.prefixes, adopt.cluster_tags(state),
    )  # fmt: skip


def _adopting(state: State, work: Grow, result: adopt.Stuck | Adoption) -> list[ev.Event]:
    if isinstance(result, Adoption):
        return [_to(work, adoption=result)]
    assert work.adoption is not None
    events: list[ev.Event] = [ev.EniDiscarded(work.eni)]
    if result.step == "check" and state.settings.quirks.exclusion_failure_skips_host:
        events += adopt.admit(state, work.adoption, with_blocks=False)
    return [*events, *_fail(work, "increaseIPPoolsetupENIFailed", result.failure)]
