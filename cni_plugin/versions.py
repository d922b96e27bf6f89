"""The versions of the CNI specification: which we speak, and what a configuration's version allows."""

from __future__ import annotations

from cni_plugin.errors import DECODING_FAILURE, INCOMPATIBLE_VERSION, CniError

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
OLDEST = SUPPORTED[0]  # what a configuration without cniVersion means
FAMILIES = (("0.1.0", "0.2.0"), ("0.3.0", "0.3.1", "0.4.0"), ("1.0.0", "1.1.0"))  # one result format each
GATES = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}  # the lowest cniVersion that knows the verb

VERSION_ANSWER = (
    '{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n'
)


def check_supported(version: str) -> None:
    """Refuse (code 1) a configuration version that we do not speak."""
    if version not in SUPPORTED:
        known = " ".join(f'"{each}"' for each in SUPPORTED)
        details = f'config is "{version}", plugin supports [{known}]'
        raise CniError(INCOMPATIBLE_VERSION, "incompatible CNI versions", details)


def check_allows(version: str, verb: str) -> None:
    """Refuse `verb` (CHECK, GC or STATUS) when the configuration's version does not know it, or we do not.

    Code 6 for a version that is no version, code 1 otherwise.
    """
    if not parse(version) >= parse(GATES[verb]):
        raise CniError(INCOMPATIBLE_VERSION, f"config version does not allow {verb}")
    if parse(version) > parse(SUPPORTED[-1]):
        raise CniError(INCOMPATIBLE_VERSION, f"plugin version does not allow {verb}")
    check_supported(version)


def parse(version: str) -> tuple[int, int, int]:
    """`1.1` and `1.1.0` as (1, 1, 0); CniError 6 when it has other than one to three numbers."""
    parts = version.split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise CniError(DECODING_FAILURE, f'invalid version "{version}": want numbers as in "1.0.0"')
    numbers = [int(part) for part in parts] + [0, 0]
    return numbers[0], numbers[1], numbers[2]


def family(version: str) -> tuple[str, ...]:
    """The versions that share the result format of `version` (a supported one)."""
    return next(each for each in FAMILIES if version in each)
