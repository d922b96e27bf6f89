"""INIT-13, INIT-14, TV-48: the values against each other and the instance; what this release lacks says so."""

import pytest

from ipamd.config import ConfigError, ipamd_env, load, network_env

V6 = {"ENABLE_IPv4": "false", "ENABLE_IPv6": "true", "ENABLE_PREFIX_DELEGATION": "true"}


def refusal(env: dict[str, str], *, prefixes: bool = True) -> str:
    """Why the settings cannot be had."""
    with pytest.raises(ConfigError) as caught:
        load(env).settings(prefix_delegation_supported=prefixes)
    return str(caught.value)


@pytest.mark.spec("TV-48")
def test_ipv4_with_and_without_prefixes_is_fine() -> None:
    """Ipv4 with and without prefixes is fine."""
    assert load({}).settings(prefix_delegation_supported=False).prefix_delegation is False
    config = load({"ENABLE_PREFIX_DELEGATION": "true"})
    assert config.settings(prefix_delegation_supported=True).prefix_delegation is True


@pytest.mark.spec("INIT-13")
def test_prefixes_are_turned_off_where_the_instance_has_none() -> None:
    """Silently upstream, with a warning here."""
    checked = load({"ENABLE_PREFIX_DELEGATION": "true"}).check(prefix_delegation_supported=False)

    assert checked.settings.prefix_delegation is False
    assert checked.warnings[0].text.startswith('ENABLE_PREFIX_DELEGATION="true": want an instance type on Nitro')


@pytest.mark.spec("ENV-69")
def test_prefixes_without_any_target_are_warned_of() -> None:
    """The stock image does not start so; the pool flaps."""
    env = {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "0"}

    (warning,) = load(env).check(prefix_delegation_supported=True).warnings

    assert "WARM_IP_TARGET" in warning.text


@pytest.mark.spec("INIT-13", "TV-48")
@pytest.mark.parametrize(
    "env, message",
    [
        ({"ENABLE_IPv6": "true"}, "ENABLE_IPv4=true and ENABLE_IPv6=true: want exactly one"),
        ({"ENABLE_IPv4": "false"}, "ENABLE_IPv4=false and ENABLE_IPv6=false: want exactly one"),
        (V6 | {"ENABLE_PREFIX_DELEGATION": "false"}, "ENABLE_PREFIX_DELEGATION=false: want true with ENABLE_IPv6"),
        (V6 | {"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "1"}, "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=true: want false"),
    ],
)
def test_families_that_do_not_go_together(env: dict[str, str], message: str) -> None:
    """Families that do not go together."""
    assert refusal(env).startswith(message)


@pytest.mark.spec("HTTP-8", "HTTP-9")
def test_introspection_shows_the_default_environment() -> None:
    """Keys and values of a default node."""
    config = load({})

    assert network_env(config) == {
        "AWS_EXTERNAL_SERVICE_CIDRS": None,
        "AWS_VPC_CNI_NODE_PORT_SUPPORT": True,
        "AWS_VPC_ENI_MTU": 9001,
        "AWS_VPC_K8S_CNI_CONNMARK": 128,
        "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": None,
        "AWS_VPC_K8S_CNI_EXTERNALSNAT": False,
        "AWS_VPC_K8S_CNI_RANDOMIZESNAT": 2,
        "AWS_VPC_K8S_CNI_VETHPREFIX": "eni",
    }
    assert ipamd_env(config) == {
        "AWS_MANAGE_ENIS_NON_SCHEDULABLE": False,
        "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": False,
        "ENABLE_SUBNET_DISCOVERY": True,
        "WARM_ENI_TARGET": 1,
        "WARM_IP_TARGET": 0,
    }


@pytest.mark.spec("HTTP-8", "ENV-38")
def test_exclusions_are_not_shown_with_external_snat() -> None:
    """Ignored when external SNAT is on."""
    env = {"AWS_VPC_K8S_CNI_EXTERNALSNAT": "true", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": "10.0.0.0/8"}

    assert network_env(load(env))["AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"] is None
