"""Environment and --set to a Config: precedence, defaults, what becomes of bad values (spec section 10)."""

import msgspec
import pytest

from ipamd.config import VARIABLES, ConfigError, load
from ipamd.core.settings import Quirks, Settings

QUIRKS = [field.name for field in msgspec.structs.fields(Quirks)]


def settings(env: dict[str, str] | None = None, *overrides: str, prefixes: bool = True) -> Settings:
    """Settings of an environment on a node that can carry prefixes."""
    return load(env or {}, overrides).settings(prefix_delegation_supported=prefixes)


def complaints(env: dict[str, str]) -> list[str]:
    """The texts of the warnings."""
    return [warning.text for warning in load(env).warnings]


def test_the_defaults_are_upstreams_code_with_two_of_the_manifest() -> None:
    """Section 10, column code default; ENABLE_IPv4 and WARM_PREFIX_TARGET as the stock DaemonSet sets them."""
    assert settings() == Settings(warm_prefix_target=1)
    assert load({}).warnings == ()
    assert set(load({}).sources.values()) == {"default"}


@pytest.mark.spec("ENV-1..46")
def test_all_46_variables_are_there_in_order() -> None:
    """Each once."""
    assert [variable.spec for variable in VARIABLES.values()] == [f"ENV-{n}" for n in range(1, 47)]


def test_set_beats_the_environment_which_beats_the_default() -> None:
    """Precedence, and each value knows its source."""
    config = load({"WARM_IP_TARGET": "5", "MAX_ENI": "3"}, ["WARM_IP_TARGET=7", "WARM_IP_TARGET=8"])

    assert config.settings(prefix_delegation_supported=True).warm_ip_target == 8
    assert config.sources["WARM_IP_TARGET"] == "--set"
    assert config.sources["MAX_ENI"] == "environment"
    assert config.sources["WARM_ENI_TARGET"] == "default"


@pytest.mark.spec("TV-49")
@pytest.mark.parametrize("text, value", [("10", 10), ("0", 0), ("-5", 0), ("invalid", 0), ("", 0)])
def test_minimum_ip_target(text: str, value: int) -> None:
    """Negative and unparsable are 0."""
    assert settings({"MINIMUM_IP_TARGET": text}).minimum_ip_target == value


@pytest.mark.spec("TV-49")
@pytest.mark.parametrize("text, value", [("5", 5), ("text", 0)])
def test_warm_targets(text: str, value: int) -> None:
    """A bad WARM_IP_TARGET or WARM_PREFIX_TARGET is 0, not the manifest's 1."""
    assert settings({"WARM_IP_TARGET": text}).warm_ip_target == value
    assert settings({"WARM_PREFIX_TARGET": text}).warm_prefix_target == value


def test_a_bad_value_is_named_with_what_is_wanted_and_what_is_used() -> None:
    """The thing, the fact, the remedy; a refused value leaves the source at default."""
    config = load({"WARM_IP_TARGET": "ten", "MAX_ENI": "0", "ENABLE_POD_ENI": "yes"})

    assert [warning.text for warning in config.warnings] == [
        'WARM_IP_TARGET="ten": want an integer >= 0; using 0',
        'MAX_ENI="0": want an integer >= 1; using the instance\'s limit',
        'ENABLE_POD_ENI="yes": want true or false (also 1 t T TRUE True, 0 f F FALSE False); using false',
    ]
    assert config.sources["WARM_IP_TARGET"] == "default"


@pytest.mark.parametrize(
    "name, text, instead",
    [
        ("WARM_ENI_TARGET", "-1", "using 1"),
        ("IP_COOLDOWN_PERIOD", "30s", "using 30"),
        ("HTTP_TIMEOUT", "9", "using 10"),
        ("AWS_VPC_ENI_MTU", "jumbo", "using -1"),
        ("AWS_VPC_K8S_CNI_CONNMARK", "0", "using 128"),
        ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "PRNG", "using prng"),
        ("AWS_VPC_K8S_CNI_LOGLEVEL", "trace", "using debug"),
        ("POD_SECURITY_GROUP_ENFORCING_MODE", "lax", "using strict"),
        ("ADDITIONAL_ENI_TAGS", "{", "using {}"),
        ("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.0.0.0/8,six", 'leaving out "six"'),
        ("AWS_VPC_K8S_CNI_VETHPREFIX", "vlan", "using it all the same"),
        ("INTROSPECTION_BIND_ADDRESS", "", "using a random port of all interfaces"),
        ("CLUSTER_NAME", "\udcff", 'using ""'),
    ],
)
def test_the_value_used_instead_is_upstreams(name: str, text: str, instead: str) -> None:
    """Section 10, column inv.; nothing of it is silent."""
    (complaint,) = complaints({name: text})

    assert complaint.startswith(f"{name}=") and complaint.endswith(f"; {instead}")


@pytest.mark.spec("ENV-47", "ENV-36")
@pytest.mark.parametrize(
    "name", ["ENABLE_SUBNET_DISCOVERY", "AWS_VPC_K8S_CNI_EXTERNALSNAT", "AWS_VPC_K8S_CNI_LOG_FILE"]
)
def test_an_empty_text_counts_as_unset_where_upstream_says_nothing(name: str) -> None:
    """An empty text counts as unset where upstream says nothing."""
    assert load({name: ""}).values == load({}).values
    assert complaints({name: ""}) == []


@pytest.mark.spec("ENV-47")
def test_an_empty_boolean_of_the_other_kind_is_complained_about() -> None:
    """Most booleans call an empty text invalid and use the default."""
    assert complaints({"ENABLE_IPv4": ""})[0].startswith('ENABLE_IPv4="": want true or false')


