"""`aws-cni`, the CNI plugin: what the runtime asked for in the environment and on stdin, answered on stdout.

stdout carries one result or one error object and nothing else. Modules are imported when a verb needs them:
VERSION needs none, only ADD and DEL pay for HTTP/2 and protobuf.
"""

from __future__ import annotations

import gc
import os
import sys

from cni_plugin import versions
from cni_plugin.errors import (
    ADD_CONFIG,
    DEL_CONFIG,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    INVALID_NETNS,
    CniError,
    failed,
    unexpected,
)

TYPE_CHECKING = False  # importing it from typing would cost VERSION 4 ms
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO, NoReturn, TextIO

    from cni_plugin.env import Invocation
    from cni_plugin.host import Host
    from cni_plugin.netconf import Header


def main() -> NoReturn:
    """The console script: exit 0 with a result or nothing on stdout, exit 1 with an error object."""
    gc.disable()  # the process ends before garbage could matter
    text, code = run(os.environ, sys.stdin.buffer if sys.stdin else None, sys.stderr)
    try:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()
    except (OSError, ValueError, AttributeError):  # closed, full, or never there: nobody to tell
        code = 1
    os._exit(code)  # taking the interpreter apart would cost each pod some milliseconds more


def run(
    environ: Mapping[str, str], stdin: BinaryIO | None, stderr: TextIO | None, host: Host | None = None
) -> tuple[str, int]:
    """What to print on stdout, and the exit code. `host` replaces the one the configuration would choose.

    A stream that the runtime has closed is None.
    """
    try:
        return _answer(environ, stdin, stderr, host), 0
    except CniError as error:
        return error.to_json(), 1
    except (Exception, KeyboardInterrupt) as error:
        return unexpected(error).to_json(), 1


def _answer(environ: Mapping[str, str], stdin: BinaryIO | None, stderr: TextIO | None, host: Host | None) -> str:
    verb = environ.get("CNI_COMMAND", "")
    if not verb:
        if stderr:
            stderr.write(f"AWS CNI {_own_version()}\n")
            stderr.write(f"CNI protocol versions supported: {', '.join(versions.SUPPORTED)}\n")
        return ""
    if verb == "VERSION":
        return versions.VERSION_ANSWER
    from cni_plugin.env import read_invocation
    from cni_plugin.netconf import read_header

    call = read_invocation(environ, stdin)
    header = read_header(call.stdin)
    if verb in ("ADD", "DEL"):
        versions.check_supported(header.spec_version)
        return _with_body(call, header, stderr, host)
    if verb in versions.GATES:
        versions.check_allows(header.spec_version, verb)
        return _small_verb(call, header, stderr, host)
    raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {verb}")


def _small_verb(call: Invocation, header: Header, stderr: TextIO | None, host: Host | None) -> str:
    """CHECK, and STATUS and GC where `statusAndGc` is true; else what the version allows is fine, as upstream."""
    from cni_plugin.netconf import flag, load

    try:
        if call.command != "CHECK" and not flag(header.keys, "statusAndGc"):
            return ""
        config = load(header)
    except ValueError as error:
        raise CniError(INVALID_CONFIG, f"{call.command}: {error}") from error
    if call.command == "STATUS":
        from cni_plugin.ready import status

        status(config)
    elif config.dry_run:
        return ""  # nothing was made, so there is nothing to compare or to collect
    elif call.command == "CHECK":
        from cni_plugin.check import check

        check(call, config)
    else:
        from cni_plugin.collect import collect
        from cni_plugin.log import Log
        from cni_plugin.wiring import Kernel

        log = Log(config.log_file, config.log_level, stderr)
        try:
            collect(call, config, host or Kernel(log), log)
        finally:
            log.close()
    return ""


def _with_body(call: Invocation, header: Header, stderr: TextIO | None, host: Host | None) -> str:
    """ADD's result, or "" for DEL. In the pod's own namespace ADD is refused, DEL is done and reported (code 8)."""
    from cni_plugin.host import DryRun, is_own_netns
    from cni_plugin.log import Log
    from cni_plugin.netconf import load

    try:
        config = load(header)
    except ValueError as error:
        raise failed(ADD_CONFIG if call.command == "ADD" else DEL_CONFIG, error) from error
    log = Log(config.log_file, config.log_level, stderr)
    try:
        if host is None and config.dry_run:
            host = DryRun(log)
        elif host is None:
            from cni_plugin.wiring import Kernel

            host = Kernel(log)
        own = host.programs and not call.netns_override and is_own_netns(call.netns)
        if own and call.command == "ADD":  # wiring a pod into the host itself would be no pod
            raise _own_namespace(call.netns)
        if call.command == "ADD":
            from cni_plugin.add import add

            text = add(call, config, host, log)
        else:
            from cni_plugin.delete import delete

            delete(call, config, host, log)
            text = ""
    except Exception as error:
        if not isinstance(error, CniError):
            log.error(unexpected(error).msg)
        raise
    finally:
        log.close()
    if own:
        raise _own_namespace(call.netns)
    return text


def _own_namespace(netns: str) -> CniError:
    return CniError(
        INVALID_NETNS,
        "plugin's netns and netns from CNI_NETNS should not be the same",
        f"CNI_NETNS={netns!r} is the namespace that aws-cni itself runs in; pass the pod's",
    )


def _own_version() -> str:
    """The version of the bundle or of the installed distribution; "" when it is not installed."""
    bundle = getattr(sys, "_MEIPASS", "")
    if bundle:
        with open(f"{bundle}/version", encoding="utf-8") as file:
            return file.read()
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ipamd-emulator")
    except PackageNotFoundError:
        return ""
