"""The documents are true: their commands run, their options exist, their links lead somewhere, their tables agree."""

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cni_plugin import netconf
from ipamd.config import VARIABLES, Variable, load
from ipamd.config.errors import shown
from ipamd.core.reasons import REASONS, REMEDIES
from ipamd.core.settings import WindowsQuirks
from tests.demo.console import Session, Step, matches, steps

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
RUNNABLE = [page for page in PAGES if steps((ROOT / page).read_text())]
COMMANDS = (
    "run", "simulate", "config", "state", "replay", "log show", "log follow", "log verify", "log export", "import",
    "whatif", "max-pods", "subnet", "scenario run", "scenario list", "ec2 serve", "ec2 preflight", "lab apiserver",
    "controller", "diff", "why no-ip", "why not-freed", "why pod",
    "install", "health", "tui",
)  # fmt: skip

_CODE = re.compile(r"^```(\w*)\n(.*?)^```|(?<!`)`([^`]+)`(?!`)", re.DOTALL | re.MULTILINE)
_IPAMD = re.compile(r"(?:^|[$;|&] |/|[A-Z_]+=\S+ )ipamd ([a-z][^|;&>]*)")
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def text_of(page: str) -> str:
    """A page of `PAGES`."""
    return (ROOT / page).read_text()


# ---- what runs -------------------------------------------------------------------------------------------------


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place with a short path, for sockets, that has what a reader in the checkout has."""
    place = Path(tempfile.mkdtemp(prefix="docs-"))
    for name in ("examples", "ipamd"):
        (place / name).symlink_to(ROOT / name)
    (place / ".venv").symlink_to(sys.prefix)
    yield place
    shutil.rmtree(place)


@pytest.mark.parametrize("page", RUNNABLE)
def test_console_blocks_print_what_the_page_says(page: str, directory: Path) -> None:
    """Every `$ ` line of a page, in order, in one shell."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    session = Session(directory, {"PATH": path, "HOME": str(directory), "LANG": "C.UTF-8"})
    try:
        findings = [found for step in steps(text_of(page)) if (found := _difference(session, step))]
    finally:
        session.close()

    assert findings == [], "\n".join(findings)


def _difference(session: Session, step: Step) -> str:
    if step.missing:
        return ""
    printed, code = session.run(step)
    if code == 0 and matches(step.expected, printed):
        return ""
    said, wanted = "\n".join(printed), "\n".join(step.expected)
    return f"line {step.line}: {step.command}\nexit code {code}, printed:\n{said}\nthe page says:\n{wanted}"


def test_matching_takes_dots_for_anything_and_nothing_else() -> None:
    """The measure itself: a line too many, a line too few and another text are differences."""
    page = ["a ... c", "...", "z"]

    assert matches(page, ["a b c", "z"])
    assert matches(page, ["a b c", "more", "", "z  "])
    assert not matches(page, ["a b c"])
    assert not matches(page, ["a b c", "z", "more"])
    assert not matches(page, ["a b d", "z"])
    assert not matches(["a+"], ["aa"])


# ---- what is named ---------------------------------------------------------------------------------------------


def code_lines(page: str) -> Iterator[str]:
    """Commands of console blocks, lines of other blocks, code spans."""
    yield from (step.command for step in steps(text_of(page)))
    for language, block, span in _CODE.findall(text_of(page)):
        if language != "console":
            yield from block.splitlines() or [" ".join(span.split())]


@functools.cache
def known_options(command: str) -> frozenset[str]:
    """The options that a command's own help names."""
    words = [sys.executable, "-m", "ipamd", *command.split(), "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    return frozenset(_OPTION.findall(done.stdout))


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    """`ipamd COMMAND ... --option`: both as the program's help has them."""
    wrong = []
    for line in code_lines(page):
        for words in _IPAMD.findall(line):
            command = next((known for known in COMMANDS if f"{words} ".startswith(f"{known} ")), "")
            if not command:
                wrong.append(f"ipamd {words}: no such command")
                continue
            wrong += [f"ipamd {command} {o}" for o in _OPTION.findall(words) if o not in known_options(command)]

    assert wrong == []


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_resolve(page: str) -> None:
    """The file is there, and so is the heading behind a `#`."""
    broken = []
    for target in _LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)

    assert broken == []


