"""A world on each door for each scenario; one moto server for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from tests.contract import doors
from tests.contract.doors import DOORS, Need, World
from tests.moto.served import Served, serving


class Worlds(Protocol):
    """Makes the world that a scenario is about."""

    async def __call__(
        self, *needs: Need, subnet: str = ..., instance_type: str = ..., reservations: dict[str, str] | None = ...
    ) -> World:
        """Skips the scenario where the door lacks one of the needs; options are needs too."""
        ...


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Callable[[bool], Served]]:
    """Servers that begin with their first use: one that throttles nobody, and one that does."""
    running: dict[bool, Served] = {}
    with ExitStack() as stack:

        def get(throttled: bool) -> Served:
            if throttled not in running:
                words = ["--subnet", "10.250.0.0/24", "--seed", "11", *(["--throttle"] if throttled else [])]
                running[throttled] = stack.enter_context(serving(*words))
            return running[throttled]

        yield get


@pytest_asyncio.fixture(params=DOORS)
async def a_world(
    request: pytest.FixtureRequest, tmp_path: Path, moto_server: Callable[[bool], Served]
) -> AsyncIterator[Worlds]:
    """Makes worlds on one door; skips what the door lacks, and says why."""
    door: str = request.param
    async with AsyncExitStack() as stack:

        async def make(
            *needs: Need, subnet: str = "", instance_type: str = "", reservations: dict[str, str] | None = None
        ) -> World:
            options = {Need.SUBNET: subnet, Need.TYPE: instance_type, Need.RESERVATION: reservations}
            reason = doors.skip_reason(door, (*needs, *(need for need, given in options.items() if given)))
            if reason:
                pytest.skip(reason)
            asked = (subnet or "10.20.0.0/24", instance_type or "m5.large", reservations or {})
            throttled = Need.THROTTLE in needs
            match door:
                case "embedded":
                    made = doors.embedded(tmp_path, *asked, throttled)
                case "moto":
                    made = doors.moto(moto_server(throttled), *asked)
                case _:
                    made = doors.aws()
            return await stack.enter_async_context(made)

        yield make
