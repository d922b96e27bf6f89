"""Rules of the repository that a machine can check. Each failure names the file, the line and the remedy.

Imports are also checked by the contracts in pyproject.toml; here stand the rules that need a list of what is
allowed, or that speak of libraries which are not installed everywhere.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CODE = ("ipamd", "cni_plugin", "tests", "demo", "proto")
GENERATED = ROOT / "ipamd" / "rpc"
LINES_MAX = 400

CORE_MAY_IMPORT = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "hashlib",
    "heapq",
    "math",
    "msgspec",
    "typing",
    "re",
    "zlib",
}

# library -> the modules that may import it; a room is named by its package
ROOMS_OF_LIBRARIES = {
    "aiohttp": ("ipamd.server", "ipamd.k8s", "ipamd.ec2", "ipamd.runtime"),
    "boto3": ("ipamd.ec2",),
    "botocore": ("ipamd.ec2",),
    "grpc": ("ipamd.server", "ipamd.rpc"),
    "grpc_health": ("ipamd.server",),
    "grpc_reflection": ("ipamd.server",),
    "h2": ("cni_plugin",),
    "PIL": ("ipamd.ec2.subnets", "ipamd.sim.plots_png"),
    "lightkube": ("ipamd.k8s",),
    "moto": ("ipamd.ec2.moto_plugin", "ipamd.ec2.vcpu_source"),
    "prometheus_client": ("ipamd.server",),
    "werkzeug": ("ipamd.ec2.moto_plugin",),
    "yaml": ("ipamd.sim",),
}

# Written in two parts so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|NotImplemented" + r"Error)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(home/[a-z]\w*|Users/\w+|ro" + r"ot|wo" + r"rk)/[\w.]")
DOCUMENT = re.compile(r"(?<![\w/.-])[\w./-]*\w\.md\b")
REQUIREMENT = re.compile(
    r'(?:requires = \[|  )"'  # the only two places where pyproject.toml lists requirements
    r'([A-Za-z][\w-]*(?:\[\w+\])?[<>=!~].*?)"\]?,?'  # name, extra, bounds
    r"(?:\s+#\s*(.*))?$"  # why
)
VAGUE_NAMES = {"data", "helper", "helpers", "manager", "misc", "process", "util", "utils"}


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of ours, in order; generated modules, the licence and what make writes are left out."""
    top = [p for p in ROOT.iterdir() if p.is_file() and p.name not in {"LICENSE", ".git"}]
    below = [
        p
        for room in (*CODE, "deploy", "docs", ".ci")
        for p in (ROOT / room).rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and GENERATED not in p.parents
    ]
    for path in sorted(top + below):
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue  # an image


def modules(*rooms: str) -> Iterator[tuple[Path, str]]:
    """The Python modules among `texts`, of the named rooms or of all."""
    for path, text in texts():
        if path.suffix == ".py" and (not rooms or path.relative_to(ROOT).parts[0] in rooms):
            yield path, text


def lines_matching(pattern: re.Pattern[str], *suffixes: str) -> list[str]:
    """`file:line: text` of every line that the pattern is found in."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        if not suffixes or path.suffix in suffixes
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def imports(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """(line, full name of the module) of every import, relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join((*base, *([node.module] if node.module else [])))


def dotted(path: Path) -> str:
    """`ipamd.core.types` for ipamd/core/types.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def requirement_lines() -> list[tuple[str, str]]:
    """(requirement, comment) of every dependency line of pyproject.toml, the build requirements included."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    return [(listed[1], listed[2] or "") for line in lines if (listed := REQUIREMENT.match(line))]


