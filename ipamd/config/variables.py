"""The environment variables of ipamd (ENV-1..ENV-46), each with its default and what becomes of a bad value.

`strict` is the default that `UPSTREAM_PARITY=strict` takes back: upstream's code where ours follows the stock
DaemonSet manifest.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

import msgspec

from . import parse
from .parse import Value

PARITY: Final = "UPSTREAM_PARITY"
DEFAULT_SOCKET: Final = "/var/run/aws-node/ipamd.sock"
"""RPC-1."""
DEFAULT_METRICS: Final = "127.0.0.1:61678"
"""Upstream listens on all interfaces (HTTP-20); the manifests of deploy/ say so too."""


class Variable(msgspec.Struct, frozen=True):
    """One variable. A bad value is warned of and `invalid` is used, unless it is fatal."""

    name: str
    spec: str
    read: Callable[[str], Value]
    default: Value
    invalid: Value
    strict: Value
    blank: Literal["unset", "value"] = "value"
    """What a set but empty variable is: as if unset, or a value like others (ENV-47)."""
    fatal: bool = False
    instead: str = ""
    """How a warning names what is used instead, where the value alone would not be clear."""


def _flag(spec: str, name: str, default: bool = False, *, strict: bool | None = None, blank: bool = False) -> Variable:
    """`blank`: the empty text counts as unset and is not complained about (ENV-47)."""
    kept = default if strict is None else strict
    return Variable(name, spec, parse.boolean, default, default, kept, "unset" if blank else "value")


def _count(spec: str, name: str, default: int, *, low: int = 0, strict: int | None = None) -> Variable:
    """An integer >= `low`; what is less, or no integer, is upstream's code default (`strict`)."""
    kept = default if strict is None else strict
    return Variable(name, spec, partial(parse.at_least, low), default, kept, kept)


def _text(spec: str, name: str, default: str | None = "", *, blank: bool = False) -> Variable:
    return Variable(name, spec, parse.verbatim, default, default, default, "unset" if blank else "value")


def _word(spec: str, name: str, words: tuple[str, ...], default: str, *, any_case: bool = True) -> Variable:
    def read(text: str) -> Value:
        return parse.one_of(words, text, any_case)

    return Variable(name, spec, read, default, default, default, "unset")


def _other(spec: str, name: str, read: Callable[[str], Value], default: Value, **more: Value) -> Variable:
    return msgspec.structs.replace(Variable(name, spec, read, default, default, default), **more)


def _policy(text: str) -> Value:
    return parse.one_of(("none", "strict", "standard"), text, any_case=True)


