"""What an invocation loads: its start-up is its whole cost."""

import ast
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import cni_plugin
from tests.cni_plugin.harness import Node, config, environment
from tests.netns import rig

ROOM = Path(cni_plugin.__file__).parent
FORBIDDEN = {
    "_hashlib",  # loads OpenSSL
    "argparse",
    "asyncio",
    "concurrent",
    "ctypes",
    "email",
    "grpc",
    "hashlib",
    "http",
    "importlib.metadata",
    "ipaddress",
    "msgspec",
    "multiprocessing",
    "pathlib",
    "pyroute2",
    "queue",
    "random",
    "ssl",
    "subprocess",
    "tempfile",
    "urllib",
    "uuid",
}
OWN_IMPORTS = {  # all that the room itself may import; h2 and protobuf bring what they bring
    "__future__",
    "_ctypes",  # only to enter a namespace, only in Python 3.11
    "_sha1",
    "collections.abc",
    "cni_plugin",
    "errno",
    "fcntl",
    "gc",
    "google.protobuf.message",
    "h2",
    "h2.config",
    "h2.connection",
    "h2.errors",
    "h2.exceptions",
    "hashlib",  # only where _sha1 is missing
    "importlib.metadata",  # only for `aws-cni` without a command
    "ipamd.rpc",
    "ipamd.rpc.rpc_pb2",
    "json",
    "os",
    "socket",
    "sys",
    "time",
    "types",
    "typing",
}
ENTRY = "import sys; sys.path[:0] = {paths!r}; from cni_plugin.main import main; main()"


def loaded(environ: dict[str, str], stdin: bytes, *within: str) -> tuple[set[str], subprocess.CompletedProcess[bytes]]:
    """The modules that one invocation imports, without those that `site` would bring. `within`: words before it."""
    paths = [str(ROOM.parent), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    command = [*within, sys.executable, "-I", "-S", "-X", "importtime", "-c", ENTRY.format(paths=paths)]
    done = subprocess.run(command, input=stdin, env=environ, capture_output=True, timeout=60, check=False)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.decode().splitlines() if "|" in line]
    return set(names), done


def within(names: set[str], *packages: str) -> list[str]:
    """Those of `names` that are one of `packages` or inside one."""
    return sorted(name for name in names if any(f"{name}.".startswith(f"{each}.") for each in packages))


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_add_and_del_load_only_what_they_need(node: Node, socket_path: str, verb: str) -> None:
    """HTTP/2, protobuf and JSON; no gRPC library, no event loop, no OpenSSL, nothing else of ipamd."""
    stdin = config(dryRun=True, ipamdAddress=f"unix://{socket_path}")

    names, done = loaded(environment(verb), stdin)

    assert done.returncode == 0, done
    assert within(names, *FORBIDDEN) == []
    assert {name for name in names if name.startswith("ipamd")} == {"ipamd", "ipamd.rpc", "ipamd.rpc.rpc_pb2"}


@pytest.mark.parametrize("verb", ["ADD", "DEL"])
def test_wiring_a_pod_loads_hardly_more(node: Node, socket_path: str, verb: str) -> None:
    """No netlink library, no subprocess: `ip` is started by the kernel's own means."""
    rig.require()
    with rig.namespaces("node", "pod") as (host, pod):
        stdin, environ = config(ipamdAddress=f"unix://{socket_path}"), environment(verb, CNI_NETNS=rig.path_of(pod))
        wired, done = loaded(environ, stdin, "ip", "netns", "exec", host)
    dry, _ = loaded(environment(verb), config(dryRun=True, ipamdAddress=f"unix://{socket_path}"))

    assert done.returncode == 0, done
    assert within(wired, *FORBIDDEN) == []
    own = {"cni_plugin.wiring", "cni_plugin.plan", "cni_plugin.iproute", "cni_plugin.namespace"}
    assert own <= wired - dry <= {*own, "_ctypes", "fcntl", "errno"}


@pytest.mark.parametrize("verb", ["CHECK", "STATUS", "GC"])
def test_small_verbs_load_neither_http_nor_protobuf(verb: str) -> None:
    """They read the configuration, no more."""
    names, done = loaded(environment(verb), config(cniVersion="1.1.0", dryRun=True))

    assert (done.returncode, done.stdout) == (0, b"")
    assert within(names, "h2", "google", "ipamd", "logging", "cni_plugin.log", *FORBIDDEN) == []


def test_version_loads_hardly_anything() -> None:
    """Two modules of ours and no JSON."""
    names, done = loaded({"CNI_COMMAND": "VERSION"}, b"")

    assert done.returncode == 0
    assert within(names, "cni_plugin") == [
        "cni_plugin",
        "cni_plugin.errors",
        "cni_plugin.main",
        "cni_plugin.versions",
    ]
    assert within(names, "json", "re", "typing", "socket", "h2", "google") == []


def test_room_itself_imports_from_a_short_list() -> None:
    """A new import is a new cost for each pod: measure it, then add it here."""
    found = set()
    for path in sorted(ROOM.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")

    assert {name for name in found if not name.startswith("cni_plugin.")} - OWN_IMPORTS == set()
