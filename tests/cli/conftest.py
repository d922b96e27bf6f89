"""Commands run in the test's own process, without ipamd's variables in the environment."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from ipamd.config import VARIABLES


class Said(NamedTuple):
    """What a command did: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return msgspec.json.decode(self.out)


Run = Callable[..., Said]


@pytest.fixture
def ipamd(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`ipamd("simulate", "--pods", 3)`: what the command line would do."""
    for name in (*VARIABLES, "UPSTREAM_PARITY"):
        monkeypatch.delenv(name, raising=False)

    def run(command: str, *words: object) -> Said:
        main = import_module(f"ipamd.cli.{command}").main
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = int(str(ended.code))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def journal(ipamd: Run, tmp_path: Path) -> Path:
    """The journal of a simulated node: prefix mode, 20 pods, of which 5 went."""
    where = tmp_path / "node" / "journal"
    said = ipamd(
        "simulate", "--instance-type", "t3.small", "--set", "ENABLE_PREFIX_DELEGATION=true", "--pods", 20,
        "--delete", 5, "--latency", "realistic", "--journal", where, "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    return where