@pytest.mark.spec("ENV-21", "RPC-38")
@pytest.mark.parametrize("mode", ["none", "Strict", "STANDARD"])
def test_the_policy_mode_passes_verbatim(mode: str) -> None:
    """Any case is right and stays as it was written."""
    assert settings({"NETWORK_POLICY_ENFORCING_MODE": mode}).network_policy_mode == mode


@pytest.mark.spec("ENV-21")
@pytest.mark.parametrize("mode", ["", "audit"])
def test_a_wrong_policy_mode_is_fatal(mode: str) -> None:
    """Set but empty is invalid too."""
    with pytest.raises(ConfigError, match=rf'NETWORK_POLICY_ENFORCING_MODE="{mode}": want none, strict or standard'):
        load({"NETWORK_POLICY_ENFORCING_MODE": mode})


@pytest.mark.spec("ENV-17")
def test_strict_parity_takes_the_manifests_values_back_and_brings_every_quirk() -> None:
    """UPSTREAM_PARITY=strict; ENABLE_IPv4 is then off as in upstream's code and has to be set."""
    strict = settings({"UPSTREAM_PARITY": "strict", "ENABLE_IPv4": "true"})

    assert strict.warm_prefix_target == 0
    assert all(getattr(strict.quirks, name) is True for name in QUIRKS)
    with pytest.raises(ConfigError, match="ENABLE_IPv4=false and ENABLE_IPv6=false: want exactly one"):
        settings({"UPSTREAM_PARITY": "strict"})


def test_single_quirks_come_back_by_name() -> None:
    """UPSTREAM_PARITY=name,name changes no default."""
    chosen = settings({}, "UPSTREAM_PARITY=restart_forgets, leftover_ip_kept")

    assert chosen.quirks == Quirks(restart_forgets=True, leftover_ip_kept=True)
    assert chosen.warm_prefix_target == 1


def test_an_unknown_quirk_is_an_error_that_lists_them() -> None:
    """The names are in the message."""
    with pytest.raises(ConfigError, match=r"restart_forget.*is no quirk.*strict or some of.*restart_forgets"):
        load({"UPSTREAM_PARITY": "restart_forget"})


@pytest.mark.parametrize(
    "override, message",
    [
        ("WARM_IP_TARGTE=5", r'--set "WARM_IP_TARGTE": no such variable; did you mean WARM_IP_TARGET'),
        ("QQQ=1", r'--set "QQQ": no such variable; docs/settings.md lists them all'),
        ("WARM_IP_TARGET", r'--set "WARM_IP_TARGET": want NAME=VALUE'),
        ("=5", r'--set "=5": want NAME=VALUE'),
        ("POD_MTU=1500", r"--set POD_MTU: it is read by the image's entrypoint, not by ipamd"),
    ],
)
def test_a_set_that_names_no_variable_is_an_error(override: str, message: str) -> None:
    """With near matches where there are any."""
    with pytest.raises(ConfigError, match=message):
        load({}, [override])


def test_a_misspelt_environment_name_is_warned_of() -> None:
    """Only names that look like one of ipamd's; those of the image's other programs are known."""
    env = {"ENABLE_IPV4": "true", "WARM_IP_TARGTE": "5", "POD_MTU": "1", "PATH": "/bin", "ENABLE_COLOURS": "1"}

    assert complaints(env) == [
        'ENABLE_IPV4="true": want the name ENABLE_IPv4; ignoring it',
        'WARM_IP_TARGTE="5": want the name WARM_IP_TARGET; ignoring it',
    ]


def test_hostile_values_stay_on_one_short_line() -> None:
    """Control characters are escaped and long values cut, so that a log line stays a line."""
    (complaint,) = complaints({"WARM_IP_TARGET": "\n\x1b[31m" + "x" * 100_000})

    assert complaint.isascii() and complaint.isprintable() and len(complaint) < 250


@pytest.mark.spec("ENV-10", "TV-50")
def test_imds_only_mode_implies_two_switches() -> None:
    """No provisioning and no leaked-ENI cleaner."""
    config = load({"ENABLE_IMDS_ONLY_MODE": "true"})

    assert config.settings(prefix_delegation_supported=True).provisioning_disabled is True
    assert config.options.leaked_eni_cleanup is False
    assert load({}).options.leaked_eni_cleanup is True


@pytest.mark.spec("TV-59")
def test_the_backing_store_path() -> None:
    """Unset is upstream's path, set is the path."""
    assert load({}).options.backing_store == "/var/run/aws-node/ipam.json"
    assert load({"AWS_VPC_K8S_CNI_BACKING_STORE": "/tmp/x.json"}).options.backing_store == "/tmp/x.json"


@pytest.mark.spec("ENV-29", "ENV-32..36")
def test_daemon_options_have_their_defaults() -> None:
    """Logs go to stderr unless a file is named."""
    options = load({"AWS_VPC_K8S_CNI_LOGLEVEL": "WARN"}).options

    assert (options.metrics, options.introspection) == (True, True)
    assert (options.introspection_address, options.log_file, options.log_level) == ("127.0.0.1:61679", "stderr", "warn")
    assert options.cluster_endpoint is None and load({"CLUSTER_ENDPOINT": ""}).options.cluster_endpoint == ""


@pytest.mark.spec("ENV-48", "RPC-35")
def test_snat_is_read_anew_on_each_call() -> None:
    """The environment of the moment counts, --set still beats it."""
    env = {"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": "10.12.0.0/16, 10.13.1.0/16"}
    config = load(env)

    assert config.snat(env) == (False, ("10.12.0.0/16", "10.13.0.0/16"))
    assert config.snat({"AWS_VPC_K8S_CNI_EXTERNALSNAT": "true"} | env) == (True, ())
    assert load({}, ["AWS_VPC_K8S_CNI_EXTERNALSNAT=true"]).snat(env) == (True, ())
