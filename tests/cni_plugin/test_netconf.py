"""The network configuration's own keys: defaults, types, and what is refused."""

import json
import socket
from typing import Any

import pytest

from cni_plugin import errors, netconf
from cni_plugin.address import Address
from tests.cni_plugin.harness import config, environment, invoke

LOADER = "error loading config from args"


def load(**keys: Any) -> netconf.NetworkConfig:
    """The configuration with these keys."""
    return netconf.load(netconf.read_header(config(pluginLogLevel=None, **keys)))


def test_defaults_are_upstreams_and_a_deadline_of_ten_seconds() -> None:
    """What holds when the configuration only names the network."""
    loaded = netconf.load(netconf.read_header(b'{"name":"aws-cni"}'))

    assert loaded == netconf.NetworkConfig(
        name="aws-cni",
        version="0.1.0",
        veth_prefix="eni",
        mtu=9001,
        enforcing_mode="strict",
        log_file="",
        log_level="",
        annotations={},
        prev_result=None,
        dry_run=False,
        ipamd=Address(socket.AF_UNIX, "/var/run/aws-node/ipamd.sock", "unix /var/run/aws-node/ipamd.sock"),
        policy_agent=Address(socket.AF_UNIX, "/var/run/aws-node/npa.sock", "unix /var/run/aws-node/npa.sock"),
        deadline_seconds=10.0,
        checkpoint_file="/var/run/aws-node/ipam.json",
        real_macs=False,
        valid_attachments=None,
    )


@pytest.mark.parametrize(
    "text, mtu",
    [("9001", 9001), ("1500", 1500), ("+1500", 1500), ("576", 576), ("575", 9001), ("9002", 9001)]
    + [(text, 9001) for text in ("", "abc", "1500 ", "1_500", "-1500", "1500.0", "9" * 30, "\u0661500")],
)
def test_mtu_outside_576_to_9001_is_silently_9001(text: str, mtu: int) -> None:
    """A string by contract; nonsense in it is no error."""
    assert load(mtu=text).mtu == mtu


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
@pytest.mark.parametrize(
    "keys, words",
    [
        ({"mtu": 1500}, "mtu=1500: want a JSON string, got number; write it in quotes"),
        ({"vethPrefix": ["a"]}, 'vethPrefix=["a"]: want a JSON string, got array; write it in quotes'),
        ({"pluginLogLevel": True}, "pluginLogLevel=true: want a JSON string, got boolean; write it in quotes"),
        ({"dryRun": "true"}, 'dryRun="true": want true or false, without quotes'),
        ({"runtimeConfig": []}, "runtimeConfig: want a JSON object, got array"),
        (
            {"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": 1}}},
            "annotation 'a': want a JSON string, got number",
        ),
        ({"prevResult": 3}, "prevResult: want a JSON object, got number"),
        ({"rpcDeadlineSeconds": -1}, "rpcDeadlineSeconds=-1: want a number from 0 (none) to 3600"),
        ({"rpcDeadlineSeconds": 1e9}, "rpcDeadlineSeconds=1000000000.0: want a number from 0 (none) to 3600"),
        ({"rpcDeadlineSeconds": True}, "rpcDeadlineSeconds=true: want a number from 0 (none) to 3600"),
        ({"ipamdAddress": ""}, "ipamdAddress='': want unix:///path/of.sock or 127.0.0.1:50051"),
    ],
)
def test_value_of_the_wrong_type_fails_the_verb(verb: str, keys: dict[str, Any], words: str) -> None:
    """Code 999; the loader's ADD wording stands in the message for DEL too."""
    outcome = invoke(environment(verb), config(**keys))

    prefix = f"{verb.lower()} cmd: {LOADER}: add cmd: {LOADER}: "
    assert outcome.document == {"code": 999, "msg": prefix + words}


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_veth_prefix_has_at_most_four_bytes(verb: str) -> None:
    """Bytes, not characters."""
    outcome = invoke(environment(verb), config(vethPrefix="\u00e9\u00e9x"))

    message = outcome.document["msg"]
    assert outcome.document["code"] == 999
    assert message.startswith(f"{verb.lower()} cmd: {LOADER}: conf.VethPrefix can be at most 4 characters long")


