"""The network configuration on stdin.

Read in two steps, as upstream does: first what the protocol needs (`read_header`: an object with a name and a
version; codes 6 and 7), then, for ADD and DEL only, our own keys (`load`: ValueError, which the verb wraps).
Keys are matched without regard to case, unknown keys are ignored, `null` leaves the default and an explicit
empty string replaces it. Keys of our own: `dryRun`, `ipamdAddress`, `networkPolicyAgentAddress`,
`rpcDeadlineSeconds`, `realMacs`, `statusAndGc`,
`checkpointFile`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cni_plugin import address, errors
from cni_plugin.env import check_network_name
from cni_plugin.errors import DECODING_FAILURE, INVALID_CONFIG, CniError
from cni_plugin.prevresult import PrevResult, atoi
from cni_plugin.versions import OLDEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_plugin.address import Address

IPAMD_ADDRESS = "unix:///var/run/aws-node/ipamd.sock"
POLICY_AGENT_ADDRESS = "unix:///var/run/aws-node/npa.sock"
CHECKPOINT_FILE = "/var/run/aws-node/ipam.json"
RPC_DEADLINE_SECONDS = 10.0  # ours; upstream waits for ipamd until the runtime kills the plugin
RPC_DEADLINE_SECONDS_MAX = 3600
MTU_DEFAULT, MTU_MIN, MTU_MAX = 9001, 576, 9001  # bytes
VETH_PREFIX_MAX = 4  # bytes
POD_ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
JSON_NAMES = {str: "string", bool: "boolean", dict: "object", list: "array", int: "number", float: "number"}


class Header(NamedTuple):
    """What the protocol itself needs. `keys` are all top-level members, their names in lower case."""

    name: str
    cni_version: str  # as written; "" when absent
    keys: dict[str, Any]

    @property
    def spec_version(self) -> str:
        """The version to compare and render with."""
        return self.cni_version or OLDEST


class NetworkConfig(NamedTuple):
    """Our keys. `deadline_seconds` None means no deadline; `mtu` is in bytes."""

    name: str
    version: str
    veth_prefix: str
    mtu: int
    enforcing_mode: str
    log_file: str
    log_level: str
    annotations: dict[str, str]
    prev_result: PrevResult | None
    dry_run: bool
    ipamd: Address
    policy_agent: Address
    deadline_seconds: float | None
    checkpoint_file: str
    real_macs: bool
    valid_attachments: Any


def _attachments(keys: Mapping[str, Any]) -> Any:
    """The runtime's list. Go writes an empty one as null, which is not the same as none at all."""
    name = "cni.dev/valid-attachments"
    return [] if name in keys and keys[name] is None else keys.get(name)


def read_header(stdin: bytes) -> Header:
    """Name and version of the configuration; CniError 6 when it is not such JSON, 7 for an unfit name or a list."""
    try:
        document = json.loads(stdin.decode("utf-8", "replace"), parse_constant=_refuse_constant)
        keys = folded(document)
        name = text_of(keys, "name", "")
    except (ValueError, RecursionError) as error:
        raise CniError(DECODING_FAILURE, f"error unmarshall network config: {error}") from error
    check_network_name(name)
    if "plugins" in keys and "type" not in keys:
        msg = f"network configuration {name} is a list of plugins: a runtime passes them on one at a time"
        raise CniError(INVALID_CONFIG, msg, "pass an element of plugins with the list's name and cniVersion in it")
    try:
        version = text_of(keys, "cniVersion", "")
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"decoding version from network config: {error}") from error
    return Header(name, version, keys)


