"""`ipamd scenario`: runs a scenario file and says whether what it expects is so, or lists those that come along."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from ipamd.sim.fleet_view import Facts, differences
from ipamd.sim.neighbours import Refusal
from ipamd.sim.scenario_file import ScenarioFile
from ipamd.sim.scenario_read import ScenarioError, read, shipped
from ipamd.sim.scenario_run import Ran, run

from . import output

PROG = "ipamd scenario"
_EPILOG = """\
NAME is one of `ipamd scenario list`, FILE a YAML file (with a dot or a slash in its name); docs/scenarios.md tells
what there may be in it. Exit code: 0 everything is as expected, 1 it is not (expected and actual are shown by key),
or it failed, 2 wrong usage: no such scenario, or the file is none.

example: ipamd scenario run fragmented-subnet
"""


class Unmet(msgspec.Struct, frozen=True):
    """One member that is not as expected: which `expect` of the file, the key in it, and both values."""

    at: str
    key: str
    expected: object
    actual: object


class Report(msgspec.Struct, frozen=True):
    """What `--json` prints; `facts` is all that can be said of the end."""

    scenario: str
    title: str
    rows: tuple[str, ...]
    met: bool
    unmet: tuple[Unmet, ...]
    facts: Facts


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _list(args.json) if args.command == "list" else _run(args.scenario, args.json))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="Several nodes in one subnet in virtual time: what befalls them, and what should be so then.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="{run,list}")
    running = commands.add_parser("run", help="run one and compare")
    running.add_argument("scenario", metavar="NAME|FILE", help="a scenario that comes along, or a YAML file")
    listing = commands.add_parser("list", help="the scenarios that come along")
    for sub in (running, listing):
        sub.add_argument("--json", action="store_true", help="one line of JSON instead of text")
    return made


def _run(name: str, as_json: bool) -> int:
    try:
        scenario = read(name)
        with output.progress("scenario"):
            ran = run(scenario)
    except ScenarioError as error:
        raise output.Usage(str(error)) from None
    except Refusal as error:
        output.complain(PROG, f"{name}: {error}; change the step that asks for it")
        return output.FINDING
    report = report_of(name, scenario, ran)
    if as_json:
        output.write_json(report)
    else:
        show(report, ran)
    return output.OK if report.met else output.FINDING


def report_of(name: str, scenario: ScenarioFile, ran: Ran) -> Report:
    """What is said of a scenario that was run."""
    unmet = tuple(
        Unmet(point.at, finding.key, finding.expected, finding.actual)
        for point in ran.points
        for finding in differences(point.expected, point.facts)
    )
    return Report(name, scenario.title, scenario.rows, not unmet, unmet, ran.points[-1].facts)


def _list(as_json: bool) -> int:
    known = [(name, read(name)) for name in shipped()]
    if as_json:
        output.write_json([{"scenario": name, "title": s.title, "rows": s.rows} for name, s in known])
        return output.OK
    rows = [(name, scenario.title, " ".join(scenario.rows)) for name, scenario in known]
    output.console().print(output.table("scenarios", ["name", "what it shows", "rows"], rows))
    return output.OK


def show(report: Report, ran: Ran) -> None:
    """The end of a scenario for people: what is not as expected, or that all is."""
    out = output.console()
    if report.title:
        out.print(output.visible(report.title))
    if report.unmet:
        rows = [(u.at, u.key, _text(u.expected), _text(u.actual)) for u in report.unmet]
        out.print(output.table("not as expected", ["where", "key", "expected", "actual"], rows))
        return
    count = sum(_leaves(msgspec.to_builtins(point.expected)) for point in ran.points)
    out.print(f"met: {count} expectations after {report.facts.seconds:g} virtual seconds")


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _leaves(value: object) -> int:
    return sum(map(_leaves, value.values())) if isinstance(value, dict) else 1
