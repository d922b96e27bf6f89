"""Verdicts on what changes the pool as a whole: IPv6, network cards, custom networking, branch ENIs, silence of EC2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .case import Case, Verdict

_WARM: Final = ("WARM_ENI_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET", "WARM_PREFIX_TARGET")
_CUSTOM: Final = "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"
_DISCOVERY: Final = "ENABLE_SUBNET_DISCOVERY"


def features(case: Case) -> Iterator[Verdict]:
    """Every finding of these families."""
    yield from _ipv6(case)
    yield from _cards(case)
    yield from _custom_networking(case)
    yield from _branches(case)
    yield from _imds_only(case)
    if case.settings.external_snat and case.chosen("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"):
        reason = "AWS_VPC_K8S_CNI_EXTERNALSNAT is on: nothing is translated, so nothing is excluded"
        yield Verdict("ignored", ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",), reason, ("ENV-38", "RPC-35"))


def _ipv6(case: Case) -> Iterator[Verdict]:
    if not case.settings.ipv6:
        return
    for name in _WARM:
        if case.chosen(name):
            reason = "an IPv6 node has one /80 on each ENI and no warm pool"
            yield Verdict("ignored", (name,), reason, ("V6-1", "V6-5"))


def _cards(case: Case) -> Iterator[Verdict]:
    if not case.settings.multi_nic:
        return
    if case.instance.cards == 1:
        reason = f"{case.instance.name} has one network card"
        yield Verdict("ignored", ("ENABLE_MULTI_NIC",), reason, ("DM-50", "DM-54"))
        return
    chosen = tuple(name for name in _WARM if case.chosen(name))
    if chosen and not case.settings.ipv6:
        reason = (
            f"rules the first network card alone; each of the other {case.instance.cards - 1} keeps one address warm"
        )
        yield Verdict("limits", chosen, reason, ("POOL-4",))


def _custom_networking(case: Case) -> Iterator[Verdict]:
    settings = case.settings
    if not settings.custom_networking:
        return
    names: tuple[str, ...] = (_CUSTOM, "MAX_ENI") if settings.max_eni else (_CUSTOM,)
    if settings.provisioning_disabled:
        reason = "no ENI is made, so none is in the subnet of the ENIConfig unless others attach it"
        yield Verdict("limits", (_CUSTOM,), reason, ("ENV-9", "POOL-39"))
    elif case.enis < 2:
        reason = "the primary ENI serves no pod, and there is room for no other: no pod gets an address"
        yield Verdict("starves", names, reason, ("POOL-42", "POOL-38"), "allow a second ENI, or take another type")
    else:
        reason = f"the primary ENI serves no pod: {case.capacity} addresses for pods on the others"
        yield Verdict("limits", (_CUSTOM,), reason, ("POOL-42",))
    if settings.subnet_discovery and case.chosen(_DISCOVERY):
        yield Verdict("ignored", (_DISCOVERY,), "the ENIConfig names the subnet of new ENIs", ("POOL-39",))


def _branches(case: Case) -> Iterator[Verdict]:
    settings, instance = case.settings, case.instance
    if not settings.pod_eni:
        if case.chosen("POD_SECURITY_GROUP_ENFORCING_MODE"):
            reason = "ENABLE_POD_ENI is off: no pod has security groups of its own"
            yield Verdict("ignored", ("POD_SECURITY_GROUP_ENFORCING_MODE",), reason, ("SGP-9",))
        return
    if not instance.trunks:
        reason = f"{instance.name} carries no trunk ENI: pods that ask for a branch ENI wait for ever"
        remedy = "take a type that carries one (most on Nitro but t3 and t4g)"
        yield Verdict("ignored", ("ENABLE_POD_ENI",), reason, ("LIM-9", "RPC-24"), remedy)
    elif settings.ipv6:
        return
    elif case.enis < 2:
        reason = "there is no slot for a trunk ENI: pods that ask for a branch ENI wait for ever"
        names = ("ENABLE_POD_ENI", "MAX_ENI") if settings.max_eni else ("ENABLE_POD_ENI",)
        yield Verdict("starves", names, reason, ("SGP-6", "RPC-24"), "allow a second ENI")
    else:
        reason = f"one ENI is the trunk and serves no ordinary pod: {case.capacity} addresses on the others"
        yield Verdict("limits", ("ENABLE_POD_ENI",), reason, ("SGP-8", "POOL-38"))


def _imds_only(case: Case) -> Iterator[Verdict]:
    settings = case.settings
    if not (settings.imds_only and settings.subnet_discovery):
        return
    names = ("ENABLE_IMDS_ONLY_MODE", _DISCOVERY)
    if settings.quirks.imds_only_asks_ec2:
        reason = "setting up an ENI asks DescribeSubnets all the same, and fails where the node may not call EC2"
        yield Verdict("risks", names, reason, ("EC2-33", "POOL-46"), f"set {_DISCOVERY}=false")
    elif case.chosen(_DISCOVERY):
        reason = "EC2 is not asked, so subnets' tags are not seen: none is discovered and none excluded"
        yield Verdict("ignored", (_DISCOVERY,), reason, ("EC2-32", "EC2-33"))
