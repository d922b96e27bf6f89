"""The moto door as whoever uses it meets it: found by its address, or started as a child of this process.

A child lives as long as its parent: its standard input is a pipe that ends when the parent does, however it ends.
What it wrote on standard output first is one JSON line, which `<endpoint>/ipamd/instance.json` repeats.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from .boto_threads import Threads

CHILD: Final = "ipamd.cli.moto_child"
START_SECONDS: Final = 60.0
"""A moto server needs some seconds, a busy machine more."""
FIND_SECONDS: Final = 5.0
AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonwebservices.com.cn")


class MotoError(Exception):
    """No moto door: which one, what was found, what to do."""


class MotoLine(msgspec.Struct, frozen=True):
    """The line of `ipamd ec2 serve`: where it answers, and what it made."""

    endpoint: str
    imds: str
    region: str
    vpc_id: str
    subnet_id: str
    instance_id: str
    eni_id: str


def is_aws(endpoint: str) -> bool:
    """Whether the URL is one of AWS itself."""
    host = (urlsplit(endpoint).hostname or "").lower().rstrip(".")
    return f".{host}".endswith(AWS_HOSTS)


async def find(endpoint: str) -> MotoLine:
    """The line of a door that runs. Raises `MotoError`."""
    url = f"{endpoint.rstrip('/')}/ipamd/instance.json"
    remedy = "start one with `ipamd ec2 serve`, or name its metadata with --imds"
    try:
        timeout = aiohttp.ClientTimeout(total=FIND_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            if answer.status != 200:
                raise MotoError(f"{url}: was answered with HTTP {answer.status}; {remedy}")
            return _line(await answer.read(), url, remedy)
    except (aiohttp.ClientError, ValueError) as error:
        raise MotoError(f"{url}: cannot be reached ({error}); {remedy}") from None
    except TimeoutError:
        raise MotoError(f"{url}: no answer within {FIND_SECONDS:g} s; {remedy}") from None


class Child:
    """A moto door that belongs to this process."""

    def __init__(self, popen: subprocess.Popen[bytes], line: MotoLine) -> None:
        """Not for callers: use `start`."""
        self._popen = popen
        self.line = line

    @property
    def pid(self) -> int:
        """Its process."""
        return self._popen.pid

    def stop(self) -> None:
        """End it. What it knew is gone: it kept it in memory."""
        _end(self._popen)


async def start(words: Sequence[str], log: Path) -> Child:
    """`ipamd ec2 serve` with these words, its standard error in `log`. Raises `MotoError`."""
    try:
        popen = _spawn(words, log)
    except OSError as error:
        raise MotoError(f"{log}: {error.strerror}; the moto door could not be started") from None
    assert popen.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            text = await Threads().run(popen.stdout.readline, "moto's first line")
        if not text:
            raise MotoError(f"the moto door ended at once: {_last_line(log)}")
        return Child(popen, _line(text, "the moto door", f"see {log}"))
    except TimeoutError:
        _end(popen)
        raise MotoError(f"the moto door was not ready within {START_SECONDS:g} s; see {log}") from None
    except BaseException:
        _end(popen)
        raise


def _spawn(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", CHILD, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # ctrl-C is for the parent, which ends it in order
        )


def _line(text: bytes, where: str, remedy: str) -> MotoLine:
    try:
        return msgspec.json.decode(text, type=MotoLine)
    except msgspec.MsgspecError as error:
        raise MotoError(f"{where}: no line of `ipamd ec2 serve` ({error}); {remedy}") from None


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.kill()
    popen.wait()
    for pipe in (popen.stdin, popen.stdout):
        if pipe is not None:
            pipe.close()


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1][:400] if lines else f"it said nothing; see {log}"
