"""Verbs, environment variables and stdin: what is checked before anything is done."""

import io
import json
import sys

import pytest

from cni_plugin.env import STDIN_MAX
from cni_plugin.main import run
from tests.cni_plugin.harness import config, environment, invoke

VERSION_ANSWER = {
    "cniVersion": "1.1.0",
    "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
}


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
def test_check_needs_the_result_of_add_where_the_configuration_knows_it(version: str) -> None:
    """From 0.4.0 on; after a dry run there is nothing to compare."""
    outcome = invoke(environment("CHECK"), config(cniVersion=version))
    dry = invoke(environment("CHECK"), config(cniVersion=version, dryRun=True))

    assert (outcome.document["code"], outcome.document["msg"]) == (7, "required prevResult missing")
    assert (dry.stdout, dry.code) == ("", 0)


@pytest.mark.parametrize(
    "verb, version",
    [("CHECK", "0.3.1"), ("CHECK", None), ("GC", "1.0.0"), ("GC", "0.4.0"), ("STATUS", "1.0.0"), ("STATUS", "")],
)
def test_verb_is_refused_below_the_version_that_brought_it(verb: str, version: str | None) -> None:
    """CHECK came with 0.4.0, GC and STATUS with 1.1.0; no version means 0.1.0."""
    outcome = invoke(environment(verb), config(cniVersion=version))

    assert outcome.document == {"code": 1, "msg": f"config version does not allow {verb}"}
    assert outcome.code == 1


@pytest.mark.parametrize("verb", ["GC", "STATUS"])
def test_gc_and_status_always_say_ok(verb: str) -> None:
    """They need neither container id nor namespace, and ipamd is not asked."""
    environ = {"CNI_COMMAND": verb, "CNI_PATH": "/opt/cni/bin"}

    outcome = invoke(environ, config(cniVersion="1.1.0"))

    assert (outcome.stdout, outcome.code) == ("", 0)


@pytest.mark.parametrize("verb", ["CHECK", "GC", "STATUS"])
def test_version_newer_than_ours_is_refused(verb: str) -> None:
    """Comparison is by number, so 1.20.0 is newer than 1.1.0."""
    outcome = invoke(environment(verb), config(cniVersion="1.20.0"))

    assert outcome.document == {"code": 1, "msg": f"plugin version does not allow {verb}"}


@pytest.mark.parametrize("version", ["new", "1.2.3.4", "1..2", "-1.0"])
def test_version_that_is_none_cannot_be_decoded(version: str) -> None:
    """A gate needs numbers."""
    outcome = invoke(environment("STATUS"), config(cniVersion=version))

    assert outcome.document["code"] == 6
    assert f'invalid version "{version}"' in outcome.document["msg"]


@pytest.mark.parametrize("verb", ["ADD", "DEL", "CHECK"])
def test_version_that_we_do_not_speak_is_incompatible(verb: str) -> None:
    """Code 1, and the details name both sides."""
    outcome = invoke(environment(verb), config(cniVersion="0.9.0"))

    assert outcome.document == {
        "code": 1,
        "msg": "incompatible CNI versions",
        "details": 'config is "0.9.0", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]',
    }


def test_version_needs_nothing_else() -> None:
    """VERSION reads neither the other variables nor stdin."""
    text, code = run({"CNI_COMMAND": "VERSION"}, None, sys.stderr)

    assert json.loads(text) == VERSION_ANSWER
    assert (text.count("\n"), code) == (1, 0)


def test_without_a_command_it_introduces_itself_on_stderr() -> None:
    """For the curious at a terminal: exit 0, stdout empty."""
    outcome = invoke({})

    first, second = outcome.stderr.splitlines()
    assert first.startswith("AWS CNI ")
    assert second == "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"
    assert (outcome.stdout, outcome.code) == ("", 0)


def test_unknown_command_is_refused() -> None:
    """Code 4, after the configuration has been looked at."""
    outcome = invoke(environment("EXPLODE"), config())

    assert outcome.document == {"code": 4, "msg": "unknown CNI_COMMAND: EXPLODE"}


