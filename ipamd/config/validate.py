"""The values against each other and against the instance (INIT-13, INIT-14): `Settings`, or a `ConfigError`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ipamd.core.settings import Quirks, Settings

from .errors import ConfigError, ConfigWarning, shown
from .options import Chosen
from .parse import Value


class Checked(msgspec.Struct, frozen=True):
    """Settings that a node of this kind can run with, and what was changed to get there."""

    settings: Settings
    warnings: tuple[ConfigWarning, ...] = ()


def validate(values: Mapping[str, Value], quirks: Quirks, *, prefix_delegation_supported: bool) -> Checked:
    """INIT-13 in its order. `values` holds every variable of `variables.TABLE`.

    Raises `ConfigError`. Prefix delegation on an IPv4 instance without support is turned off with a warning.
    """
    chosen = Chosen(values)
    _families(chosen)
    prefixes = chosen.flag("ENABLE_PREFIX_DELEGATION")
    warnings: list[ConfigWarning] = []
    if prefixes and chosen.flag("ENABLE_IPv6") and not prefix_delegation_supported:
        raise ConfigError(_clash("ENABLE_IPv6", "an instance type on Nitro or bare metal", chosen, "use another type"))
    if prefixes and not prefix_delegation_supported:
        want = "an instance type on Nitro or bare metal"
        warnings.append(ConfigWarning("ENABLE_PREFIX_DELEGATION", "true", want, "using false"))
        prefixes = False
    if prefixes and not chosen.flag("ENABLE_IPv6") and not any(
        chosen.count(name) for name in ("WARM_IP_TARGET", "WARM_PREFIX_TARGET", "MINIMUM_IP_TARGET")
    ):
        want = "a warm target > 0 with prefix delegation: WARM_PREFIX_TARGET, WARM_IP_TARGET or MINIMUM_IP_TARGET"
        warnings.append(ConfigWarning("WARM_PREFIX_TARGET", "0", want, "an empty prefix comes and goes"))
    return Checked(_settings(chosen, quirks, prefixes), tuple(warnings))


def _families(chosen: Chosen) -> None:
    ipv4, ipv6 = chosen.flag("ENABLE_IPv4"), chosen.flag("ENABLE_IPv6")
    if ipv4 == ipv6:
        fact = f"ENABLE_IPv4={shown(ipv4)} and ENABLE_IPv6={shown(ipv6)}"
        raise ConfigError(f"{fact}: want exactly one address family; set ENABLE_IPv4=true and ENABLE_IPv6=false")
    if ipv6 and chosen.flag("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"):
        raise ConfigError(_clash("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false with ENABLE_IPv6", chosen, "choose one"))
    if ipv6 and not chosen.flag("ENABLE_PREFIX_DELEGATION"):
        raise ConfigError(_clash("ENABLE_PREFIX_DELEGATION", "true with ENABLE_IPv6", chosen, "switch both on"))


def _clash(name: str, want: str, chosen: Chosen, remedy: str) -> str:
    return f"{name}={shown(chosen.flag(name))}: want {want}; {remedy}"


def _settings(chosen: Chosen, quirks: Quirks, prefixes: bool) -> Settings:
    imds_only = chosen.flag("ENABLE_IMDS_ONLY_MODE")
    return Settings(
        warm_ip_target=chosen.count("WARM_IP_TARGET"),
        minimum_ip_target=chosen.count("MINIMUM_IP_TARGET"),
        warm_eni_target=chosen.count("WARM_ENI_TARGET"),
        warm_prefix_target=chosen.count("WARM_PREFIX_TARGET"),
        max_eni=chosen.count("MAX_ENI"),
        prefix_delegation=prefixes,
        ip_cooldown_period=chosen.count("IP_COOLDOWN_PERIOD"),
        subnet_discovery=chosen.flag("ENABLE_SUBNET_DISCOVERY"),
        provisioning_disabled=chosen.flag("DISABLE_NETWORK_RESOURCE_PROVISIONING") or imds_only,
        leaked_cleanup_disabled=chosen.flag("DISABLE_LEAKED_ENI_CLEANUP") or imds_only,
        manage_enis_non_schedulable=chosen.flag("AWS_MANAGE_ENIS_NON_SCHEDULABLE"),
        manage_untagged_eni=chosen.flag("MANAGE_UNTAGGED_ENI"),
        cluster_name=chosen.text("CLUSTER_NAME"),
        additional_eni_tags=chosen.tags("ADDITIONAL_ENI_TAGS"),
        network_policy_mode=chosen.text("NETWORK_POLICY_ENFORCING_MODE"),
        custom_networking=chosen.flag("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"),
        eni_config_annotation=chosen.text("ENI_CONFIG_ANNOTATION_DEF"),
        eni_config_label=chosen.text("ENI_CONFIG_LABEL_DEF"),
        pod_eni=chosen.flag("ENABLE_POD_ENI"),
        annotate_pod_ip=chosen.flag("ANNOTATE_POD_IP"),
        imds_only=imds_only,
        external_snat=chosen.flag("AWS_VPC_K8S_CNI_EXTERNALSNAT"),
        exclude_snat_cidrs=chosen.list("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"),
        ipv6=chosen.flag("ENABLE_IPv6"),
        multi_nic=chosen.flag("ENABLE_MULTI_NIC"),
        quirks=quirks,
    )
