"""The journal as introspection reads it while the daemon writes it: pages, streams, and the State of a moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ipamd.core.state import State
from ipamd.core.types import Instant
from ipamd.journal import record as record_line
from ipamd.journal.errors import JournalError, JournalMissing
from ipamd.journal.follow import Follower
from ipamd.journal.reading import bounds, lines, seq_at
from ipamd.server.history import BadQuestion, NotKnown, Page, Unreadable, Wanted
from ipamd.sim.past import fold_to

from . import output
from .filters import Filter

READ_SECONDS: Final = 1.0
"""A page is given after so long, with what it has: the rest is behind its `next`."""
PAGE_BYTES: Final = 4 << 20
POLL_SECONDS: Final = 0.2


class JournalHistory:
    """Reads the journal of a directory; satisfies `ipamd.server.history.History`."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock

    def page(self, wanted: Wanted) -> Page:
        """What is on disk from `since` on, as far as a page goes."""
        with _explained():
            first = self._first(wanted.since, bounds(self._directory).first_seq)
            chosen = self._filter(wanted, first)
            until = self._clock() + READ_SECONDS
            found: list[bytes] = []
            size, seq = 0, first - 1
            for line in lines(self._directory, first):
                head = record_line.head(line)
                assert head is not None, "lines gives whole records"
                if len(found) == wanted.limit or size >= PAGE_BYTES or self._clock() > until:
                    return Page(tuple(found), seq + 1, more=True)
                seq = head.seq
                if chosen.everything or chosen.wants(record_line.decode_checked(line)):
                    found.append(line)
                    size += len(line)
            return Page(tuple(found), seq + 1, more=False)

    def state_at(self, at: str) -> tuple[State, Instant]:
        """See `History`."""
        with _explained():
            kept = bounds(self._directory)
            moment = output.moment(at).since(kept.last_at)
            if moment.seq is not None:
                state = fold_to(self._directory, moment.seq)
                return state, state.at
            assert moment.at is not None
            seq = seq_at(self._directory, moment.at)
            if seq < kept.first_seq:
                first = output.time_text(kept.first_at)
                raise NotKnown(f"at={at}: the oldest kept record, {kept.first_seq}, is of {first}")
            return fold_to(self._directory, seq), moment.at

    async def follow(self, wanted: Wanted) -> AsyncGenerator[tuple[int, bytes] | None, None]:
        """See `History`; looks for news five times a second, in a thread."""
        with _explained():
            first, chosen = await asyncio.to_thread(self._begin, wanted)
            follower = Follower(self._directory, first)
            try:
                yield None  # the question is a good one
                while True:
                    for line in await asyncio.to_thread(follower.poll):
                        head = record_line.head(line)
                        assert head is not None, "a follower gives whole records"
                        if chosen.everything or chosen.wants(record_line.decode_checked(line)):
                            yield head.seq, line
                    yield None
                    await asyncio.sleep(POLL_SECONDS)
            finally:
                follower.close()

    def _begin(self, wanted: Wanted) -> tuple[int, Filter]:
        first = self._first(wanted.since, bounds(self._directory).last_seq + 1)
        return first, self._filter(wanted, first)

    def _first(self, since: str, otherwise: int) -> int:
        """The record that `since` names."""
        if not since:
            return otherwise
        kept = bounds(self._directory)
        moment = output.moment(since).since(kept.last_at)
        if moment.seq is None:
            assert moment.at is not None
            return max(seq_at(self._directory, moment.at - 1) + 1, kept.first_seq)
        if moment.seq > kept.last_seq + 1:
            raise NotKnown(f"since={since[:40]}: the newest record is {kept.last_seq}")
        return max(moment.seq, kept.first_seq)

    def _filter(self, wanted: Wanted, first: int) -> Filter:
        chosen = Filter(
            list(wanted.pod), list(wanted.ip), list(wanted.eni), list(wanted.type), list(wanted.prefix)
        )
        if chosen.remembers:
            chosen.begin(fold_to(self._directory, first - 1))
        return chosen


@contextmanager
def _explained() -> Iterator[None]:
    """What the journal's rooms raise, in the door's words."""
    try:
        yield
    except output.Usage as error:
        raise BadQuestion(str(error).replace("--", "")) from error
    except JournalMissing as error:
        raise NotKnown(str(error)) from error
    except (JournalError, OSError) as error:
        raise Unreadable(str(error)) from error
