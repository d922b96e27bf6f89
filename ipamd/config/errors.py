"""What is said of a configuration: a warning where the daemon goes on, an error where it cannot."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from .parse import Value

_SHOWN: Final = 100


class ConfigError(ValueError):
    """The configuration cannot be used. The message names the variable, its value and what is wanted."""


class WrongSet(ConfigError):
    """A `--set` that can be none: wrong usage, whatever the environment is."""


class ConfigWarning(msgspec.Struct, frozen=True):
    """A value that was not taken as it stands, and what is done instead."""

    name: str
    value: str
    want: str
    instead: str

    @property
    def text(self) -> str:
        """`WARM_IP_TARGET="ten": want an integer >= 0; using 0`."""
        return f"{self.name}={quoted(self.value)}: want {self.want}; {self.instead}"


def quoted(text: str) -> str:
    """The text in quotes, on one line, in ASCII; a long one is cut."""
    return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def shown(value: Value) -> str:
    """A value as a person would write it in the environment."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value) or '""'
        case dict():
            return json.dumps(value)
        case None:
            return "nothing"
        case _:
            return str(value) or '""'
