"""`ipamd controller --scenario FILE`: a scenario of Windows nodes in virtual time, and what happened in it.

Each line is a moment in virtual seconds and what the controller's log would say then; at the end stands whether what
the file expects is so. Nothing is asked of an API server or of EC2.
"""

from __future__ import annotations

import argparse
from typing import Any

from ipamd.core.events import Record
from ipamd.core.state import State
from ipamd.narrate import Narrator
from ipamd.sim.neighbours import Refusal
from ipamd.sim.scenario_read import ScenarioError, read
from ipamd.sim.scenario_run import run
from ipamd.sim.windows_node import since_start

from . import output
from .scenario import report_of, show

LEVELS = ("debug", "info", "warn", "error")


def live(prog: str, args: argparse.Namespace) -> int:
    """Run the file of --scenario; its exit code: 0 all is as expected, 1 it is not. Raises output.Usage."""
    name = str(args.scenario)
    narrator = Narrator(State())
    lowest = LEVELS.index(args.log_level)
    happened: list[dict[str, Any]] = []

    def hear(record: Record) -> None:
        for line in narrator.lines(record):
            if LEVELS.index(line.level) < lowest:
                continue
            row = {"seconds": since_start(record.at), "seq": record.seq, "level": line.level, "msg": line.msg}
            if args.json:
                happened.append(row)
            else:
                print(f"{row['seconds']:10.3f}  {line.level:5}  {output.visible(line.msg)}")

    try:
        scenario = read(name)
        if not scenario.windows:
            raise output.Usage(f"{name}: has no Windows nodes; run it with ipamd scenario run {name}")
        ran = run(scenario, hear)
    except ScenarioError as error:
        raise output.Usage(str(error)) from None
    except Refusal as error:
        output.complain(prog, f"{name}: {error}; change the step that asks for it")
        return output.FINDING
    report = report_of(name, scenario, ran)
    if args.json:
        output.write_json({"happened": happened, "report": report})
    else:
        show(report, ran)
    return output.OK if report.met else output.FINDING