def test_empty_string_replaces_the_default_and_null_does_not() -> None:
    """As a decoder that fills a preset structure does."""
    assert load(vethPrefix="").veth_prefix == ""
    assert load(podSGEnforcingMode="").enforcing_mode == ""
    assert netconf.load(netconf.read_header(b'{"name":"n","vethPrefix":null}')).veth_prefix == "eni"


def test_unknown_keys_and_modes_are_taken_as_they_are() -> None:
    """`ipam`, `dns`, `capabilities` and what else comes along mean nothing here."""
    loaded = load(ipam={"type": "x"}, dns=[], capabilities=7, odd=None, podSGEnforcingMode="loose")

    assert loaded.enforcing_mode == "loose"


def test_keys_fold_but_annotation_names_do_not() -> None:
    """Members of ours are found in any case; annotations are the pod's own words."""
    loaded = load(VETHPREFIX="x", RuntimeConfig={"IO.kubernetes.cri.pod-annotations": {"A/b": "c", "d": None}})

    assert loaded.veth_prefix == "x"
    assert loaded.annotations == {"A/b": "c", "d": ""}


def test_zero_deadline_means_none() -> None:
    """Upstream's way: wait until the runtime gives up."""
    assert load(rpcDeadlineSeconds=0).deadline_seconds is None
    assert load(rpcDeadlineSeconds=0.25).deadline_seconds == 0.25


@pytest.mark.parametrize(
    "text, address",
    [
        ("unix:///run/x.sock", Address(socket.AF_UNIX, "/run/x.sock", "unix /run/x.sock")),
        ("unix:/run/x.sock", Address(socket.AF_UNIX, "/run/x.sock", "unix /run/x.sock")),
        ("unix:x.sock", Address(socket.AF_UNIX, "x.sock", "unix x.sock")),
        ("unix:///a%20b/x.sock", Address(socket.AF_UNIX, "/a b/x.sock", "unix /a b/x.sock")),
        ("unix:///a b/100%.sock", Address(socket.AF_UNIX, "/a b/100%.sock", "unix /a b/100%.sock")),
        ("unix:///%/%zz/%f/%c3%b6", Address(socket.AF_UNIX, "/%/%zz/%f/ö", "unix /%/%zz/%f/ö")),
        ("127.0.0.1:50051", Address(socket.AF_INET, ("127.0.0.1", 50051), "tcp 127.0.0.1:50051")),
        ("localhost:1", Address(socket.AF_INET, ("127.0.0.1", 1), "tcp 127.0.0.1:1")),
        ("[::1]:50051", Address(socket.AF_INET6, ("::1", 50051), "tcp [::1]:50051")),
    ],
)
def test_address_forms_of_grpc_are_taken(text: str, address: Address) -> None:
    """The current default, its older relative, and the TCP address of releases up to 1.22."""
    assert load(ipamdAddress=text).ipamd == address


@pytest.mark.parametrize(
    "text",
    (
        "unix: unix:// unix://host/x x 127.0.0.1 127.0.0.1: 127.0.0.1:0 a:70000 ipamd.example:50051 dns:///x:1 "
        "300.1.1.1:5 :5 unix:///a\0b unix:///a%00b unix:///" + "x" * 107
    ).split(" "),
)
def test_other_addresses_are_refused_with_what_is_wanted(text: str) -> None:
    """Names are not looked up: a slow name server would hold up the pod."""
    with pytest.raises(ValueError, match=r"ipamdAddress=.*: want unix:///path/of.sock or 127.0.0.1:50051"):
        load(ipamdAddress=text)


