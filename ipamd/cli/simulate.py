"""`ipamd simulate`: one node in virtual time on the embedded cloud's model, and the pool that it settles at."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise

from ipamd.config import VARIABLES, Config, ConfigError, ConfigWarning, load
from ipamd.core import views
from ipamd.core.types import SECOND
from ipamd.ec2.latency import PROFILES
from ipamd.ec2.limits import UnknownInstanceType, limits_of
from ipamd.ec2.vpc import DEFAULT_SUBNET
from ipamd.journal.journal import Journal
from ipamd.sim.engine import Crashed, Engine, Sink
from ipamd.sim.kubelet import RETRY
from ipamd.sim.scenario import NO_LIMIT, Scenario, Settled, live, node
from ipamd.sim.settle import LIMIT, QUIET

from . import output, simulate_windows

PROG = "ipamd simulate"
PARITY = "UPSTREAM_PARITY"
PODS_MAX = 1_000_000
LIMIT_SECONDS = LIMIT // SECOND
ENI_COLUMNS = ("card", "device", "ENI", "prefixes", "IPs", "pods", "why it stays")
BACKOFF = RETRY / SECOND
_EPILOG = f"""\
Settled means: nothing in flight and no change for --settle virtual seconds;
a pool that still changes 600 s after the last pod came or went is reported
with "settled": false. A pod that is refused is counted and does not try again;
with --retry the kubelet makes it another sandbox so long after ({BACKOFF:g} s is
its own back-off); then "refused" counts tries, and "unserved" the pods without
an address at the end.
ec2_calls counts requests to EC2 by action, reads (Describe...) included; reads
of instance metadata are not requests to EC2.

A daemon's node takes as many pods as its instance type is listed with (11 for
t3.small) unless it is told otherwise; here there is no limit unless --max-pods
is given. With --max-pods 0 the pool never grows, as on a node without any.
Exit code: 0 the simulation ran (settled or not), 1 it failed, 2 wrong usage.

examples:
  ipamd simulate --instance-type t3.small --pods 58 \\
      --set ENABLE_PREFIX_DELEGATION=true
  ipamd simulate --os windows --instance-type c5.large --pods 12 \\
      --config enable-windows-prefix-delegation=true --config warm-ip-target=5
