"""Commands run in the test's own process, as in tests/cli; one moto door for the tests that ask a backend."""

from tests.cli.conftest import ipamd
from tests.moto.conftest import door, ec2, new_subnet

__all__ = ["door", "ec2", "ipamd", "new_subnet"]