@pytest.mark.parametrize(
    "verb, missing",
    [
        ("ADD", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("CHECK", "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ("DEL", "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ],
)
def test_missing_variables_are_reported_together(verb: str, missing: str) -> None:
    """One message lists all, in the order of the protocol's table."""
    outcome = invoke({"CNI_COMMAND": verb}, config())

    assert outcome.document == {"code": 4, "msg": f"required env variables [{missing}] missing"}
    assert outcome.code == 1


def test_empty_variable_counts_as_missing() -> None:
    """An empty value is no value."""
    outcome = invoke(environment("ADD", CNI_PATH="", CNI_NETNS=""), config())

    assert outcome.document["msg"] == "required env variables [CNI_NETNS,CNI_PATH] missing"


@pytest.mark.parametrize("bad", ["-abc", ".abc", "a b", "a/b", "ab\u00e9", "a;b", "_"])
def test_container_id_of_other_characters_is_refused(bad: str) -> None:
    """A container id never reaches a path or a shell with anything odd in it."""
    outcome = invoke(environment("ADD", CNI_CONTAINERID=bad), config())

    assert outcome.document["code"] == 4
    assert outcome.document["msg"] == "invalid characters in containerID"
    assert "CNI_CONTAINERID" in outcome.document["details"]


@pytest.mark.parametrize(
    "bad, fault",
    [
        ("a" * 16, "interface name is too long"),
        ("\u00e9" * 8, "interface name is too long"),
        (".", "interface name is . or .."),
        ("..", "interface name is . or .."),
        ("a/b", "interface name contains / or : or whitespace characters"),
        ("a:b", "interface name contains / or : or whitespace characters"),
        ("a b", "interface name contains / or : or whitespace characters"),
        ("a\n", "interface name contains / or : or whitespace characters"),
    ],
)
def test_interface_name_that_the_kernel_refuses_is_refused(bad: str, fault: str) -> None:
    """At most 15 bytes, and nothing that means something in a path."""
    outcome = invoke(environment("DEL", CNI_IFNAME=bad), config())

    assert outcome.document["code"] == 4
    assert outcome.document["msg"] == fault


@pytest.mark.parametrize("stdin", [b"", b"{", b"[]", b"3", b'"x"', b"\xff\xfe", b'{"name": 3}', b'{"name": NaN}'])
def test_stdin_that_is_no_configuration_cannot_be_decoded(stdin: bytes) -> None:
    """Code 6 for everything that is not a JSON object with a name of text."""
    outcome = invoke(environment("ADD"), stdin)

    assert outcome.document["code"] == 6
    assert outcome.document["msg"].startswith("error unmarshall network config: ")


def test_deeply_nested_stdin_cannot_be_decoded() -> None:
    """Nesting beyond the decoder's depth is an error, not a crash."""
    outcome = invoke(environment("ADD"), b'{"name":' + b"[" * 200_000)

    assert outcome.document["code"] == 6


@pytest.mark.parametrize("stdin", [b"{}", b"null", b'{"name":""}', b'{"name":null}'])
def test_network_without_a_name_is_refused(stdin: bytes) -> None:
    """Code 7: the name is part of what ipamd keys an address by."""
    outcome = invoke(environment("DEL"), stdin)

    assert outcome.document["code"] == 7
    assert outcome.document["msg"] == "missing network name"


def test_network_name_of_other_characters_is_refused() -> None:
    """The same form as a container id."""
    outcome = invoke(environment("DEL"), config(name="../etc"))

    assert outcome.document["code"] == 7
    assert outcome.document["msg"] == "invalid characters found in network name"


def test_version_that_is_no_text_cannot_be_decoded() -> None:
    """cniVersion is a string in every version of the protocol."""
    outcome = invoke(environment("ADD"), config(cniVersion=1.0))

    assert outcome.document["code"] == 6
    assert "cniVersion=1.0: want a JSON string, got number" in outcome.document["msg"]


def test_keys_are_read_without_regard_to_case() -> None:
    """Upstream's decoder does so; the last of two spellings wins."""
    outcome = invoke(environment("STATUS"), b'{"NAME":"aws-cni","CniVersion":"0.1.0","cniversion":"1.1.0"}')

    assert (outcome.stdout, outcome.code) == ("", 0)


def test_endless_stdin_is_cut_off() -> None:
    """Code 5 beyond 4 MiB, whatever follows."""
    outcome = invoke(environment("ADD"), b" " * (STDIN_MAX + 1))

    assert outcome.document["code"] == 5
    assert outcome.document["msg"].startswith(f"error reading from stdin: more than {STDIN_MAX} bytes")


def test_stdin_that_cannot_be_read_is_reported() -> None:
    """Code 5 for a closed stdin and for one that fails."""
    closed = io.BytesIO()
    closed.close()

    absent, _ = run(environment("ADD"), None, sys.stderr)
    failing, _ = run(environment("ADD"), closed, sys.stderr)

    assert json.loads(absent)["code"] == json.loads(failing)["code"] == 5


def test_errors_are_indented_json_without_a_version() -> None:
    """Four blanks of indent, no cniVersion, details only when there are some, no final newline."""
    outcome = invoke(environment("EXPLODE"), config())

    assert outcome.stdout == '{\n    "code": 4,\n    "msg": "unknown CNI_COMMAND: EXPLODE"\n}'
