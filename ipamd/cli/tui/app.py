"""The program: keys become requests, a thread answers them from a source, and the moment it gives is drawn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.events import Click, Key, Resize
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ipamd.core.types import SECOND
from ipamd.journal.errors import JournalError

from ..output import Usage, moment, visible
from .look import CSS, HELP, LOW, NARROW, keys, rich_text
from .moment import Moment
from .screen import Choice, Sizes, is_refusal, record_at, screen_of
from .search import Query, query
from .sources import Direction, Source, Stopped

MARKS_MAX: Final = 100_000
"""So many of the newest records are looked through for refusals to mark; others are marked when they are met."""
POLL_SECONDS: Final = 0.3
_MINUTE: Final = 60 * SECOND


class Help(ModalScreen[None]):
    """The page about the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "away")]

    def compose(self) -> ComposeResult:
        page = Static(HELP, markup=False)
        page.border_title = "ipamd tui"
        yield page


class Slider(Static):
    """Two rows; a click tells its column."""

    def __init__(self, clicked: Callable[[int], None]) -> None:
        super().__init__(id="slider", markup=False)
        self._clicked = clicked

    def on_click(self, event: Click) -> None:
        """Jump there."""
        self._clicked(event.x)


class Prompt(Input):
    """One line to type into. Enter takes what is typed at once, not what is typed by the time it has bubbled up."""

    def __init__(self, typed: Callable[[str], None]) -> None:
        super().__init__(id="prompt", compact=True)
        self._typed = typed

    async def _on_key(self, event: Key) -> None:
        if event.key != "enter":
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        self._typed(self.value)