def load(header: Header) -> NetworkConfig:
    """Our keys; ValueError naming the key, its value and what is wanted."""
    keys = header.keys
    runtime = object_of(keys, "runtimeConfig")
    veth_prefix = text_of(keys, "vethPrefix", "eni", LOADER)
    previous = object_of(keys, "prevResult")
    if previous is not None:
        try:
            prev_result = PrevResult.parse(previous, header.spec_version)
        except ValueError as error:
            raise ValueError(f"{errors.PREV_RESULT}: {error}") from error
    else:
        prev_result = None
    if len(veth_prefix.encode("utf-8", "replace")) > VETH_PREFIX_MAX:
        raise ValueError(f"{errors.VETH_PREFIX}: vethPrefix={json.dumps(veth_prefix)}; shorten it")
    return NetworkConfig(
        name=header.name,
        version=header.spec_version,
        veth_prefix=veth_prefix,
        mtu=usable_mtu(text_of(keys, "mtu", str(MTU_DEFAULT), LOADER)),
        enforcing_mode=text_of(keys, "podSGEnforcingMode", "strict", LOADER),
        log_file=text_of(keys, "pluginLogFile", "", LOADER),
        log_level=text_of(keys, "pluginLogLevel", "", LOADER),
        annotations=_annotations(runtime),
        prev_result=prev_result,
        dry_run=flag(keys, "dryRun"),
        ipamd=_address(keys, "ipamdAddress", IPAMD_ADDRESS),
        policy_agent=_address(keys, "networkPolicyAgentAddress", POLICY_AGENT_ADDRESS),
        deadline_seconds=_deadline(keys),
        checkpoint_file=text_of(keys, "checkpointFile", CHECKPOINT_FILE, LOADER),
        real_macs=flag(keys, "realMacs"),
        valid_attachments=_attachments(keys),
    )


LOADER = errors.LOADER + ": "  # the words that upstream's loader puts before a value of the wrong type


def usable_mtu(text: str) -> int:
    """The MTU in bytes; silently 9001 for what is no integer or lies outside 576..9001."""
    value = atoi(text)
    return value if value is not None and MTU_MIN <= value <= MTU_MAX else MTU_DEFAULT


def folded(document: object) -> dict[str, Any]:
    """The members of a JSON object by lower-case name, the last one winning; null is an empty object."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"want a JSON object, got {_kind(document)}")
    return {key.lower(): value for key, value in document.items()}


def text_of(keys: Mapping[str, Any], key: str, default: str, before: str = "") -> str:
    """The string at `key`; `default` when absent or null, ValueError when it is anything else."""
    value = keys.get(key.lower())
    if value is None:
        return default
    if not isinstance(value, str):
        shown = json.dumps(value)[:40]
        raise ValueError(f"{before}{key}={shown}: want a JSON string, got {_kind(value)}; write it in quotes")
    return value


def object_of(keys: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """The object at `key`, its names as written; None when absent or null."""
    value = keys.get(key.lower())
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{LOADER}{key}: want a JSON object, got {_kind(value)}")
    return value


def _annotations(runtime: dict[str, Any] | None) -> dict[str, str]:
    """The pod's annotations that containerd hands over, names as written; null values read as ""."""
    annotations = object_of(folded(runtime), POD_ANNOTATIONS) or {}
    for key, value in annotations.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{LOADER}annotation {key!r}: want a JSON string, got {_kind(value)}")
    return {key: value or "" for key, value in annotations.items()}


def flag(keys: Mapping[str, Any], key: str) -> bool:
    """The boolean at `key`; False when absent or null."""
    value = keys.get(key.lower())
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValueError(f"{LOADER}{key}={json.dumps(value)[:40]}: want true or false, without quotes")
    return value


def _address(keys: Mapping[str, Any], key: str, default: str) -> Address:
    """The gRPC server's address at `key`."""
    try:
        return address.parse(text_of(keys, key, default, LOADER))
    except ValueError as error:
        raise ValueError(f"{LOADER}{key}={error}") from error


def _deadline(keys: Mapping[str, Any]) -> float | None:
    """Seconds for one RPC with connect, send and receive; 0 is upstream's way: none."""
    value = keys.get("rpcdeadlineseconds")
    if value is None:
        return RPC_DEADLINE_SECONDS
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= RPC_DEADLINE_SECONDS_MAX:
        raise ValueError(
            f"{LOADER}rpcDeadlineSeconds={json.dumps(value)[:40]}: want a number from 0 (none) to "
            f"{RPC_DEADLINE_SECONDS_MAX}"
        )
    return float(value) or None


def _kind(value: object) -> str:
    """The JSON name of a decoded value's type."""
    return JSON_NAMES.get(type(value), "null")


def _refuse_constant(name: str) -> object:
    """NaN and Infinity, which Python's decoder would take."""
    raise ValueError(f"{name} is not JSON")
