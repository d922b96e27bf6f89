"""A journal to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from ipamd.cli import simulate


@pytest.fixture
def journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """That of a simulated node: prefix mode, 20 pods, of which 5 went."""
    where = tmp_path / "node" / "journal"
    words = "--instance-type t3.small --set ENABLE_PREFIX_DELEGATION=true --pods 20 --delete 5 --latency realistic"
    assert simulate.main([*words.split(), "--journal", str(where), "--json"]) == 0
    capsys.readouterr()
    return where
