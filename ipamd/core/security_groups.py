"""Which security groups a pod gets: SecurityGroupPolicies against its labels and those of its service account.

Pure rules, shared by the webhook that asks for a branch ENI and the controller that makes it. Source: WIN-137.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Expression(msgspec.Struct, frozen=True):
    """One of a selector's matchExpressions."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class Selector(msgspec.Struct, frozen=True):
    """A label selector; without any requirement it selects everything."""

    labels: dict[str, str] = {}
    expressions: tuple[Expression, ...] = ()


class SecurityGroupPolicy(msgspec.Struct, frozen=True):
    """One SecurityGroupPolicy. A selector that is None was not given."""

    namespace: str
    name: str
    version: str = ""
    pods: Selector | None = None
    accounts: Selector | None = None
    groups: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def selects(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Whether the labels meet every requirement. An unknown operator selects nothing."""
    if any(labels.get(key) != value for key, value in selector.labels.items()):
        return False
    return all(_met(expression, labels) for expression in selector.expressions)


def _met(expression: Expression, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    match expression.operator:
        case "In":
            return value is not None and value in expression.values
        case "NotIn":
            return value not in expression.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:
            return False


def matching_groups(
    policies: Iterable[SecurityGroupPolicy],
    namespace: str,
    pod_labels: Mapping[str, str],
    account_labels: Mapping[str, str] | None,
) -> tuple[str, ...]:
    """The groups of every policy of the namespace that matches, each once, in the order of the policies' names.

    A policy without groups or without selectors is ignored; two selectors must both match. `account_labels` is None
    if there is no such service account: what selects accounts then matches nothing.
    """
    found: dict[str, None] = {}
    for policy in sorted((p for p in policies if p.namespace == namespace), key=lambda p: p.name):
        if not policy.groups or (policy.pods is None and policy.accounts is None):
            continue
        if policy.pods is not None and not selects(policy.pods, pod_labels):
            continue
        if policy.accounts is not None and (account_labels is None or not selects(policy.accounts, account_labels)):
            continue
        found.update(dict.fromkeys(policy.groups))
    return tuple(found)