TABLE: Final = (
    _count("ENV-1", "WARM_IP_TARGET", 0),
    _count("ENV-2", "MINIMUM_IP_TARGET", 0),
    _count("ENV-3", "WARM_ENI_TARGET", 1),
    _count("ENV-4", "WARM_PREFIX_TARGET", 1, strict=0),
    _other("ENV-5", "MAX_ENI", partial(parse.at_least, 1), 0, instead="the instance's limit"),
    _flag("ENV-6", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", blank=True),
    _flag("ENV-7", "AWS_MANAGE_ENIS_NON_SCHEDULABLE", blank=True),
    _flag("ENV-8", "ENABLE_SUBNET_DISCOVERY", True, blank=True),
    _flag("ENV-9", "DISABLE_NETWORK_RESOURCE_PROVISIONING"),
    _flag("ENV-10", "ENABLE_IMDS_ONLY_MODE"),
    _flag("ENV-11", "DISABLE_LEAKED_ENI_CLEANUP"),
    _text("ENV-12", "AWS_VPC_K8S_CNI_BACKING_STORE", "/var/run/aws-node/ipam.json", blank=True),
    _flag("ENV-13", "ENABLE_POD_ENI"),
    _text("ENV-14", "MY_NODE_NAME"),
    _text("ENV-15", "MY_POD_NAME"),
    _flag("ENV-16", "ENABLE_PREFIX_DELEGATION"),
    _flag("ENV-17", "ENABLE_IPv4", True, strict=False),
    _flag("ENV-18", "ENABLE_IPv6"),
    _flag("ENV-19", "MANAGE_UNTAGGED_ENI", True),
    _flag("ENV-20", "ANNOTATE_POD_IP"),
    Variable("NETWORK_POLICY_ENFORCING_MODE", "ENV-21", _policy, "", "", "", fatal=True),
    _flag("ENV-22", "ENABLE_MULTI_NIC"),
    _other("ENV-23", "IP_COOLDOWN_PERIOD", partial(parse.atoi, want="an integer number of seconds"), 30),
    _text("ENV-24", "CLUSTER_NAME"),
    _other("ENV-25", "ADDITIONAL_ENI_TAGS", parse.eni_tags, {}, blank="unset"),
    _text("ENV-26", "VPC_CNI_VERSION"),
    _other("ENV-27", "HTTP_TIMEOUT", parse.timeout, 10),
    _text("ENV-28", "AWS_EC2_ENDPOINT"),
    _text("ENV-29", "CLUSTER_ENDPOINT", None),
    _text("ENV-30", "ENI_CONFIG_ANNOTATION_DEF", "k8s.amazonaws.com/eniConfig", blank=True),
    _text("ENV-31", "ENI_CONFIG_LABEL_DEF", "k8s.amazonaws.com/eniConfig", blank=True),
    _flag("ENV-32", "DISABLE_METRICS"),
    _flag("ENV-33", "DISABLE_INTROSPECTION"),
    _text("ENV-34", "INTROSPECTION_BIND_ADDRESS", "127.0.0.1:61679"),
    _word("ENV-35", "AWS_VPC_K8S_CNI_LOGLEVEL", ("debug", "info", "warn", "error", "fatal"), "debug"),
    _text("ENV-36", "AWS_VPC_K8S_CNI_LOG_FILE", "stderr", blank=True),
    _flag("ENV-37", "AWS_VPC_K8S_CNI_EXTERNALSNAT", blank=True),
    _other("ENV-38", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", parse.cidrs, ()),
    _other("ENV-39", "AWS_EXTERNAL_SERVICE_CIDRS", parse.cidrs, ()),
    _word("ENV-40", "AWS_VPC_K8S_CNI_RANDOMIZESNAT", ("prng", "hashrandom", "none"), "prng", any_case=False),
    _flag("ENV-41", "AWS_VPC_CNI_NODE_PORT_SUPPORT", True, blank=True),
    _other("ENV-42", "AWS_VPC_K8S_CNI_CONNMARK", parse.connmark, 0x80, blank="unset"),
    _other("ENV-43", "AWS_VPC_ENI_MTU", parse.atoi, 9001, invalid=-1, blank="unset"),
    _other("ENV-44", "AWS_VPC_K8S_CNI_VETHPREFIX", parse.veth_prefix, "eni"),
    _flag("ENV-45", "ENABLE_V6_EGRESS", blank=True),
    _word("ENV-46", "POD_SECURITY_GROUP_ENFORCING_MODE", ("strict", "standard"), "strict", any_case=False),
)
VARIABLES: Final = {variable.name: variable for variable in TABLE}

ELSEWHERE: Final = {
    "HOST_CNI_BIN_PATH": "the image's entrypoint",
    "HOST_CNI_CONFDIR_PATH": "the image's entrypoint",
    "POD_MTU": "the image's entrypoint",
    "AWS_VPC_K8S_PLUGIN_LOG_FILE": "the plugin",
    "AWS_VPC_K8S_PLUGIN_LOG_LEVEL": "the plugin",
    "AWS_VPC_K8S_EGRESS_V4_PLUGIN_LOG_FILE": "the egress plugin",
    "AWS_VPC_K8S_EGRESS_V6_PLUGIN_LOG_FILE": "the egress plugin",
    "ENABLE_BANDWIDTH_PLUGIN": "the image's entrypoint",
    "DISABLE_POD_V6": "the init container",
    "ENABLE_V4_EGRESS": "the image's entrypoint",
    "DISABLE_TCP_EARLY_DEMUX": "the init container",
    "ENABLE_NFTABLES": "nobody any more",
    "AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER": "nobody any more",
}
"""ENV-60..ENV-72: variables of the same image that are not ipamd's, and who reads them."""

FAMILIES: Final = (
    "AWS_VPC_", "AWS_MANAGE_", "AWS_EXTERNAL_", "WARM_", "MINIMUM_", "MAX_ENI", "ENABLE_", "DISABLE_", "IP_COOLDOWN",
    "ADDITIONAL_ENI", "ENI_CONFIG_", "INTROSPECTION_", "NETWORK_POLICY_", "ANNOTATE_", "MANAGE_UNTAGGED",
    "POD_SECURITY_", "UPSTREAM_PAR",
)  # fmt: skip
"""How names begin that were probably meant for ipamd."""
