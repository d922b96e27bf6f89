"""`ipamd why`: why a pod got no address, why something was not freed, and where a pod's wait went."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from ipamd.core.types import Instant
from ipamd.journal.reading import bounds, seq_at
from ipamd.sim.why import SEVERAL, WhyNoIp, refusal_at, why_no_ip
from ipamd.sim.why_held import NotFreed, UnknownThing, why_not_freed
from ipamd.sim.why_pod import NoSuchPod, PodStory, why_pod

from . import output
from .output import span_text, time_text

PROG: Final = "ipamd why"
_BAR: Final = 40
_EPILOG: Final = """\
no-ip lives the minutes before a refusal again, by the same code and on a model
of EC2, once without each suspect that the journal shows: the one without which
the pod would have had an address is the cause. Then settings are tried, small
changes first. Numbers in brackets are records: ipamd log show JOURNAL --since N
JOURNAL is a state directory, a journal directory or a journal file.
Exit code: 0 ok, 1 the journal is damaged, 2 wrong usage, or nothing to explain.

examples: ipamd why no-ip /var/lib/ipamd --at 10m
          ipamd why not-freed eni-0123456789abcdef0 /var/lib/ipamd
          ipamd why default/web-0 /var/lib/ipamd
"""
_WORDS: Final = {"no-ip": "no-ip", "not-freed": "not-freed", "why-not-freed": "not-freed", "pod": "pod"}


def main(argv: list[str]) -> int:
    """Run the command; its exit code. A first word that is no question is a pod."""
    words = list(argv)
    if words and not words[0].startswith("-"):
        words[:1] = [_WORDS[words[0]]] if words[0] in _WORDS else ["pod", words[0]]
    args = parser().parse_args(words)
    run: Callable[[argparse.Namespace], int] = args.run
    return output.guarded(PROG, lambda: run(args))


def parser() -> argparse.ArgumentParser:
    """The options of the three questions."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=PROG, description="Ask a journal why.", epilog=_EPILOG, formatter_class=raw)
    questions = made.add_subparsers(dest="question", required=True, metavar="no-ip|not-freed|POD")
    no_ip = questions.add_parser("no-ip", help="why was a pod refused an address")
    no_ip.add_argument("--pod", default="", metavar="[NAMESPACE/]NAME", help="the newest refusal of this pod")
    no_ip.add_argument("--quick", action="store_true", help="name the cause; try no other settings")
    no_ip.set_defaults(run=_no_ip)
    freed_ = questions.add_parser("not-freed", help="what holds an ENI, a prefix or an address")
    freed_.add_argument("thing", metavar="ENI|PREFIX|IP")
    freed_.set_defaults(run=_not_freed)
    pod = questions.add_parser("pod", help="where a pod's wait for its address went")
    pod.add_argument("pod", metavar="[NAMESPACE/]NAME")
    pod.set_defaults(run=_pod)
    for question in (no_ip, freed_, pod):
        question.add_argument("journal", metavar="JOURNAL")
        question.add_argument("--at", metavar="SEQ|TIME|AGE", help="as of this record or moment (default: the newest)")
        question.add_argument("--json", action="store_true", help="one line of JSON")
    return made


def _moment(args: argparse.Namespace) -> tuple[int | None, Instant | None]:
    """The newest record that counts (None: all), and the moment asked for. Raises `Usage`."""
    if args.at is None:
        return None, None
    kept = bounds(args.journal)
    moment = output.moment(args.at).since(kept.last_at)
    if moment.seq is not None:
        if not kept.first_seq <= moment.seq <= kept.last_seq:
            raise output.Usage(f"--at {moment.seq}: want a record from {kept.first_seq} to {kept.last_seq}")
        return moment.seq, None
    assert moment.at is not None
    return seq_at(args.journal, moment.at), moment.at


def _warn(text: str) -> None:
    output.complain(PROG, f"warning: {text}")


