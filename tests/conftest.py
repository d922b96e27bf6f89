"""Options of the whole suite."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the crash test goes on; CI asks for more than a developer waits for."""
    parser.addoption(
        "--crash-rounds",
        type=int,
        default=int(os.environ.get("CRASH_ROUNDS", "3")),
        help="how often the crash test kills the daemon (default: CRASH_ROUNDS, else 3)",
    )
    parser.addoption("--crash-seed", type=int, default=1, help="seed of the first round (default 1)")
