"""One API server for all contract tests of a worker; each test makes what it needs under names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .apiserver import Api, any_api


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """The lab, or the real API server that IPAMD_TEST_KUBECONFIG names."""
    with any_api() as one:
        yield one


@pytest.fixture
def space(api: Api) -> str:
    """The path of a new namespace."""
    return api.namespace()
