"""Ten thousand hostile invocations in this process and two hundred as processes: never a traceback, only CNI's JSON.

Cases come from a seed, so a failing one can be called again by its number.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cni_plugin.main import run
from tests.cni_plugin.harness import RecordingHost, environment
from tests.netns import rig

IN_PROCESS, AS_PROCESSES, SEED = 10_000, 200, 7
VERBS = ("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION", "add", "", "ADD;DEL")
HOSTILE = (
    "", "eth0", "../../../tmp/x", "$(touch pwned)", "`touch pwned`", "; touch pwned", "| touch pwned", "a\nb", "a\tb",
    "a#b", "a'b", 'a"b', "-batch", "--help", "%s%n", "\x00", "\udc80\udcff", "ü\U0001f600", "x" * 300, "/", "..", "\\",
    "{}", "null", "1e999", "-1", "9" * 40, "true", "0", "/proc/self/ns/net", "/dev/zero", "/etc/passwd", "unix:///nowhere",
    "K8S_POD_NAME=a", "IgnoreUnknown=1;K8S_POD_NAME=$(touch pwned);K8S_POD_NAMESPACE=../..", "10.0.0.1/32",
    "fd00::1/128",
)  # fmt: skip
KEYS = (
    "cniVersion", "name", "type", "vethPrefix", "mtu", "podSGEnforcingMode", "pluginLogLevel", "prevResult",
    "runtimeConfig", "dryRun", "rpcDeadlineSeconds", "statusAndGc", "checkpointFile", "cni.dev/valid-attachments",
    "interfaces", "ips", "sandbox", "mac", "address", "interface", "plugins", "ipam", "CNIVERSION", "NAME",
)  # fmt: skip
ANSWER = {"code", "msg", "details"}


def value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON, sometimes deep."""
    kind = chance.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return chance.choice(HOSTILE).replace("\x00", "\\0")
    if kind == 3:
        return chance.choice((None, True, False))
    if kind < 6:
        return chance.choice((0, -1, 1, 2**63, 10**30, 1.5, 5, 254, 3))
    if kind == 6:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): value(chance, depth + 1) for _ in range(chance.randrange(5))}


def stdin_of(chance: random.Random, absent: str) -> bytes:
    """A configuration that leads nowhere, plausible in most parts; or noise."""
    if chance.randrange(12) == 0:
        return chance.randbytes(chance.randrange(80))
    document: dict[str, Any] = {"cniVersion": chance.choice(("0.4.0", "1.0.0", "1.1.0", "")), "name": "aws-cni"}
    for _ in range(chance.randrange(6)):
        document[chance.choice(KEYS)] = value(chance)
    if chance.randrange(3) == 0:
        document["prevResult"] = {
            "cniVersion": document["cniVersion"],
            "interfaces": [{"name": chance.choice(HOSTILE), "mac": chance.choice(HOSTILE)} for _ in range(3)],
            "ips": [{"address": chance.choice(("10.0.1.9/32", "fd00::9/128", value(chance))), "interface": 1}],
        }
    document |= {"ipamdAddress": f"unix://{absent}", "networkPolicyAgentAddress": f"unix://{absent}"}
    text = json.dumps(document).encode()
    return text[: chance.randrange(len(text))] if chance.randrange(15) == 0 else text


def environ_of(chance: random.Random) -> dict[str, str]:
    """Complete in most parts; some variables hostile or missing."""
    found = environment(chance.choice(VERBS))
    for name in list(found):
        if name != "CNI_COMMAND" and chance.randrange(5) == 0:
            found[name] = chance.choice(HOSTILE)
        elif name != "CNI_COMMAND" and chance.randrange(20) == 0:
            del found[name]
    return found


def check_answer(stdout: str, code: int, case: int) -> None:
    """Nothing, VERSION's answer, or the error object of the protocol."""
    assert "Traceback" not in stdout, case
    if code == 0:
        assert stdout == "" or "supportedVersions" in stdout, (case, stdout)
        return
    document = json.loads(stdout)
    assert code == 1, case
    assert {"code", "msg"} <= set(document) <= ANSWER, (case, document)
    assert isinstance(document["code"], int) and isinstance(document["msg"], str), case
    assert "unexpected" not in document["msg"], (case, document)


def test_ten_thousand_cases_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is answered; nothing is written where it should not be."""
    monkeypatch.chdir(tmp_path)

    for case in range(IN_PROCESS):
        chance = random.Random(f"{SEED}/{case}")
        environ, stdin = environ_of(chance), stdin_of(chance, f"{tmp_path}/absent.sock")
        text, code = run(environ, io.BytesIO(stdin), io.StringIO(), RecordingHost())
        check_answer(text, code, case)

    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_two_hundred_cases_as_processes(tmp_path: Path) -> None:
    """With the real host behind them, in a namespace of their own, whose network is the same afterwards."""
    rig.require()

    def one(case: int) -> tuple[subprocess.CompletedProcess[bytes], int]:
        chance = random.Random(f"{SEED}/process/{case}")
        environ = {name: text for name, text in environ_of(chance).items() if "\0" not in text}
        own = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        words = ["ip", "netns", "exec", netns, sys.executable, "-m", "cni_plugin"]
        done = subprocess.run(
            words, input=stdin_of(chance, f"{tmp_path}/absent.sock"), env={**environ, **own},
            cwd=tmp_path, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return done, case

    with rig.namespaces("fuzz") as (netns,), ThreadPoolExecutor(2) as pool:
        before = rig.whole(netns)
        ended = list(pool.map(one, range(AS_PROCESSES)))
        after = rig.whole(netns)

    for done, case in ended:
        check_answer(done.stdout.decode(), done.returncode, case)
        assert b"Traceback" not in done.stderr, (case, done.stderr)
    assert after == before
    assert list(tmp_path.iterdir()) == []