def _no_ip(args: argparse.Namespace) -> int:
    seq, _ = _moment(args)
    with output.progress("records") as report:
        told = why_no_ip(args.journal, refusal_at(args.journal, seq, args.pod), report, _warn, search=not args.quick)
    if args.json:
        output.write_json(told)
    else:
        _tell_no_ip(told)
    return output.OK


def _not_freed(args: argparse.Namespace) -> int:
    seq, at = _moment(args)
    try:
        with output.progress("records") as report:
            told = why_not_freed(args.journal, args.thing, seq, at, report, _warn)
    except UnknownThing as error:
        raise output.Usage(str(error)) from None
    if args.json:
        output.write_json(told)
    else:
        _tell_not_freed(told)
    return output.OK


def _pod(args: argparse.Namespace) -> int:
    seq, _ = _moment(args)
    try:
        with output.progress("records") as report:
            told = why_pod(args.journal, args.pod, seq, report, _warn)
    except NoSuchPod as error:
        raise output.Usage(str(error)) from None
    if args.json:
        output.write_json(told)
    else:
        _tell_pod(told)
    return output.OK


# ---- for people ----------------------------------------------------------------------------------------------


def _cited(seqs: tuple[int, ...]) -> str:
    if not seqs:
        return ""
    shown = ", ".join(map(str, seqs[:6]))
    return f" [{shown}{f' and {len(seqs) - 6} more' if len(seqs) > 6 else ''}]"


def _tell_no_ip(told: WhyNoIp) -> None:
    nth = f", its try number {told.tries}" if told.tries > 1 else ""
    rows: list[tuple[str, object]] = [
        ("refused", f"{told.pod} at {time_text(told.at)} [{told.refusal}]{nth}"),
        ("cause", told.reason),
    ]
    for cause in told.causes:
        how = "" if cause.alone else " (together with the others)"
        name = f"  {cause.reason}" if told.reason == SEVERAL else ""
        rows.append((name, f"{cause.fact}{_cited(cause.seqs)}{how}; {cause.remedy}"))
    rows.append(("the daemon said", f"{told.said}: {told.fact}"))
    if not told.control:
        rows.append(("but", "lived again unchanged the pod gets an address: the model is not near enough to be sure"))
    elif told.tried:
        no = ", ".join(each.change for each in told.tried if not each.grants)
        rows.append(("shortest change", told.shortest or "none of those tried"))
        if no:
            rows.append(("tried in vain", no))
    output.console().print(output.facts(rows))


def _tell_not_freed(told: NotFreed) -> None:
    rows: list[tuple[str, object]] = [
        (told.kind, told.thing),
        ("held by", told.rule),
        ("", f"{told.fact}{_cited(told.seqs)}"),
        ("as of", f"{time_text(told.at)}: record {told.seq}"),
    ]
    if told.until:
        rows.append(("until", time_text(told.until)))
    output.console().print(output.facts(rows))


def _tell_pod(told: PodStory) -> None:
    out = output.console()
    ended = f"{told.address} [{told.granted_seq}]" if told.granted_seq else "none yet"
    rows: list[tuple[str, object]] = [("pod", told.pod), ("address", ended), ("waited", span_text(told.wait))]
    if told.released_seq:
        rows.append(("released", f"[{told.released_seq}]"))
    if told.arrivals > 1:
        rows.append(("came", f"{told.arrivals} times; this is the newest"))
    out.print(output.facts(rows))
    refused = [(each.seq, time_text(each.at), each.reason or "granted") for each in told.tries]
    out.print(output.table("tries", ("record", "at", "answer"), refused))
    begin = told.tries[0].at
    spans = [
        (span.stage, span_text(span.end - span.begin), _bar(span.begin - begin, span.end - begin, told.wait), span.what,
         "..".join(map(str, dict.fromkeys(span.seqs))))
        for span in told.spans
    ]  # fmt: skip
    out.print(output.table("waterfall", ("stage", "for", "when", "what", "records"), spans))


def _bar(begin: int, end: int, whole: int) -> str:
    first = begin * _BAR // whole if whole else 0
    last = max(end * _BAR // whole if whole else 0, first + 1)
    return " " * first + "#" * (last - first)
