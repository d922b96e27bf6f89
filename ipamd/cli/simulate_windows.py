"""`ipamd simulate --os windows`: one Windows node of a controller in virtual time, and the pool that it settles at."""

from __future__ import annotations

import argparse
import os
import shlex

from ipamd.config import ConfigError, load
from ipamd.config.variables import PARITY
from ipamd.core.settings import WindowsQuirks, windows_quirks
from ipamd.core.types import SECOND
from ipamd.core.windows_config import IPAM, complaints, raw_prefix_delegation
from ipamd.ec2.limits import UnknownInstanceType, limits_of
from ipamd.sim.engine import Sink
from ipamd.sim.windows_engine import LIMIT, QUIET, WindowsEngine
from ipamd.sim.windows_node import WindowsScenario, WindowsSettled, live, one_node, settled, since_start

from . import output

PROG = "ipamd simulate"
QUIET_SECONDS = QUIET // SECOND


def refuse_linux_options(args: argparse.Namespace) -> None:
    """What a daemon's node takes and a controller's does not. Raises `Usage`."""
    if args.retry is not None:
        raise output.Usage("--retry: a Windows pod is tried again by the controller's own delays; leave it out")
    if args.max_pods is not None:
        raise output.Usage("--max-pods: a Windows node's pool does not know it; leave it out")
    for entry in args.set:
        name = entry.partition("=")[0]
        if name != PARITY:
            advice = "--config KEY=VALUE sets a key of its ConfigMap"
            raise output.Usage(f"--set {name[:60]}: a Windows node runs no daemon that reads it; {advice}")


def scenario_of(args: argparse.Namespace) -> WindowsScenario:
    """What was asked for. Raises `Usage`."""
    refuse_linux_options(args)
    config = {IPAM: "true"}
    for entry in args.config:
        key, mark, value = entry.partition("=")
        if not mark or not key.strip():
            raise output.Usage(f'--config "{entry[:60]}": want KEY=VALUE, such as warm-ip-target=5')
        config[key.strip()] = value
    for complaint in complaints(config):
        output.complain(PROG, f"warning: {complaint}")
    try:
        limits = limits_of(args.instance_type)
    except UnknownInstanceType as error:
        raise output.Usage(str(error)) from None
    if not limits.prefixes and raw_prefix_delegation(config):
        output.complain(PROG, f"warning: {args.instance_type} carries no prefixes; its pods get secondary addresses")
    return WindowsScenario(
        instance_type=args.instance_type,
        config=config,
        pods=args.pods,
        delete=args.delete,
        all_at_once=args.all_at_once,
        quiet=int(args.settle * SECOND) if args.settle is not None else QUIET,
        subnet=args.subnet,
        latency=args.latency,
        seed=args.seed,
        quirks=_quirks(args),
    )


def _quirks(args: argparse.Namespace) -> WindowsQuirks:
    try:
        given = load(os.environ, args.set)
        return windows_quirks(given.quirks, *given.off)
    except ConfigError as error:
        raise output.Usage(str(error)) from None


def run(args: argparse.Namespace, sink: Sink | None) -> int:
    """The simulation; the exit code."""
    scenario = scenario_of(args)
    try:
        engine = one_node(scenario, sink)
    except ValueError as error:
        raise output.Usage(str(error)) from None
    with output.progress("pods") as report:
        quiet = live(scenario, engine, report)
    if not quiet:
        advice = "--journal DIR and `ipamd log show DIR` tell what goes on"
        output.complain(PROG, f"the pool still changed after {LIMIT // SECOND} virtual seconds; {advice}")
    found = settled(engine)
    if args.json:
        output.write_json(found)
    else:
        _show(scenario, engine, found, args.journal)
    return output.OK


def _show(scenario: WindowsScenario, engine: WindowsEngine, found: WindowsSettled, journal: str | None) -> None:
    out = output.console()
    gone = f", {scenario.delete} deleted" if scenario.delete else ""
    keys = " ".join(f"{key}={value}" for key, value in scenario.config.items())
    rows: list[tuple[str, object]] = [
        ("node", f"{scenario.instance_type}, Windows, in {scenario.subnet}; {scenario.pods} pods{gone}"),
        ("ConfigMap", keys),
        ("capacity advertised", found.capacity),
        ("prefixes", f"{found.prefixes} ({found.unused_prefixes} unused)"),
        ("secondary addresses", found.ips),
        ("pods with an address", found.used),
        ("assignable addresses", found.warm),
        ("cooling", found.cooling),
        ("pods that wait", _waiting(engine)),
        ("virtual time", output.span_text(int(since_start(engine.now) * SECOND))),
        ("records", engine.state.seq),
    ]
    if journal:
        rows.append(("journal", f"{journal} (try: ipamd replay {shlex.quote(journal)})"))
    out.print(output.facts(rows))
    out.print(output.table("requests to EC2", ["action", "times"], sorted(engine.requests.items())))


def _waiting(engine: WindowsEngine) -> str:
    reasons: dict[str, int] = {}
    for waiting in engine.state.windows.waiting.values():
        reasons[waiting.why] = reasons.get(waiting.why, 0) + 1
    return ", ".join(f"{count} ({why})" for why, count in reasons.items()) or "0"
