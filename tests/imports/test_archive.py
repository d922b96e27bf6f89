"""Inputs are not trusted: what is hostile is refused by name and size, whatever else lies beside it."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from ipamd.imports import Bounds, Refused, listen

LINE = b'{"level":"info","ts":"2026-01-01T00:00:00.000Z","caller":"x","msg":"Starting L-IPAMD v1.20.0  ..."}\n'


def bundle(where: Path, *members: tarfile.TarInfo, content: bytes = b"") -> Path:
    """A tar.gz with a log and these members."""
    path = where / "eks_i-0123456789abcdef0_2026-01-01_0000-UTC_0.7.9.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        log = tarfile.TarInfo("./var_log/aws-routed-eni/ipamd.log")
        log.size = len(LINE)
        tar.addfile(log, io.BytesIO(LINE))
        for member in members:
            member.size = len(content) if member.isfile() else 0
            tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member of a kind."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    "hostile, why",
    [
        (member("../../etc/cron.d/x"), "leads out of the archive"),
        (member("/etc/passwd"), "leads out of the archive"),
        (member("a\\..\\..\\b"), "leads out of the archive"),
        (member("ipamd.log", tarfile.SYMTYPE, "/etc/shadow"), "a link (to /etc/shadow)"),
        (member("ipamd.log", tarfile.LNKTYPE, "other"), "a link (to other)"),
        (member("fifo", tarfile.FIFOTYPE), "neither a file nor a directory"),
        (member("disk", tarfile.BLKTYPE), "neither a file nor a directory"),
    ],
    ids=["up", "absolute", "backslash", "symlink", "hardlink", "fifo", "device"],
)
def test_hostile_members_are_refused(hostile: tarfile.TarInfo, why: str, tmp_path: Path) -> None:
    """The whole archive is; or, if asked for, only the member, which is then reported."""
    path = bundle(tmp_path, hostile, content=b"evil")

    with pytest.raises(Refused) as refused:
        listen([path])
    found = listen([path], skip_refused=True)

    assert why in str(refused.value) and hostile.name in str(refused.value) and "bytes)" in str(refused.value)
    assert (len(found.report.refused), found.report.understood) == (1, 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]


def test_a_bomb_is_refused_while_it_unpacks(tmp_path: Path) -> None:
    """66 MB of zeros in some 70 kB: the ratio is noticed after 64 MiB, as a log or as a member."""
    (tmp_path / "ipamd.log.gz").write_bytes(gzip.compress((b" " * 1023 + b"\n") * (66 << 10), 1))

    with pytest.raises(Refused, match=r"ipamd\.log\.gz \(\d+ bytes\): unpacks to more than \d+ times its \d+ bytes"):
        listen([tmp_path / "ipamd.log.gz"], Bounds(ratio_max=50))


def test_more_than_the_bound_is_refused(tmp_path: Path) -> None:
    """All inputs count together."""
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(LINE * 1000)

    with pytest.raises(Refused, match="the inputs unpack to more than 150000 bytes; see --max-bytes"):
        listen([tmp_path / "a.log", tmp_path / "b.log"], Bounds(size_max=150_000))


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    """It is never held whole: 16 MiB are enough to know."""
    (tmp_path / "ipamd.log").write_bytes(LINE + b"x" * (17 << 20))

    with pytest.raises(Refused, match=r"ipamd\.log \(16777216 bytes\): line 2 is longer than 16777216 bytes"):
        listen([tmp_path / "ipamd.log"])


def test_a_header_that_would_fill_memory_is_refused(tmp_path: Path) -> None:
    """A PAX header claims 4 GiB; tarfile would read it whole."""
    claim = member("pax", tarfile.XHDTYPE)
    claim.size = 4 << 30
    (tmp_path / "evil.tar").write_bytes(claim.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 1024)

    with pytest.raises(Refused, match=r"pax \(4294967296 bytes\): a header of more than"):
        listen([tmp_path / "evil.tar"])


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_cut_archive_gives_what_it_has(keep: float, tmp_path: Path) -> None:
    """Damage is told, not refused."""
    whole = gzip.compress(LINE * 20_000)
    (tmp_path / "ipamd.log.gz").write_bytes(whole[: int(len(whole) * keep)])

    report = listen([tmp_path / "ipamd.log.gz"]).report

    assert report.understood > 100
    assert report.files[0].damage.startswith("cut or damaged") and not report.sound


def test_a_pipe_by_name_is_refused_at_once(tmp_path: Path) -> None:
    """Opening it would wait for a writer that never comes."""
    pipe = tmp_path / "ipamd.log"
    os.mkfifo(pipe)

    with pytest.raises(Refused, match="neither a file nor a directory"):
        listen([pipe])
