"""`python -m tests.bench.scale`: `ipamd replay` of long journals finds a planted divergence in memory that stays flat.

Each journal has the records that `--records` says and, nine tenths in, one whose recorded event is not what its cause
decides. Printed: what replay said, how long it took, and the most memory that its process held.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from ipamd.core import snapshot
from ipamd.core.events import AddressAssigned, Record
from ipamd.core.evolve import fold
from ipamd.core.state import State
from ipamd.core.types import Pod
from ipamd.journal.journal import Journal

from .churn import write_history

SNAPSHOTS = 200
"""As many as a daemon leaves in a million records."""


def main(argv: list[str] | None = None) -> int:
    """Write, replay, print; exit code 1 if the divergence was not found where it is."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    parser.add_argument("--records", type=int, action="append", metavar="N", help="default 100000 and 1000000")
    args = parser.parse_args(argv)
    right = True
    for records in args.records or (100_000, 1_000_000):
        with tempfile.TemporaryDirectory() as place:
            planted = write(Path(place), records)
            told, seconds, megabytes = replayed(Path(place))
        found = (told.get("divergence") or {}).get("seq")
        right = right and found == planted
        size = f"{seconds:.1f} s, {megabytes:.1f} MiB"
        print(f"{records:>9,} records: planted {planted}, found {found}, {size}", flush=True)
    return 0 if right else 1


def write(directory: Path, records: int) -> int:
    """A journal with one record that its cause does not explain; which one that is."""
    journal = Journal.open(directory, sync=False)
    state = State()
    planted = 0

    def keep(record: Record) -> None:
        nonlocal planted
        written = record
        if not planted and record.seq > records * 9 // 10 and isinstance(record.events[0], AddressAssigned):
            planted = record.seq
            other = msgspec.structs.replace(record.events[0], pod=Pod("planted", "divergence"))
            written = msgspec.structs.replace(record, events=(other, *record.events[1:]))
        journal.stage(written)
        fold(state, record)
        if not planted and record.seq % max(records // SNAPSHOTS, 1) == 0:
            journal.snapshot_now(record.seq, record.at, snapshot.encode(state))

    try:
        write_history(records, keep)
    finally:
        journal.close()
    return planted


def replayed(directory: Path) -> tuple[dict[str, dict[str, int]], float, float]:
    """What `ipamd replay --json` printed, its seconds, and its peak of memory in MiB."""
    command = [sys.executable, "-m", "ipamd", "replay", str(directory), "--json"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    return msgspec.json.decode(printed, type=dict), time.monotonic() - began, usage.ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