class Tui(App[None]):
    """One journal on a terminal."""

    CSS = CSS
    AUTO_FOCUS = None
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, action, priority=True)  # each is done before the next one is looked at
        for key, action in (
            ("right,l", "step(1)"), ("left,h", "step(-1)"), ("right_square_bracket", "step(10)"),
            ("left_square_bracket", "step(-10)"), ("pagedown", "minutes(1)"), ("pageup", "minutes(-1)"),
            ("home", "end(-1)"), ("end,G", "end(1)"), ("r", "refusal(1)"), ("R", "refusal(-1)"),
            ("slash", "ask('on')"), ("backslash", "ask('back')"), ("g", "ask('go')"), ("n", "again(1)"),
            ("N", "again(-1)"), ("v", "view"), ("f", "follow"), ("tab", "node(1)"), ("shift+tab", "node(-1)"),
            ("up", "scroll(-1)"), ("down", "scroll(1)"), ("escape", "give_up"), ("question_mark", "help"),
            ("q", "quit"),
        )
    ]  # fmt: skip

    def __init__(self, source: Source, first: Moment, follow: bool) -> None:
        super().__init__(ansi_color=True)
        self._source = source
        self._moment = first
        self._choice = Choice(following=follow)
        self._marks: set[int] = set()
        self._query: tuple[Query, Direction] | None = None
        self._prompt = ""
        self._requests: deque[tuple[str, Any]] = deque()
        self._arrived = asyncio.Event()
        self._busy = False
        self._stop = False

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Slider(self._clicked)
        with Container(id="body"):
            with VerticalScroll(id="pool", classes="panel", can_focus=False):
                yield Static(id="nodes", markup=False)
                yield Static(id="cells", markup=False)
            with Container(id="side"):
                with VerticalScroll(id="record", classes="panel", can_focus=False):
                    yield Static(id="event", markup=False)
                with VerticalScroll(id="plan", classes="panel", can_focus=False):
                    yield Static(id="why", markup=False)
        yield Static(id="legend", markup=False)
        yield Static(id="status", markup=False)
        prompt = Prompt(self._typed)
        prompt.display = False
        yield prompt

    def on_mount(self) -> None:
        """Everything stands; the thread that answers begins."""
        self.theme = "ansi-dark"
        self.run_worker(self._serve(), exit_on_error=True)
        reach = self._source.reach
        self._mark(max(reach.first_seq, reach.last_seq - MARKS_MAX + 1))
        if self._source.live:
            self.set_interval(POLL_SECONDS, self._poll)

    def on_resize(self, event: Resize) -> None:
        """The layout follows the terminal."""
        self.screen.set_class(event.size.width < NARROW, "narrow")
        self.screen.set_class(event.size.height < LOW, "low")
        self._draw()

    # ---- drawing ---------------------------------------------------------------------------------------------

    def _sizes(self) -> Sizes:
        """Text columns: two of border, two of padding and one of the scroll bar are not."""
        width = self.size.width
        if width < NARROW:
            self.query_one("#pool").styles.width = "1fr"
            return Sizes(whole=width, pool=width - 5, record=width // 2 - 5, plan=width - width // 2 - 5)
        pool = width * 56 // 100
        self.query_one("#pool").styles.width = pool
        return Sizes(whole=width, pool=pool - 5, record=width - pool - 5, plan=width - pool - 5)

    def _draw(self) -> None:
        if not self.size.width:
            return
        if self._moment.record is not None and is_refusal(self._moment.record):
            self._marks.add(self._moment.seq)
        shown = screen_of(
            self._moment, self._source.reach, self._source.name, self._marks, self._choice, self._sizes()
        )
        self._put("#head", rich_text(shown.head))
        self._put("#slider", rich_text(shown.slider))
        self._put("#nodes", rich_text(shown.nodes))
        self.query_one("#nodes").display = bool(shown.nodes)
        self._put("#cells", rich_text(shown.pool))
        self._put("#event", rich_text(shown.record))
        self._put("#why", rich_text(shown.plan))
        self._put("#legend", rich_text([shown.legend]))
        for name, title in (("#pool", shown.pool_title), ("#record", shown.record_title), ("#plan", shown.plan_title)):
            self.query_one(name).border_title = visible(title).replace("[", "\\[")

    def _put(self, name: str, text: Text) -> None:
        self.query_one(name, Static).update(text)

    def _say(self, text: str = "", alarm: bool = False) -> None:
        """One line for people until the next key; the keys where there is nothing to say."""
        said = Text(f" {visible(text)}", "bold red" if alarm else "bold", no_wrap=True, overflow="ellipsis")
        self._put("#status", said if text else keys(self.size.width))

    # ---- requests --------------------------------------------------------------------------------------------

    def _request(self, what: str, value: Any = None) -> None:
        self._say()
        self._requests.append((what, value))
        self._arrived.set()

    async def _serve(self) -> None:
        """Answers requests one after another; steps that wait in a row are one step."""
        self._say()
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._requests:
                what, value = self._requests.popleft()
                while what in ("step", "minutes") and self._requests and self._requests[0][0] == what:
                    value += self._requests.popleft()[1]
                await self._answer(what, value)

    async def _answer(self, what: str, value: Any) -> None:
        self._busy, self._stop = True, False
        before = self._moment
        if what == "find":
            self._say("searching; Esc gives up")
        try:
            found = await asyncio.to_thread(self._found, what, value)
        except Stopped:
            self._say("given up")
        except (JournalError, OSError, Usage) as error:
            self._say(str(error), alarm=True)
        else:
            if found is None:
                self._say(_missed(value, before.seq))
                return
            self._moment = found
            if found.seq != before.seq:
                for name in ("#record", "#plan"):
                    self.query_one(name).scroll_home(animate=False)
            if what == "find":
                self._say()
            if found.seq < before.seq:
                self._choice = _with(self._choice, following=False)
            self._draw()
        finally:
            self._busy = False

    def _found(self, what: str, value: Any) -> Moment | None:
        """In the thread: the moment that a request leads to."""
        now, source = self._moment, self._source
        match what:
            case "step":
                return source.to(now.seq + value)
            case "minutes":
                wanted = now.at + value * _MINUTE
                reach = source.reach
                return source.to(reach.last_seq) if wanted >= reach.last_at else source.at(wanted)
            case "to":
                return source.to(value)
            case "at":
                return source.at(value)
            case "find":
                asked, direction = value
                seq = source.find(asked, now.seq, direction, lambda: self._stop)
                return None if seq is None else source.to(seq)
            case _:
                moved = source.refresh()
                if moved and self._choice.following:
                    return source.to(source.reach.last_seq)
                return now

    def _poll(self) -> None:
        """A live journal grew, perhaps."""
        if not self._busy and not self._requests:
            self._requests.append(("refresh", None))
            self._arrived.set()

    def _mark(self, since: int) -> None:
        """Look for refusals from a record on, beside everything else."""

        def look() -> None:
            try:
                found = self._source.refusals(since, lambda: not self.is_running)
            except (JournalError, OSError, Stopped):
                return  # whoever steps there is told
            self.call_later(self._marked, found)  # never waits, also when the program ends meanwhile

        self.run_worker(look, thread=True)

    def _marked(self, found: frozenset[int]) -> None:
        self._marks |= found
        self._draw()

    # ---- keys ------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is typed into the prompt, or pressed on the page about the keys, is no key of ours."""
        if action == "give_up":
            return not isinstance(self.screen, Help)
        return not self._prompt and not isinstance(self.screen, Help)

    def action_step(self, records: int) -> None:
        self._request("step", records)

    def action_minutes(self, minutes: int) -> None:
        self._request("minutes", minutes)

    def action_end(self, direction: int) -> None:
        if direction > 0 and self._source.live:
            self._choice = _with(self._choice, following=True)
        self._request("to", self._source.reach.last_seq if direction > 0 else self._source.reach.first_seq)

    def action_refusal(self, direction: Direction) -> None:
        self._request("find", (None, direction))

    def action_again(self, direction: int) -> None:
        if self._query is None:
            self._say("nothing was searched for yet: / asks")
            return
        asked, way = self._query
        self._request("find", (asked, 1 if way * direction > 0 else -1))

    def action_view(self) -> None:
        self._choice = _with(self._choice, pods=not self._choice.pods)
        self._draw()

    def action_node(self, step: int) -> None:
        if self._moment.nodes:
            self._choice = _with(self._choice, node=(self._choice.node + step) % len(self._moment.nodes))
            self._draw()

    def action_follow(self) -> None:
        if not self._source.live:
            self._say("nobody writes this journal: there is nothing to follow")
            return
        self._choice = _with(self._choice, following=not self._choice.following)
        if self._choice.following:
            self._request("to", self._source.reach.last_seq)
        self._draw()

    def action_scroll(self, rows: int) -> None:
        self.query_one("#pool").scroll_relative(y=rows, animate=False)

    def action_give_up(self) -> None:
        self._stop = True
        self._close_prompt()
        if not self._busy:
            self._say()

    def action_help(self) -> None:
        self.push_screen(Help())

    def _clicked(self, column: int) -> None:
        self._request("to", record_at(column, self._source.reach, self.size.width))

    # ---- the prompt ------------------------------------------------------------------------------------------

    def action_ask(self, what: str) -> None:
        self._prompt = what
        prompt = self.query_one("#prompt", Prompt)
        prompt.placeholder = {
            "on": "search on: a pod, an address, a prefix, an ENI or a type of record",
            "back": "search back: a pod, an address, a prefix, an ENI or a type of record",
            "go": "go to: a record's number, a time, or an age such as 10m",
        }[what]
        prompt.value = ""
        prompt.display = True
        self.query_one("#status").display = False
        self.screen.set_focus(prompt)  # at once: the next key may be there already

    def _close_prompt(self) -> None:
        self._prompt = ""
        self.query_one("#prompt").display = False
        self.query_one("#status").display = True
        self.set_focus(None)

    def _typed(self, text: str) -> None:
        """What was typed is done."""
        what = self._prompt
        self._close_prompt()
        try:
            if what == "go":
                self._go(text.strip())
                return
            way: Direction = 1 if what == "on" else -1
            self._query = (query(text), way)
        except Usage as error:
            self._say(str(error), alarm=True)
            return
        self._request("find", self._query)

    def _go(self, text: str) -> None:
        where = moment(text).since(self._source.reach.last_at)
        if where.seq is not None:
            self._request("to", where.seq)
        else:
            self._request("at", where.at)


def _with(choice: Choice, **changes: Any) -> Choice:
    from msgspec.structs import replace

    return replace(choice, **changes)


def _missed(value: tuple[Query | None, Direction], seq: int) -> str:
    asked, direction = value
    what = "no refusal" if asked is None else f"no record of {asked.by} {asked.text}"
    return f"{what} {'after' if direction > 0 else 'before'} record {seq}"
