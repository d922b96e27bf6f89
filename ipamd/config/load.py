"""Environment and `--set` to a `Config`: the value of every variable, where it came from, what was wrong."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final, Literal, TypeAlias

import msgspec

from ipamd.core.settings import KEPT, Quirks, Settings

from . import parse
from .errors import ConfigError, ConfigWarning, WrongSet, quoted, shown
from .options import Options, options
from .parse import Value
from .validate import Checked, validate
from .variables import ELSEWHERE, FAMILIES, PARITY, VARIABLES, Variable

Source: TypeAlias = Literal["default", "environment", "--set"]
_QUIRKS: Final = tuple(field.name for field in msgspec.structs.fields(Quirks))
_EXTERNAL: Final = "AWS_VPC_K8S_CNI_EXTERNALSNAT"
_EXCLUDE: Final = "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"


class Config:
    """Every variable of spec section 10 and `UPSTREAM_PARITY`, read once (ENV-48)."""

    def __init__(
        self,
        values: dict[str, Value],
        sources: dict[str, Source],
        quirks: Quirks,
        warnings: tuple[ConfigWarning, ...],
        given: dict[str, str],
        parity_source: Source = "default",
        off: tuple[str, ...] = (),
    ) -> None:
        self.values = values
        """Variable -> value, in the table's order."""
        self.sources = sources
        """Variable -> where its value came from. A value that was refused counts as default."""
        self.quirks = quirks
        self.warnings = warnings
        self.parity_source = parity_source
        """Where UPSTREAM_PARITY came from."""
        self.off = off
        """Of the accidents that a controller of Windows nodes keeps, those that are turned off."""
        self._given = given

    @cached_property
    def options(self) -> Options:
        """What the daemon's rooms are told."""
        return options(self.values)

    def check(self, *, prefix_delegation_supported: bool) -> Checked:
        """INIT-13 on an instance that can or cannot carry prefixes (INIT-14). Raises `ConfigError`."""
        return validate(self.values, self.quirks, prefix_delegation_supported=prefix_delegation_supported)

    def settings(self, *, prefix_delegation_supported: bool) -> Settings:
        """What `Start` carries. Raises `ConfigError`."""
        return self.check(prefix_delegation_supported=prefix_delegation_supported).settings

    def snat(self, env: Mapping[str, str]) -> tuple[bool, tuple[str, ...]]:
        """External SNAT, and the CIDRs that are not translated, as they stand in `env` now (RPC-35, ENV-48).

        With external SNAT there are no such CIDRs. Bad entries are left out without a word: start-up warned.
        """
        given = self._given
        return _snat(given.get(_EXTERNAL, env.get(_EXTERNAL, "")), given.get(_EXCLUDE, env.get(_EXCLUDE, "")))


@lru_cache(maxsize=8)
def _snat(external: str, exclude: str) -> tuple[bool, tuple[str, ...]]:
    read, _, _ = _value(VARIABLES[_EXTERNAL], external)
    if read is True:
        return True, ()
    listed, _, _ = _value(VARIABLES[_EXCLUDE], exclude)
    assert isinstance(listed, tuple)
    return False, listed


def load(env: Mapping[str, str], overrides: Sequence[str] = ()) -> Config:
    """Read every variable: `--set` (as NAME=VALUE) beats the environment, which beats the default.

    Raises `ConfigError` for a fatal value (ENV-21), an unknown quirk, and a `--set` that names no variable.
    """
    given = _overrides(overrides)
    strict, quirks, off = _parity(given.get(PARITY, env.get(PARITY, "")))
    values: dict[str, Value] = {}
    sources: dict[str, Source] = {}
    warnings: list[ConfigWarning] = []
    for variable in VARIABLES.values():
        name = variable.name
        raw = given.get(name, env.get(name))
        values[name] = variable.strict if strict else variable.default
        sources[name] = "default"
        if raw is None or (raw == "" and variable.blank == "unset"):
            continue
        values[name], warning, taken = _value(variable, raw)
        if warning is not None:
            warnings.append(warning)
        if taken:
            sources[name] = "--set" if name in given else "environment"
    if values["INTROSPECTION_BIND_ADDRESS"] == "":
        want = "HOST:PORT or unix:PATH"
        warnings.append(ConfigWarning("INTROSPECTION_BIND_ADDRESS", "", want, "using a random port of all interfaces"))
    parity_source: Source = "--set" if PARITY in given else "environment" if env.get(PARITY) else "default"
    return Config(values, sources, quirks, tuple(warnings) + _misspelt(env), given, parity_source, off)