"""


def main(argv: list[str]) -> int:
    """Run the command; its exit code."""
    args = parser().parse_args(argv)
    return output.guarded(PROG, lambda: _simulate(args, argv))


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog=PROG,
        description="One node in virtual time: the daemon's core, pods one at a time.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--os", choices=("linux", "windows"), default="linux", help="of the node (default %(default)s)")
    made.add_argument("--instance-type", default="m5.large", metavar="T", help="default %(default)s")
    text = "pods that come (default 0)"
    made.add_argument("--pods", type=_whole, default=0, metavar="N", help=text)
    made.add_argument("--delete", type=_whole, default=0, metavar="N", help="how many of them go again; seeded choice")
    text = f"a refused pod asks again so long after; the kubelet's is {BACKOFF:g} (default: it never does)"
    made.add_argument("--retry", type=float, metavar="SECONDS", help=text)
    made.add_argument("--all-at-once", action="store_true", help="pods come, and go, in one moment; settle after all")
    text = f"default {QUIET // SECOND}, with --os windows {simulate_windows.QUIET_SECONDS}"
    made.add_argument("--settle", type=float, metavar="SECONDS", help=text)
    made.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="beats the environment")
    text = "with --os windows: one key of ConfigMap amazon-vpc-cni; enable-windows-ipam is true unless given"
    made.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "pods that the node may have (default: no limit); 0: the pool never grows"
    made.add_argument("--max-pods", type=_whole, metavar="N", help=text)
    made.add_argument("--subnet", default=DEFAULT_SUBNET, metavar="CIDR", help="default %(default)s")
    made.add_argument("--latency", choices=PROFILES, default="none", help="of EC2 (default %(default)s)")
    made.add_argument("--seed", type=_whole, default=1, metavar="N", help="ids, latencies, choices (default 1)")
    made.add_argument("--journal", metavar="DIR", help="write the records there; DIR must hold no journal yet")
    made.add_argument("--json", action="store_true", help="one line of JSON instead of tables")
    return made


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > 2**53:
        raise argparse.ArgumentTypeError(f'"{text[:40]}": want a whole number >= 0')
    return int(text)


def _simulate(args: argparse.Namespace, argv: list[str]) -> int:
    _check_counts(args)
    if args.os == "windows":
        with _recording(args.journal) as sink:
            return simulate_windows.run(args, sink)
    if args.config:
        raise output.Usage("--config: only --os windows has a ConfigMap; --set NAME=VALUE sets a daemon's variables")
    scenario, config = _scenario(args)
    with _recording(args.journal) as sink:
        try:
            engine = node(scenario, sink)
        except ValueError as error:
            raise output.Usage(str(error)) from None
        settled = lived(scenario, engine, reproduction(argv, config))
    if settled is None:
        return output.FINDING
    if not settled.settled:
        advice = "--journal DIR and `ipamd log show DIR` tell what flaps"
        output.complain(PROG, f"the pool still changed after {LIMIT_SECONDS} virtual seconds; {advice}")
    if args.json:
        output.write_json(settled)
    else:
        _show(scenario, engine, settled, args.journal)
    return output.OK


def lived(scenario: Scenario, engine: Engine, again: str) -> Settled | None:
    """What the scenario came to; None if node init failed. Whatever fails, the command to see it `again` is printed."""
    try:
        with output.progress("pods") as report:
            return live(scenario, engine, report)
    except Exception as error:
        print(f"to see it again: {again}", file=sys.stderr)
        if not isinstance(error, Crashed):
            raise
        output.complain(PROG, str(error))
        return None


def _check_counts(args: argparse.Namespace) -> None:
    """What may be asked of a node of either kind. Raises `Usage`."""
    if args.pods > PODS_MAX:
        raise output.Usage(f"--pods {args.pods}: want {PODS_MAX} at most")
    if args.delete > args.pods:
        raise output.Usage(f"--delete {args.delete}: only {args.pods} pods come; raise --pods or lower --delete")
    if args.retry is not None and not 0.1 <= args.retry <= 3600:
        raise output.Usage(f"--retry {args.retry:g}: want 0.1 to 3600 seconds")
    if args.settle is not None and not 0 < args.settle <= LIMIT_SECONDS:
        raise output.Usage(f"--settle {args.settle:g}: want more than 0 and at most {LIMIT_SECONDS} seconds")


def _scenario(args: argparse.Namespace) -> tuple[Scenario, Config]:
    """What was asked for. Raises `Usage`."""
    try:
        limits = limits_of(args.instance_type)
        config = load(os.environ, args.set)
        checked = config.check(prefix_delegation_supported=limits.prefixes)
    except (UnknownInstanceType, ConfigError) as error:
        raise output.Usage(str(error)) from None
    for warning in (*config.warnings, *checked.warnings):
        _warn(warning)
    scenario = Scenario(
        instance_type=args.instance_type,
        settings=checked.settings,
        pods=args.pods,
        delete=args.delete,
        all_at_once=args.all_at_once,
        quiet=int(args.settle * SECOND) if args.settle is not None else QUIET,
        subnet=args.subnet,
        max_pods=NO_LIMIT if args.max_pods is None else args.max_pods,
        latency=args.latency,
        seed=args.seed,
        retry=None if args.retry is None else int(args.retry * SECOND),
    )
    return scenario, config


def _warn(warning: ConfigWarning) -> None:
    output.complain(PROG, f"warning: {warning.text}")


@contextmanager
def _recording(directory: str | None) -> Iterator[Sink | None]:
    """Where records go: a fresh journal in `directory`, or nowhere. Raises `Usage` where there is one already."""
    if directory is None:
        yield None
        return
    journal = Journal.open(directory, sync=False)
    try:
        last = journal.recovery.last_seq
        if last:
            raise output.Usage(f"--journal {directory}: holds a journal of {last} records; name an empty directory")
        yield journal.stage
    finally:
        journal.close()


def reproduction(argv: list[str], config: Config, env: Mapping[str, str] = os.environ) -> str:
    """The one command that runs the same simulation anywhere: what the environment set is spelled out.

    The journal is left out: its directory is taken by now.
    """
    words = ["ipamd", "simulate"]
    given = dict(entry.split("=", 1) for entry in _values_of(argv, "--set"))
    for name in (*VARIABLES, PARITY):
        if name in env and name not in given and (name == PARITY or config.sources[name] == "environment"):
            words += ["--set", f"{name}={env[name]}"]
    skip = False
    for word in argv:
        if skip or word == "--journal" or word.startswith("--journal="):
            skip = word == "--journal" and not skip
            continue
        words.append(word)
    return shlex.join(words)


def _values_of(argv: list[str], option: str) -> list[str]:
    found = [word.removeprefix(f"{option}=") for word in argv if word.startswith(f"{option}=")]
    return found + [value for name, value in pairwise(argv) if name == option]


# ---- for people ----------------------------------------------------------------------------------------------


def _show(scenario: Scenario, engine: Engine, settled: Settled, journal: str | None) -> None:
    out = output.console()
    pool = views.pool(engine.state, engine.now)
    rows = [(eni.card, eni.device, eni.eni, eni.prefixes, eni.ips, eni.pods, eni.stays or "-") for eni in pool.enis]
    columns, cells = output.without_blank_columns(ENI_COLUMNS, rows, ("card", "prefixes", "IPs"))
    title = f"{scenario.instance_type} in {scenario.subnet}, {scenario.pods} pods"
    title = f"{title}, {scenario.delete} deleted" if scenario.delete else title
    out.print(output.table(title, columns, cells, whole=("ENI",)))
    blocks = [(eni.device, block) for eni in pool.enis for block in eni.blocks if block.prefix]
    if blocks:
        listed = [(device, block.cidr, block.pods, block.cooling) for device, block in blocks]
        columns, cells = output.without_blank_columns(("device", "prefix", "pods", "cooling"), listed, ("cooling",))
        out.print(output.table("prefixes", columns, cells))
    out.print(output.table("requests to EC2", ["action", "times"], settled.ec2_calls.items()))
    out.print(output.facts(_facts(engine, settled, journal)))


def _facts(engine: Engine, settled: Settled, journal: str | None) -> list[tuple[str, object]]:
    whole = f" ({settled.unused_prefixes} whole prefixes)" if settled.unused_prefixes else ""
    reasons = ", ".join(f"{reason} {count}" for reason, count in settled.refusals.items())
    loop = views.loop(engine.state, engine.now)
    again = isinstance(settled.unserved, int)
    rows: list[tuple[str, object]] = [
        ("addresses for pods", settled.total_ips),
        ("assigned", settled.assigned),
        ("unused", f"{settled.unused}{whole}"),
        ("refused tries" if again else "refused pods", f"{settled.refused}{f' ({reasons})' if reasons else ''}"),
        *([("pods without address", settled.unserved)] if again else []),
        ("settled", "yes" if settled.settled else "no: it flaps"),
        ("virtual time", output.span_text(int(settled.virtual_seconds * SECOND))),
        ("records", engine.state.seq),
    ]
    if loop.stopped is not None:
        rows.append(("grows no more", f"{loop.stopped.fact}; {loop.stopped.remedy}"))
    if loop.trouble:
        rows.append(("trouble", loop.trouble))
    return [*rows, ("journal", f"{journal} (try: ipamd replay {shlex.quote(journal)})")] if journal else rows