def project() -> dict[str, list[str]]:
    """The dependencies that pyproject.toml declares: the project's, the build's and each extra's."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {
        "build": table["build-system"]["requires"],
        "run": table["project"]["dependencies"],
        **table["project"]["optional-dependencies"],
    }


def test_modules_stay_short() -> None:
    """A module of more than 400 lines answers more than one question: divide it."""
    long = [f"{dotted(p)}: {n} lines" for p, t in modules() if (n := len(t.splitlines())) > LINES_MAX]

    assert long == []


def test_nothing_is_left_for_later() -> None:
    """No notes to ourselves and no stubs: what is there works, what is not there is not mentioned."""
    assert lines_matching(UNFINISHED) == []


def test_no_path_of_one_machine_is_written_down() -> None:
    """Paths are found from the file itself, from settings or from the temporary directory."""
    assert lines_matching(MACHINE_PATH) == []


def test_documents_that_are_named_exist() -> None:
    """A document named in code or prose is one of ours, so that a reader can open it; others need a URL."""
    known = {p.name for p, _ in texts()}

    missing = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts()
        for name in DOCUMENT.findall(re.sub(r"https?://\S+", "", text))
        if name.rsplit("/", 1)[-1] not in known
    ]

    assert missing == []


def test_modules_are_named_after_a_thing() -> None:
    """A name that fits everything says nothing."""
    vague = [dotted(p) for p, _ in modules() if VAGUE_NAMES & set(re.split(r"_", p.stem))]

    assert vague == []


def test_modules_say_what_they_are_for() -> None:
    """A module begins with a docstring, unless it is empty."""
    silent = [dotted(p) for p, t in modules() if t.strip() and not ast.get_docstring(ast.parse(t))]

    assert silent == []


def test_tests_say_in_a_sentence_what_they_show_and_assert_it() -> None:
    """Each test has a docstring and an assertion, its own or that of something called check or expect."""
    findings = []
    for path, text in modules("tests"):
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("test_"):
                continue
            if not ast.get_docstring(node):
                findings.append(f"{dotted(path)}.{node.name}: no docstring")
            if not re.search(r"\bassert\b|raises\(|check|expect", "\n".join(map(ast.unparse, node.body[1:]))):
                findings.append(f"{dotted(path)}.{node.name}: asserts nothing")

    assert findings == []


def test_core_imports_only_what_is_pure() -> None:
    """What could make two runs differ stays out of the core: clocks, chance, files, other libraries."""
    foreign = [
        f"{dotted(path)}:{line}: {name}"
        for path, text in modules("ipamd")
        if dotted(path).startswith("ipamd.core")
        for line, name in imports(path, text)
        if name.split(".")[0] not in CORE_MAY_IMPORT and not f"{name}.".startswith("ipamd.core.")
    ]

    assert foreign == []


@pytest.mark.parametrize("library", sorted(ROOMS_OF_LIBRARIES))
def test_library_is_imported_in_its_rooms_only(library: str) -> None:
    """One room knows a library, the others know the room's own words."""
    rooms = ROOMS_OF_LIBRARIES[library]

    elsewhere = [
        f"{dotted(path)}:{line}: {name}"
        for path, text in modules("ipamd", "cni_plugin")
        for line, name in imports(path, text)
        if name.split(".")[0] == library and not f"{dotted(path)}.".startswith(tuple(f"{r}." for r in rooms))
    ]

    assert elsewhere == []


@pytest.mark.parametrize("package", ["ipamd", "ipamd/rpc"])
def test_package_that_the_plugin_loads_is_empty(package: str) -> None:
    """The plugin imports ipamd.rpc.rpc_pb2 for each pod: anything in these two files would cost each pod."""
    assert (ROOT / package / "__init__.py").read_text() == ""


def test_only_the_command_line_prints() -> None:
    """The daemon's standard output is its ready line; everything else is a log record or an answer."""
    printing = [
        f"{dotted(path)}:{node.lineno}"
        for path, text in modules("ipamd")
        if not dotted(path).startswith("ipamd.cli")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert printing == []


def test_every_dependency_is_bounded_on_both_sides_and_says_why() -> None:
    """An unbounded dependency breaks a fresh clone some day; one without a reason stays for ever."""
    findings = []
    for text, comment in requirement_lines():
        operators = {specifier.operator for specifier in Requirement(text).specifier}
        if operators != {">=", "<"}:
            findings.append(f"{text}: want >=x,<y")
        if not comment:
            findings.append(f"{text}: want a comment in the same line that says what it is for")

    declared = [r for listed in project().values() for r in listed if not r.startswith("ipamd-emulator")]
    assert findings == []
    assert sorted(text for text, _ in requirement_lines()) == sorted(declared)


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    """constraints.txt makes the environment repeatable: one version of each dependency, an allowed one."""
    lines = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in lines}

    wanted = [Requirement(text) for text, _ in requirement_lines()]
    outside = [str(r) for r in wanted if not r.specifier.contains(pinned.get(canonicalize_name(r.name), "0"))]

    assert outside == []
    assert [str(r) for r in lines if {s.operator for s in r.specifier} != {"=="}] == []


def test_ci_runs_the_commands_of_a_developer() -> None:
    """What CI checks can be checked before, with the same two words."""
    script = ROOT / ".ci" / "run"
    commands = script.read_text().splitlines()

    assert script.stat().st_mode & 0o111
    assert {"make lint", "make test"} <= set(commands)
    assert "set -euo pipefail" in commands
