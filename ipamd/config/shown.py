"""The values as introspection shows them (HTTP-8, HTTP-9)."""

from __future__ import annotations

from typing import Final

from .load import Config
from .parse import Value

_RANDOMIZE: Final = {"none": 0, "hashrandom": 1, "prng": 2}
_IPAMD: Final = (
    "AWS_MANAGE_ENIS_NON_SCHEDULABLE",
    "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
    "ENABLE_SUBNET_DISCOVERY",
    "WARM_ENI_TARGET",
    "WARM_IP_TARGET",
)
_NETWORK: Final = (
    "AWS_EXTERNAL_SERVICE_CIDRS",
    "AWS_VPC_CNI_NODE_PORT_SUPPORT",
    "AWS_VPC_ENI_MTU",
    "AWS_VPC_K8S_CNI_CONNMARK",
    "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
    "AWS_VPC_K8S_CNI_EXTERNALSNAT",
    "AWS_VPC_K8S_CNI_RANDOMIZESNAT",
    "AWS_VPC_K8S_CNI_VETHPREFIX",
)


def ipamd_env(config: Config) -> dict[str, Value]:
    """The five keys of HTTP-9."""
    return {name: config.values[name] for name in _IPAMD}


def network_env(config: Config) -> dict[str, Value]:
    """The eight keys of HTTP-8: empty lists are null, the SNAT mode is a number, exclusions obey external SNAT."""
    values = {name: config.values[name] for name in _NETWORK}
    values["AWS_VPC_K8S_CNI_RANDOMIZESNAT"] = _RANDOMIZE[str(values["AWS_VPC_K8S_CNI_RANDOMIZESNAT"])]
    if values["AWS_VPC_K8S_CNI_EXTERNALSNAT"]:
        values["AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"] = None
    for name in ("AWS_EXTERNAL_SERVICE_CIDRS", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"):
        values[name] = values[name] or None
    return values