def _value(variable: Variable, raw: str) -> tuple[Value, ConfigWarning | None, bool]:
    """What one text means, the warning if it was not taken as it stands, and whether it was taken at all.

    Raises `ConfigError` if the variable is fatal.
    """
    try:
        if parse.unpaired(raw):
            raise parse.Invalid("UTF-8 text")
        return variable.read(raw), None, True
    except parse.Partly as partly:
        return partly.value, ConfigWarning(variable.name, raw, partly.want, partly.instead), True
    except parse.Invalid as invalid:
        if variable.fatal:
            raise ConfigError(
                f"{variable.name}={quoted(raw)}: want {invalid.want}; correct it or leave it unset"
            ) from None
        instead = f"using {variable.instead or shown(variable.invalid)}"
        return variable.invalid, ConfigWarning(variable.name, raw, invalid.want, instead), False


def _overrides(overrides: Sequence[str]) -> dict[str, str]:
    """NAME -> VALUE of every `--set`; the last one of a name counts."""
    given: dict[str, str] = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals or not name:
            raise WrongSet(f"--set {quoted(override)}: want NAME=VALUE, for example --set WARM_IP_TARGET=5")
        if name in ELSEWHERE:
            raise WrongSet(f"--set {name}: it is read by {ELSEWHERE[name]}, not by ipamd; leave it out")
        if name != PARITY and name not in VARIABLES:
            raise WrongSet(f"--set {quoted(name)}: no such variable; {_hint(name)}")
        given[name] = value
    return given


def _alike(name: str, cutoff: float) -> list[str]:
    known = {known.lower(): known for known in (*VARIABLES, PARITY)}
    return [known[found] for found in difflib.get_close_matches(name.lower()[:64], known, n=3, cutoff=cutoff)]


def _hint(name: str) -> str:
    near = _alike(name, 0.6)
    return f"did you mean {' or '.join(near)}?" if near else "docs/settings.md lists them all"


def _misspelt(env: Mapping[str, str]) -> tuple[ConfigWarning, ...]:
    """Names that look as if they were meant for ipamd but are not read by anybody, in alphabetical order."""
    warnings = []
    for name in sorted(env):
        known = name in VARIABLES or name == PARITY or name in ELSEWHERE
        if known or not name.upper().startswith(FAMILIES):
            continue
        near = _alike(name, 0.8)
        if near:
            warnings.append(ConfigWarning(name, env[name], f"the name {near[0]}", "ignoring it"))
    return tuple(warnings)


def _parity(text: str) -> tuple[bool, Quirks, tuple[str, ...]]:
    """`strict`, or names of quirks parted by commas, or nothing; `-NAME` turns off one of `KEPT`.

    Raises `ConfigError`.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    off = tuple(name[1:] for name in names if name[:1] == "-")
    names = [name for name in names if name[:1] != "-"]
    strict = "strict" in names
    for name in (*(() if strict else names), *(f"-{name}" for name in off)):
        if name not in _QUIRKS and name[1:] not in KEPT:
            want = f"strict or some of {', '.join((*_QUIRKS, *(f'-{kept}' for kept in KEPT)))}"
            raise ConfigError(f"{PARITY}={quoted(text)}: {quoted(name)} is no quirk; want {want}")
    return strict, Quirks(**dict.fromkeys(_QUIRKS if strict else names, True)), off
