"""Commands run in the test's own process, as in tests/cli."""

from tests.cli.conftest import ipamd

__all__ = ["ipamd"]
