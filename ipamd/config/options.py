"""What the daemon's rooms are told beside `Settings`: doors, logs, host networking, the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from .parse import Value

_T = TypeVar("_T")


class Options(msgspec.Struct, frozen=True):
    """Daemon-level values, one a variable of spec section 10; see `variables.TABLE` for names and defaults."""

    ipv4: bool
    ipv6: bool
    custom_networking: bool
    pod_eni: bool
    multi_nic: bool
    annotate_pod_ip: bool
    imds_only: bool
    leaked_eni_cleanup: bool
    """ENV-11, which ENV-10 and IPv6 imply (TV-50)."""
    backing_store: str
    node_name: str
    pod_name: str
    vpc_cni_version: str
    http_timeout: int
    """Seconds, ten at least."""
    ec2_endpoint: str
    cluster_endpoint: str | None
    """None: not set. Even an empty text replaces the API server's host (ENV-29)."""
    eni_config_annotation: str
    eni_config_label: str
    metrics: bool
    introspection: bool
    introspection_address: str
    """`host:port` or `unix:<path>`; "" is a random port on all interfaces (ENV-34)."""
    log_level: str
    """debug, info, warn, error or fatal."""
    log_file: str
    """A path, or `stdout` or `stderr` in any case (ENV-36)."""
    external_service_cidrs: tuple[str, ...]
    randomize_snat: str
    node_port_support: bool
    connmark: int
    eni_mtu: int
    """-1 where the text was no number, as upstream has it (ENV-43)."""
    veth_prefix: str
    v6_egress: bool
    pod_security_group_mode: str


class Chosen:
    """Typed access to the values by variable name."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def _of(self, kind: type[_T], name: str) -> _T:
        value = self._values[name]
        assert isinstance(value, kind), f"{name} holds {value!r}"
        return value

    def flag(self, name: str) -> bool:
        """A boolean variable."""
        return self._of(bool, name)

    def count(self, name: str) -> int:
        """An integer variable."""
        return self._of(int, name)

    def text(self, name: str) -> str:
        """A string variable."""
        return self._of(str, name)

    def list(self, name: str) -> tuple[str, ...]:
        """A variable that holds several texts."""
        return self._of(tuple, name)

    def tags(self, name: str) -> dict[str, str]:
        """A variable that holds an object."""
        value: dict[str, Any] = self._of(dict, name)
        return value


def options(values: Mapping[str, Value]) -> Options:
    """The daemon-level part of the values."""
    chosen = Chosen(values)
    endpoint = values["CLUSTER_ENDPOINT"]
    return Options(
        ipv4=chosen.flag("ENABLE_IPv4"),
        ipv6=chosen.flag("ENABLE_IPv6"),
        custom_networking=chosen.flag("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"),
        pod_eni=chosen.flag("ENABLE_POD_ENI"),
        multi_nic=chosen.flag("ENABLE_MULTI_NIC"),
        annotate_pod_ip=chosen.flag("ANNOTATE_POD_IP"),
        imds_only=chosen.flag("ENABLE_IMDS_ONLY_MODE"),
        leaked_eni_cleanup=not (
            chosen.flag("DISABLE_LEAKED_ENI_CLEANUP")
            or chosen.flag("ENABLE_IMDS_ONLY_MODE")
            or chosen.flag("ENABLE_IPv6")
        ),
        backing_store=chosen.text("AWS_VPC_K8S_CNI_BACKING_STORE"),
        node_name=chosen.text("MY_NODE_NAME"),
        pod_name=chosen.text("MY_POD_NAME"),
        vpc_cni_version=chosen.text("VPC_CNI_VERSION"),
        http_timeout=chosen.count("HTTP_TIMEOUT"),
        ec2_endpoint=chosen.text("AWS_EC2_ENDPOINT"),
        cluster_endpoint=endpoint if isinstance(endpoint, str) else None,
        eni_config_annotation=chosen.text("ENI_CONFIG_ANNOTATION_DEF"),
        eni_config_label=chosen.text("ENI_CONFIG_LABEL_DEF"),
        metrics=not chosen.flag("DISABLE_METRICS"),
        introspection=not chosen.flag("DISABLE_INTROSPECTION"),
        introspection_address=chosen.text("INTROSPECTION_BIND_ADDRESS"),
        log_level=chosen.text("AWS_VPC_K8S_CNI_LOGLEVEL").lower(),
        log_file=chosen.text("AWS_VPC_K8S_CNI_LOG_FILE"),
        external_service_cidrs=chosen.list("AWS_EXTERNAL_SERVICE_CIDRS"),
        randomize_snat=chosen.text("AWS_VPC_K8S_CNI_RANDOMIZESNAT"),
        node_port_support=chosen.flag("AWS_VPC_CNI_NODE_PORT_SUPPORT"),
        connmark=chosen.count("AWS_VPC_K8S_CNI_CONNMARK"),
        eni_mtu=chosen.count("AWS_VPC_ENI_MTU"),
        veth_prefix=chosen.text("AWS_VPC_K8S_CNI_VETHPREFIX"),
        v6_egress=chosen.flag("ENABLE_V6_EGRESS"),
        pod_security_group_mode=chosen.text("POD_SECURITY_GROUP_ENFORCING_MODE"),
    )