def result(version: str, **more: Any) -> dict[str, Any]:
    """A result document as prevResult."""
    return {"cniVersion": version, **more}


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
@pytest.mark.parametrize(
    "version, previous, words",
    [
        ("0.4.0", result("1.0.0"), "its cniVersion is '1.0.0', but the configuration's is '0.4.0'"),
        ("1.0.0", result("0.4.0"), "its cniVersion is '0.4.0', but the configuration's is '1.0.0'"),
        ("0.2.0", result("0.3.0"), "its cniVersion is '0.3.0', but the configuration's is '0.2.0'"),
        ("0.4.0", {"ips": [{"address": "10.0.0.1"}]}, "address '10.0.0.1': want ADDRESS/LENGTH"),
        ("0.4.0", {"ips": [{"address": "10.0.0.1/33"}]}, "address '10.0.0.1/33': want ADDRESS/LENGTH"),
        ("0.4.0", {"ips": [{"address": "10.0.0/24"}]}, "'10.0.0' is not an IP address"),
        ("0.4.0", {"ips": [{"address": 7}]}, "address: want str, got int"),
        ("0.4.0", {"ips": [{"address": "10.0.0.1/32", "interface": "1"}]}, "interface: want int, got str"),
        ("0.4.0", {"ips": {}}, "ips: want list, got dict"),
        ("0.4.0", {"interfaces": [3]}, "interfaces[0]: want object, got int"),
        ("1.1.0", {"interfaces": [{"name": "a", "mac": 3}]}, "mac: want str, got int"),
        ("0.2.0", {"ip4": {"ip": "x/1"}}, "'x' is not an IP address"),
    ],
)
def test_prev_result_that_is_no_result_fails_both_verbs(
    verb: str, version: str, previous: dict[str, Any], words: str
) -> None:
    """Also DEL, whatever its wish to succeed."""
    outcome = invoke(environment(verb), config(cniVersion=version, prevResult=previous))

    prefix = f"{verb.lower()} cmd: {LOADER}: could not parse prevResult: "
    assert outcome.document == {"code": 999, "msg": prefix + words}


@pytest.mark.parametrize(
    "version, own",
    [("0.4.0", "0.4.0"), ("0.4.0", "0.3.1"), ("0.3.0", ""), ("1.1.0", "1.0.0"), ("1.0.0", "1.1.0")],
)
def test_prev_result_may_be_of_any_version_with_the_same_form(version: str, own: str) -> None:
    """Addresses are made canonical, indexes kept."""
    document = {
        "cniVersion": own,
        "interfaces": [{"name": "a"}, {"name": "b", "mac": "3", "sandbox": "/s"}],
        "ips": [{"version": "6", "address": "FD00:0::1/128", "interface": 1}, {"address": "10.0.0.1/32"}],
        "dns": {},
        "routes": [],
    }

    previous = load(cniVersion=version, prevResult=document).prev_result

    assert previous is not None
    assert [tuple(each) for each in previous.interfaces] == [("a", "", ""), ("b", "3", "/s")]
    assert [tuple(each) for each in previous.ips] == [("fd00::1/128", 1), ("10.0.0.1/32", None)]
    assert previous.only_address_on("b") == "fd00::1/128"
    assert previous.only_address_on("a") is None


@pytest.mark.parametrize("version", ["", "0.1.0", "0.2.0"])
def test_oldest_prev_result_has_addresses_but_no_interfaces(version: str) -> None:
    """What ADD hid in the interfaces is lost in these versions."""
    document = {"ip4": {"ip": "10.0.0.1/32"}, "ip6": {"ip": "fd00::1/128"}, "interfaces": [{"name": "x"}]}

    previous = load(cniVersion=version, prevResult=document).prev_result

    assert previous is not None
    assert previous.interfaces == ()
    assert [ip.address for ip in previous.ips] == ["10.0.0.1/32", "fd00::1/128"]


def test_messages_are_plain_json_text() -> None:
    """Nothing of the configuration can break out of the error object."""
    outcome = invoke(environment("ADD"), config(ipamdAddress='"}\n<script>'))

    assert json.loads(outcome.stdout)["code"] == 999
    assert outcome.stdout.count("\n") == 3


def test_a_whole_list_of_plugins_is_told_from_a_configuration() -> None:
    """examples/10-aws.conflist fed by hand: a runtime passes on one of its `plugins`, which has a `type`."""
    conflist = {"cniVersion": "1.0.0", "name": "aws-cni", "plugins": [{"type": "aws-cni", "dryRun": True}]}

    with pytest.raises(errors.CniError) as refused:
        netconf.read_header(json.dumps(conflist).encode())

    assert (refused.value.code, "is a list of plugins" in refused.value.msg) == (7, True)
    assert "with the list's name and cniVersion in it" in refused.value.details
    assert netconf.read_header(json.dumps({**conflist, "type": "aws-cni"}).encode()).name == "aws-cni"
