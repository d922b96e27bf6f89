"""Instance metadata over HTTP: the service that an instance finds at 169.254.169.254, here on 127.0.0.1.

Version 1 (plain GET) and version 2 (a token first) are served. Which of a cloud's instances a request is about:

    GET /latest/meta-data/mac                                  the first instance
    GET /i-0123456789abcdef0/latest/meta-data/mac              the one of the path
    GET /latest/meta-data/mac   X-Ipamd-Instance: i-0123...    the one of the header

The path form suits SDKs: AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:PORT/i-0123456789abcdef0. Tokens carry
their own end and seal, so none is stored. Hop limits are not kept: there is no network between.

What is shown is a `Tree`; EC2-35..37 name the paths that ipamd reads.
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Tree: TypeAlias = Mapping[str, "str | Tree"]
"""A directory of instance metadata: a name leads to a text or to another directory."""

TTL_HEADER: Final = "X-aws-ec2-metadata-token-ttl-seconds"
TTL_MAX: Final = 21_600
"""Longest life of a token: six hours."""
INSTANCE_HEADER: Final = "X-Ipamd-Instance"
_INSTANCE: Final = re.compile(r"/(i-[0-9a-f]{1,40})(/.*|)\Z")
_VERSION: Final = re.compile(r"(latest|\d{4}-\d\d-\d\d)\Z")
_PHRASES: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
                   405: "Method Not Allowed", 503: "Service Unavailable"}  # fmt: skip


class Unavailable(Exception):
    """Instance metadata has no answer just now."""


class Metadata(Protocol):
    """What there is to serve."""

    def tree(self, instance: str) -> Tree | None:
        """Everything below `/latest` of one instance (the first one for ""); None: there is no such instance.

        Raises `Unavailable`.
        """
        ...

    def enabled(self, instance: str) -> bool:
        """Whether the instance's metadata is switched on."""
        ...

    def token_required(self, instance: str) -> bool:
        """Whether only version 2 is answered."""
        ...


class ImdsApp:
    """A WSGI application that serves one cloud's instance metadata."""

    def __init__(self, metadata: Metadata, seconds: Callable[[], float]) -> None:
        """`seconds` is a clock that never runs back; tokens end by it."""
        self._metadata = metadata
        self._seconds = seconds
        self._seal = secrets.token_bytes(32)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, body, more = self._answer(environ)
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Server", "EC2ws"), *more]
        start_response(f"{status} {_PHRASES[status]}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: WSGIEnvironment) -> tuple[int, bytes, list[tuple[str, str]]]:
        path, instance = environ.get("PATH_INFO", ""), environ.get("HTTP_X_IPAMD_INSTANCE", "")
        prefixed = _INSTANCE.match(path)
        if prefixed:
            instance, path = prefixed[1], prefixed[2]
        try:
            tree = self._metadata.tree(instance)
        except Unavailable:
            return _problem(503)
        if tree is None:
            return _problem(404)
        if not self._metadata.enabled(instance):
            return _problem(403)
        words = [word for word in path.split("/") if word]
        if words[1:] == ["api", "token"] and _VERSION.match(words[0]):
            return self._token(environ, instance)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _problem(405)
        given = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN")
        if not self._valid(given, instance) if given is not None else self._metadata.token_required(instance):
            return _problem(401)
        found = _found(tree, words)
        return _problem(404) if found is None else (200, found.encode(), [])

    def _token(self, environ: WSGIEnvironment, instance: str) -> tuple[int, bytes, list[tuple[str, str]]]:
        if environ["REQUEST_METHOD"] != "PUT":
            return _problem(405)
        if "HTTP_X_FORWARDED_FOR" in environ:
            return _problem(403)
        asked = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS", "")
        if not (asked.isascii() and asked.isdigit() and len(asked) < 9 and 1 <= int(asked) <= TTL_MAX):
            return _problem(400)
        end = f"{self._seconds() + int(asked):.3f}"
        token = urlsafe_b64encode(self._sealed(end, instance) + end.encode()).decode()
        return 200, token.encode(), [(TTL_HEADER, str(int(asked)))]

    def _valid(self, token: str, instance: str) -> bool:
        try:
            opened = urlsafe_b64decode(token.encode("ascii"))
            end = opened[32:].decode("ascii")
            return hmac.compare_digest(opened[:32], self._sealed(end, instance)) and self._seconds() < float(end)
        except ValueError:
            return False

    def _sealed(self, end: str, instance: str) -> bytes:
        return hmac.digest(self._seal, f"{instance} {end}".encode(), "sha256")


def _found(tree: Tree, words: list[str]) -> str | None:
    """A text, or the names of a directory, those of directories with a slash; None: there is nothing."""
    if words and not _VERSION.match(words[0]):
        return None
    here: str | Tree = tree if words else {"latest": tree}
    for word in words[1:]:
        if isinstance(here, str) or word not in here:
            return None
        here = here[word]
    if isinstance(here, str):
        return here
    return "\n".join(name if isinstance(below, str) else f"{name}/" for name, below in here.items())


def _problem(status: int) -> tuple[int, bytes, list[tuple[str, str]]]:
    return status, f"{status} - {_PHRASES[status]}\n".encode(), []
