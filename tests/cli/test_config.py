"""`ipamd config`: settings with their sources, verdicts, exit codes."""

from __future__ import annotations

import json

import pytest

from ipamd.cli import config
from ipamd.config import VARIABLES

PREFIXES = ("--set", "ENABLE_PREFIX_DELEGATION=true")


@pytest.fixture(autouse=True)
def _empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "UPSTREAM_PARITY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.spec("ENV-1..46")
def test_each_setting_stands_with_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """UPSTREAM_PARITY among them: default, environment or --set, which beats it."""
    monkeypatch.setenv("WARM_IP_TARGET", "3")
    monkeypatch.setenv("MINIMUM_IP_TARGET", "9")

    code = config.main(["--json", "--set", "WARM_IP_TARGET=5"])

    document = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in document["settings"]}
    assert code == 0
    assert list(rows) == [*VARIABLES, "UPSTREAM_PARITY"]
    assert rows["WARM_IP_TARGET"] == {"name": "WARM_IP_TARGET", "value": 5, "source": "--set", "spec": "ENV-1"}
    assert (rows["MINIMUM_IP_TARGET"]["value"], rows["MINIMUM_IP_TARGET"]["source"]) == (9, "environment")
    assert rows["WARM_ENI_TARGET"]["source"] == "default"
    assert (document["instance_type"], document["max_pods"], document["refused"]) == ("m5.large", 29, "")


@pytest.mark.spec("POOL-5", "POOL-6", "POOL-10", "POOL-35")
@pytest.mark.parametrize(
    ("words", "code", "kinds"),
    [
        ([], 0, []),
        (["--set", "WARM_IP_TARGET=2", "--set", "WARM_ENI_TARGET=1"], 0, ["ignored"]),
        (["--set", "MINIMUM_IP_TARGET=9"], 1, ["starves"]),
        (["--set", "WARM_ENI_TARGET=0"], 1, ["flaps"]),
        ([*PREFIXES, "--set", "WARM_PREFIX_TARGET=0", "--max-pods", "110"], 1, ["flaps"]),
    ],
)
def test_settings_that_starve_or_flap_exit_1(
    words: list[str], code: int, kinds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipeline can refuse them."""
    assert config.main(["--json", *words]) == code
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)["verdicts"]] == kinds


@pytest.mark.spec("INIT-13", "INIT-14")
def test_what_the_type_overrules_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A Xen type takes no prefixes."""
    config.main(["--json", "--instance-type", "m4.large", *PREFIXES])

    document = json.loads(capsys.readouterr().out)
    (row,) = [row for row in document["settings"] if row["name"] == "ENABLE_PREFIX_DELEGATION"]
    assert (row["value"], row["source"]) == (False, "instance type")
    assert document["verdicts"][0]["spec"] == ["INIT-13", "INIT-14"]


def test_people_read_a_table_and_a_line_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused value is told once, a misspelt name too; MAX_ENI's default is said in words."""
    words = ["--set", "MINIMUM_IP_TARGET=9", "--set", "WARM_ENI_TARGET=-1", "--set", "UPSTREAM_PARITY="]

    code = config.main(words)

    out = capsys.readouterr().out
    assert code == 1
    assert "settings on m5.large, max pods 29" in out
    assert "the instance's limit" in out
    lines = [line for line in out.splitlines() if line.startswith(("starves:", "ignored:", "warning:"))]
    assert [line.split(":")[0] for line in lines] == ["starves", "ignored"]
    assert lines[1] == 'ignored: WARM_ENI_TARGET: "-1" is refused: want an integer >= 0; using 1 (ENV-3)'


@pytest.mark.spec("INIT-13", "ENV-21")
def test_settings_that_do_not_start_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, as the daemon would."""
    assert config.main(["--set", "ENABLE_IPv4=false"]) == 1
    assert "refused: ENABLE_IPv4=false and ENABLE_IPv6=false" in capsys.readouterr().out
    assert config.main(["--set", "NETWORK_POLICY_ENFORCING_MODE=most"]) == 1
    assert "want" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "WARM_IPS=1"], "no such variable"),
        (["--instance-type", "t3.tiny"], "not one of the"),
    ],
)
def test_wrong_usage_exits_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What the command line alone shows to be wrong."""
    assert config.main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("pods", ["0", "-1", "ten"])
def test_max_pods_is_a_number(pods: str) -> None:
    """One pod at least."""
    with pytest.raises(SystemExit) as ended:
        config.main(["--max-pods", pods])

    assert ended.value.code == 2
