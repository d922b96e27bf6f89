"""Why a request is refused, as the Status object that clients of Kubernetes decode. The texts are the server's."""

from __future__ import annotations

from typing import Any, Final

from .catalog import Kind, Object

STALE: Final = "the object has been modified; please apply your changes to the latest version and try again"


class Refusal(Exception):
    """A request that is not done; `status` is the body of the answer and `code` its HTTP status."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.continued = ""
        """A continue token that still works, where an old one is refused."""

    @property
    def status(self) -> Object:
        """The Status object."""
        made: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continued} if self.continued else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            made["reason"] = self.reason
        if self.details:
            made["details"] = self.details
        return {**made, "code": self.code}


def _details(kind: Kind, name: str) -> Object:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}


def not_found(kind: Kind, name: str) -> Refusal:
    """404."""
    return Refusal(404, "NotFound", f'{kind.resource} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> Refusal:
    """409 of a create."""
    return Refusal(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = STALE) -> Refusal:
    """409 of a write that is based upon an older version, or upon another object of the name."""
    text = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return Refusal(409, "Conflict", text, _details(kind, name))


def bad_request(message: str) -> Refusal:
    """400."""
    return Refusal(400, "BadRequest", message)


def forbidden(kind: Kind, name: str, why: str, causes: list[Object] | None = None) -> Refusal:
    """403."""
    details = _details(kind, name)
    if causes:
        details["causes"] = causes
    return Refusal(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', details)


def invalid(kind: Kind, name: str, *found: tuple[str, str, str]) -> Refusal:
    """422; each finding is (reason such as FieldValueRequired, path of the field, text)."""
    causes = [{"reason": reason, "message": text, "field": path} for reason, path, text in found]
    texts = [f"{path}: {text}" for _, path, text in found]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {
        "name": name,
        **({"group": kind.group} if kind.group else {}),
        "kind": kind.kind,
        "causes": causes,
    }
    subject = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return Refusal(422, "Invalid", f'{subject} "{name}" is invalid: {joined}', details)


def required(path: str, text: str = "Required value") -> tuple[str, str, str]:
    """A finding: something is missing."""
    return "FieldValueRequired", path, text


def wrong(path: str, value: object, why: str) -> tuple[str, str, str]:
    """A finding: something is not as it must be. Text is quoted, as in Go."""
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return "FieldValueInvalid", path, f"Invalid value: {shown}: {why}"


def barred(path: str, why: str) -> tuple[str, str, str]:
    """A finding: something must not be there, or must not change."""
    return "FieldValueForbidden", path, f"Forbidden: {why}"


def expired(message: str) -> Refusal:
    """410: the version asked for is no longer remembered."""
    return Refusal(410, "Expired", message)


def too_large(asked: int, current: int) -> Refusal:
    """504: a version asked for that is not there yet."""
    message = f"Too large resource version: {asked}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return Refusal(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})


def media_type(accepted: tuple[str, ...]) -> Refusal:
    """415."""
    text = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return Refusal(415, "UnsupportedMediaType", text)


def method_not_allowed() -> Refusal:
    """405."""
    return Refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
