"""A scripted node on a Unix socket, and the configuration that leads to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cni_plugin.harness import ONE, Node, config, deleted, serving


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    """Where this test's server listens."""
    return str(tmp_path / "ipamd.sock")


@pytest.fixture
def node(socket_path: str) -> Iterator[Node]:
    """ipamd and policy agent in one, giving 10.0.1.9 and taking it back unless told otherwise."""
    node = Node(add=ONE, delete=deleted())
    with serving(node, f"unix:{socket_path}"):
        yield node


@pytest.fixture
def conf(socket_path: str) -> Callable[..., bytes]:
    """A network configuration that leads to this test's server."""

    def make(**changes: Any) -> bytes:
        return config(
            **{
                "ipamdAddress": f"unix://{socket_path}",
                "networkPolicyAgentAddress": f"unix://{socket_path}",
                **changes,
            }
        )

    return make