def anchors(file: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    prose = re.sub(r"^```.*?^```", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    """A page that nobody links to is a page that nobody reads."""
    linked = set(_LINK.findall(text_of("README.md")))

    assert [page for page in PAGES[1:] if page not in linked] == []


# ---- what is listed --------------------------------------------------------------------------------------------


def rows(page: str, columns: int) -> dict[str, list[str]]:
    """First column (a code span) -> the other columns, of every table with so many columns."""
    found = {}
    for line in (ROOT / "docs" / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == columns:
            found[cells[0].strip("`")] = cells[1:]
    return found


def default_of(variable: Variable) -> str:
    """A default as the table words it."""
    if variable.instead:
        return variable.instead
    if variable.default is None:
        return "not set"
    return "empty" if variable.default in ("", ()) else f"`{shown(variable.default)}`"


def test_every_variable_is_listed_with_its_default() -> None:
    """docs/settings.md against the table that the program reads."""
    listed = rows("settings.md", 4)

    assert sorted(listed) == sorted(VARIABLES)
    assert {name: cells[0] for name, cells in listed.items()} == {n: default_of(v) for n, v in VARIABLES.items()}
    assert [name for name, cells in listed.items() if (cells[1] == "ends the start") != VARIABLES[name].fatal] == []


def test_every_switch_that_is_listed_may_be_on() -> None:
    """None ends the start as something that is not there; IPv6 wants its companions (INIT-13)."""
    together = {"ENABLE_IPv6": {"ENABLE_IPv4": "false", "ENABLE_PREFIX_DELEGATION": "true"}}

    for name in rows("settings.md", 4):
        if VARIABLES[name].default is False:
            config = load({name: "true", **together.get(name, {})})
            assert config.check(prefix_delegation_supported=True).warnings == (), name


def test_every_quirk_is_listed_once() -> None:
    """docs/differences.md against the switches that there are."""
    listed = rows("differences.md", 4)

    assert list(listed) == [field.name for field in msgspec.structs.fields(WindowsQuirks)]


def test_every_reason_is_listed_with_its_remedy() -> None:
    """docs/no-address.md against the words that refusals, state and log print."""
    listed = rows("no-address.md", 3)

    assert listed.pop("invalid")[1].startswith("correct the request")
    assert {reason: cells[1] for reason, cells in listed.items()} == REMEDIES
    assert set(listed) < set(REASONS)


def test_a_block_may_be_pasted_whole(directory: Path) -> None:
    """examples/pod waits for a daemon that was started a moment ago, and for one that follows a killed one."""
    where = "--state-dir t --socket t/s.sock --introspection unix:t/h.sock --metrics 127.0.0.1:0"
    start = f"ipamd run {where} 2> t.log > t.out &"
    script = f"""{start}
examples/pod add web-0 t/s.sock | grep '"address"'
kill -9 $!; wait $!
{start}
examples/pod add web-0 t/s.sock | grep '"address"'
kill $!; wait $!
"""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])

    done = subprocess.run(
        ["bash", "-c", script], cwd=directory, env={"PATH": path, "HOME": str(directory)}, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip

    first, second = done.stdout.split("\n", 1)
    assert (done.returncode, first.strip()) == (0, second.strip()), done.stderr
    assert '"address": "10.0.0.' in first


def test_every_key_of_the_plugin_is_listed() -> None:
    """docs/plugin.md against what the plugin reads."""
    read = set(re.findall(r'(?:keys|runtime\)), "(\w+)"', Path(netconf.__file__).read_text())) | {"rpcDeadlineSeconds"}

    assert read - set(rows("plugin.md", 3)) == set()
    assert {"dryRun", "ipamdAddress", "mtu", "prevResult"} <= read


def test_the_example_of_a_network_configuration_is_one() -> None:
    """examples/10-aws.conflist, as the runtime passes it on to the plugin."""
    conflist = msgspec.json.decode((ROOT / "examples" / "10-aws.conflist").read_bytes())
    plugin = {"cniVersion": conflist["cniVersion"], **conflist["plugins"][0]}

    config = netconf.load(netconf.read_header(msgspec.json.encode(plugin)))

    assert (config.name, config.dry_run) == ("aws-cni", True)
    assert config.ipamd.words == "unix /var/run/aws-node/ipamd.sock"


def test_examples_are_named_in_a_page() -> None:
    """What lies in examples/ is explained somewhere."""
    prose = "\n".join(map(text_of, PAGES))

    assert [path.name for path in sorted((ROOT / "examples").iterdir()) if path.name not in prose] == []
