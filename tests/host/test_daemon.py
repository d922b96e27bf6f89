"""`ipamd run --host netlink` as a process in a node's namespace: ready, killed, started again, refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

import pytest

from tests.runtime.spawned import PATIENCE, Ended, failed_start
from tests.runtime.wire import Caller

from .rig import Netns, NodeDaemon, daemon, namespaces, needs_netns

pytestmark = needs_netns
OPTIONS = ("--set", "WARM_ENI_TARGET=2", "--max-pods", "29")
"""m5.large: the primary ENI's nine addresses are too few, a second ENI comes."""
VETH = "enicc21c2d7785"
"""Of default/sample-pod (NETW-9)."""


@contextmanager
def changes(netns: Netns, kind: str) -> Iterator[Iterator[str]]:
    """Lines of `ip monitor`; they end, and so does whoever waits for one, when patience does."""
    words = ("ip", "-n", netns.name, "monitor", kind)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, bufsize=1) as monitor:
        assert monitor.stdout is not None
        over = Timer(PATIENCE, monitor.kill)
        over.start()
        try:
            yield iter(monitor.stdout.readline, "")
        finally:
            over.cancel()
            monitor.kill()


def test_a_killed_daemon_leaves_the_host_as_it_is_and_the_next_one_too(tmp_path: Path) -> None:
    """ENIs, tables, rules and chains are the node's; SIGKILL and a new start change not one of them."""
    with namespaces("node", "vpc") as (node, vpc):
        with changes(node, "rule") as told, daemon(node, vpc, tmp_path / "s", *OPTIONS) as process:
            assert any("lookup 2" in line for line in told), f"no second ENI came: {process.stderr}"
            process.kill()
        before = node.network(), vpc.network()

        with daemon(node, vpc, tmp_path / "s", *OPTIONS):
            after = node.network(), vpc.network()

        assert after == before
        assert [link["ifname"] for link in before[0]["links"]] == ["lo", "ens5", "ens6"]


@pytest.mark.spec("DM-62", "DM-63")
def test_a_restart_keeps_the_pods_whose_veth_is_there(tmp_path: Path) -> None:
    """Links are known now: a pod whose veth died with its namespace gives its address back, with its rules."""
    with namespaces("node", "vpc") as (node, vpc):
        with daemon(node, vpc, tmp_path / "s", "--max-pods", "5") as process, Caller(process.grpc) as caller:
            kept, dropped = caller.address("sample-pod"), caller.address("gone-pod")
        node.ip("link", "add", VETH, "type", "veth", "peer", "name", "pod-side")
        node.ip("rule", "add", "to", dropped, "lookup", "main", "priority", "512")
        node.ip("rule", "add", "to", kept, "lookup", "main", "priority", "512")

        with daemon(node, vpc, tmp_path / "s", "--max-pods", "5") as process, Caller(process.grpc) as caller:
            assert caller.delete("sample-pod").IPAllocationMetadata[0].IPv4Addr == kept
            left = [rule["dst"] for rule in node.seen("rule", "show") if rule["priority"] == 512]

        assert left == [kept]


@pytest.mark.spec("NETW-10")
def test_the_metrics_tell_what_marks_connections(tmp_path: Path) -> None:
    """The backend that the node's iptables calls for, brought in order once."""
    get = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    with namespaces("node", "vpc") as (node, vpc), daemon(node, vpc, tmp_path / "s") as process:
        shown = node.within(sys.executable, "-c", get, f"{process.ready['metrics']}/metrics").splitlines()
        wanted = "iptables" if "legacy" in node.within("iptables", "--version") else "nftables"

    assert f'awscni_connmark_backend{{backend="{wanted}"}} 1' in [line.replace("1.0", "1") for line in shown]
    assert any(line.startswith('awscni_connmark_reconcile_total{result="success"} 1') for line in shown)


def test_without_its_namespace_the_daemon_does_not_start(tmp_path: Path) -> None:
    """One line: what is missing, and how to make it."""
    with namespaces("node") as (node,):
        process = NodeDaemon(node, Netns("nowhere"), tmp_path / "s")
        with pytest.raises(Ended, match="network namespace 'nowhere': is not there; make it first"):
            process.wait_ready()
        process.kill()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--vpc-netns", "vpc"), "--vpc-netns: links are made by --host netlink alone; add it"),
        (("--vpc-netns", "../vpc", "--host", "netlink"), "want a name as `ip netns` takes it"),
        (("--vpc-netns", "vpc", "--host", "netlink", "--ec2", "aws"), "only the embedded cloud's ENIs want links"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    """Exit code 2: the command line alone is wrong."""
    code, text = failed_start(tmp_path / "s", *options)

    assert code == 2 and says in text


def test_without_the_capability_the_daemon_names_it(tmp_path: Path) -> None:
    """An ordinary user is told before anything is opened."""
    words = ("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin")
    process = NodeDaemon(Netns(""), Netns("vpc"), tmp_path / "s", inside=words)

    with pytest.raises(Ended, match="--host netlink: this process lacks the capability NET_ADMIN; run as root"):
        process.wait_ready()
    process.kill()
