"""`ipamd ec2 serve` as a process of its own, boto3 clients of it, and its instance metadata over HTTP."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

PATIENCE = 60
VPC_CIDR = "10.0.0.0/16"
MACS = "latest/meta-data/network/interfaces/macs/"


class Served:
    """A running door: its ready line, and ways to talk to it."""

    def __init__(self, process: subprocess.Popen[str], line: str) -> None:
        self.process = process
        self.text = line
        self.line: dict[str, str] = json.loads(line)

    def client(self, service: str = "ec2", region: str = "", **options: Any) -> Any:
        """A boto3 client that repeats nothing unless told to."""
        config = Config(**{"retries": {"total_max_attempts": 1}, "read_timeout": PATIENCE, **options})
        return boto3.client(
            service,
            endpoint_url=self.line["endpoint"],
            region_name=region or self.line["region"],
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=config,
        )

    def metadata(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and text of one request to instance metadata; underscores in header names stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return http(f"{self.line['imds']}/{path}", method, named)


def http(
    url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, str]:
    """Status and text of one HTTP request."""
    try:
        with urlopen(Request(url, method=method, headers=headers or {}, data=body), timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def serving(*words: str) -> Iterator[Served]:
    """`ipamd ec2 serve` with any ports, until the block ends."""
    command = [sys.executable, "-m", "ipamd", "ec2", "serve", "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    try:
        line = process.stdout.readline()
        if not line:
            process.wait(PATIENCE)
            raise AssertionError(f"exit code {process.returncode}: {process.stderr.read()}")
        yield Served(process, line)
    finally:
        process.kill()
        process.communicate()


def refused(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    """EC2's code and message of a call that must not succeed."""
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]
