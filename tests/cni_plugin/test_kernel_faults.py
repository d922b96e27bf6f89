"""What can go wrong while a pod is wired, on a real kernel: each ends with an answer and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cni_plugin import shown
from tests.cni_plugin.cases import POD_0, SECONDARY, SIX, TWO_CARDS
from tests.cni_plugin.harness import Node, added, allocation, config, deleted, environment, serving
from tests.cni_plugin.peers import listening, until_closed
from tests.cni_plugin.place import Place, call, inherited
from tests.netns import rig
from tests.runtime.spawned import spawned

Conf = Callable[..., bytes]


@pytest.fixture
def place() -> Iterator[Place]:
    """A node and a pod, empty."""
    rig.require()
    with rig.namespaces("node", "pod") as (host, pod):
        yield Place(host, pod)


def is_clean(place: Place) -> bool:
    """Whether neither side has anything of a pod."""
    return not any(
        (
            shown.links(place.host),
            shown.rules(place.host),
            shown.routes(place.host),
            shown.links(place.pod),
            shown.rules(place.pod),
            shown.routes(place.pod),
        )
    )


def test_daemon_down(conf: Conf, place: Place) -> None:
    """ADD fails at once, DEL succeeds."""
    add, delete = call(place, "ADD", conf()), call(place, "DEL", conf())

    assert add.document["msg"].startswith("add cmd: Error received from AddNetwork gRPC call: rpc error: code = Unav")
    assert (delete.code, delete.stdout) == (0, "")
    assert is_clean(place)


def test_daemon_hanging(socket_path: str, conf: Conf, place: Place) -> None:
    """The deadline ends it."""
    with listening(socket_path, until_closed):
        add = call(place, "ADD", conf(rpcDeadlineSeconds=0.3))

    assert "DeadlineExceeded" in add.document["msg"]
    assert is_clean(place)


def test_daemon_restarting_in_the_middle(node: Node, socket_path: str, conf: Conf, place: Place) -> None:
    """The first answer is lost with the connection; the runtime asks again, and the pod is wired once."""
    other = Path(socket_path).with_name("dying.sock")
    with listening(other, lambda connection: None):
        lost = call(place, "ADD", conf(ipamdAddress=f"unix://{other}"))
    again = call(place, "ADD", conf())

    assert (lost.code, again.code) == (1, 0)
    assert "Unavailable" in lost.document["msg"]
    assert list(shown.links(place.host)) == [POD_0]


def test_daemon_down_at_del_with_previous_result(node: Node, conf: Conf, place: Place) -> None:
    """What the result of ADD tells is taken away without ipamd."""
    node.add = SECONDARY.reply
    add = call(place, "ADD", conf())

    delete = call(place, "DEL", conf(ipamdAddress="unix:///nowhere.sock", prevResult=add.document))

    assert (delete.code, delete.stdout) == (0, "")
    assert (shown.rules(place.host), shown.routes(place.host)) == (set(), set())


def test_namespace_gone(node: Node, conf: Conf, place: Place) -> None:
    """The address goes back; nothing was made."""
    rig.ip("netns", "delete", place.pod)

    add = call(place, "ADD", conf())

    assert "no such file or directory; the pod may be gone" in add.document["msg"]
    assert node.asked[1].Reason == "SetupNSFailed"
    assert (shown.links(place.host), shown.rules(place.host)) == ({}, set())


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/ns/mnt", "/dev/null", "/"])
def test_what_is_no_network_namespace(node: Node, conf: Conf, place: Place, path: str) -> None:
    """A file, another kind of namespace, a device, a folder."""
    add = call(place, "ADD", conf(), CNI_NETNS=path)

    assert add.document["msg"].startswith("add command: failed to setup network: CNI_NETNS")
    assert is_clean(place)


@pytest.mark.spec("NETW-9")
def test_hosts_name_taken_by_a_stale_link(node: Node, conf: Conf, place: Place) -> None:
    """It is deleted, whatever it is."""
    rig.ip("link", "add", "name", POD_0, "type", "veth", "peer", "name", "stale", netns=place.host)

    add = call(place, "ADD", conf())

    assert add.code == 0
    assert list(shown.links(place.host)) == [POD_0]


def test_pods_name_taken(node: Node, conf: Conf, place: Place) -> None:
    """Another plugin's eth0 is not ours to delete."""
    rig.ip("link", "add", "name", "eth0", "type", "veth", "peer", "name", "far", netns=place.pod)

    add = call(place, "ADD", conf())

    assert "File exists" in add.document["msg"]
    assert node.asked[1].Reason == "SetupNSFailed"
    assert (shown.links(place.host), shown.rules(place.host)) == ({}, set())
    assert set(shown.links(place.pod)) == {"eth0", "far"}


def test_failure_at_the_second_link_takes_the_first_back(node: Node, conf: Conf, place: Place) -> None:
    """Several network cards: all or nothing."""
    node.add = TWO_CARDS.reply
    rig.ip("route", "add", "unreachable", "default", "table", "1", netns=place.pod)

    add = call(place, "ADD", conf())

    assert "File exists" in add.document["msg"]
    assert (shown.links(place.host), shown.rules(place.host), shown.routes(place.host)) == ({}, set(), set())
    assert (shown.links(place.pod), shown.rules(place.pod)) == ({}, set())


def test_failure_on_the_host_takes_all_back(node: Node, conf: Conf, place: Place) -> None:
    """A branch pod whose trunk is no place for a VLAN: the pod's link goes again."""
    node.add = added(
        allocation("10.0.2.9"), PodVlanId=5, PodENIMAC="01:00:5e:00:00:01", PodENISubnetGW="10.0.2.1", ParentIfIndex=1
    )

    add = call(place, "ADD", conf())

    assert add.document["msg"].startswith("add command: failed to setup network: ip link add link lo name vlan.eth.5")
    assert is_clean(place)


def test_trunk_that_is_not_there(node: Node, conf: Conf, place: Place) -> None:
    """Said before anything is made."""
    node.add = added(
        allocation("10.0.2.9"), PodVlanId=5, PodENIMAC="02:00:00:00:00:01", PodENISubnetGW="10.0.2.1", ParentIfIndex=99
    )

    add = call(place, "ADD", conf())

    assert "the trunk ENI: no link has index 99" in add.document["msg"]
    assert is_clean(place)


def test_add_twice(node: Node, conf: Conf, place: Place) -> None:
    """The second one makes the links anew; nothing is there twice."""
    node.add = SECONDARY.reply

    first, second = call(place, "ADD", conf()), call(place, "ADD", conf())

    assert (first.code, second.code) == (0, 0)
    assert first.document == second.document
    assert set(shown.links(place.host)) == {POD_0}
    assert shown.rules(place.host) == SECONDARY.host_rules
    assert shown.routes(place.pod) == SECONDARY.pod_routes


def test_del_first_and_del_twice(node: Node, conf: Conf, place: Place) -> None:
    """Nothing there is no failure."""
    node.delete = deleted(allocation("10.0.1.9"))

    outcomes = [call(place, "DEL", conf()) for _ in range(2)]

    assert [(each.code, each.stdout) for each in outcomes] == [(0, ""), (0, "")]
    assert is_clean(place)


def test_rules_that_are_there_several_times_all_go(node: Node, conf: Conf, place: Place) -> None:
    """Older versions made a from-rule for each CIDR of the VPC."""
    node.delete = deleted(allocation("10.0.1.9"))
    for target in ("10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"):
        words = ("rule", "add", "priority", "1536", "from", "10.0.1.9", "to", target, "table", "3")
        rig.ip(*words, netns=place.host)

    assert call(place, "DEL", conf()).code == 0

    assert shown.rules(place.host) == set()


def test_half_wired_pod_of_a_killed_plugin(node: Node, conf: Conf, place: Place) -> None:
    """Killed with the pod's side made: an ADD again mends it, a DEL and the end of the pod remove it."""
    half = ["link", "add", "name", "eth0", "type", "veth", "peer", "name", POD_0, "netns", place.host]
    rig.ip(*half, netns=place.pod)
    rig.ip("rule", "add", "priority", "512", "to", "10.0.1.9", "table", "main", netns=place.host)
    node.add, node.delete = SECONDARY.reply, deleted(*SECONDARY.reply.IPAllocationMetadata)

    again = call(place, "ADD", conf())

    assert again.code == 0, again.stdout
    assert shown.rules(place.host) == SECONDARY.host_rules
    assert shown.routes(place.pod) == SECONDARY.pod_routes
    assert call(place, "DEL", conf()).code == 0
    assert (shown.rules(place.host), shown.routes(place.host)) == (set(), set())


def stopped_while_wiring(place: Place, stdin: bytes, number: int) -> tuple[int, bytes]:
    """Exit code and standard output of an ADD that gets a signal while its IPv6 address is tentative."""
    environ = environment("ADD", CNI_NETNS=rig.path_of(place.pod))
    words = ["ip", "netns", "exec", place.host, sys.executable, "-m", "cni_plugin"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**inherited(), **environ}, start_new_session=True
    ) as plugin:
        assert plugin.stdin is not None and plugin.stdout is not None
        plugin.stdin.write(stdin)
        plugin.stdin.close()
        rig.until(lambda: "512 to fd00:0:0:1::9 main" in shown.rules(place.host, "-6"))
        plugin.send_signal(number)
        said = plugin.stdout.read()
    return plugin.returncode, said


def test_interruption_while_wiring_takes_all_back(node: Node, conf: Conf, place: Place) -> None:
    """SIGINT in the longest step there is."""
    node.add = SIX.reply

    code, said = stopped_while_wiring(place, conf(), signal.SIGINT)

    assert code == 1
    assert "unexpected KeyboardInterrupt" in json.loads(said)["msg"]
    assert (shown.links(place.host), shown.rules(place.host, "-6")) == ({}, set())


def test_killed_while_wiring_is_mended_by_the_next_add_and_removed_by_del(node: Node, conf: Conf, place: Place) -> None:
    """SIGKILL leaves what was made; whatever the runtime sends next deals with it."""
    node.add, node.delete = SIX.reply, deleted(*SIX.reply.IPAllocationMetadata)

    code, _ = stopped_while_wiring(place, conf(), signal.SIGKILL)
    half = shown.rules(place.host, "-6")
    again = call(place, "ADD", conf())
    whole = (shown.rules(place.host, "-6"), shown.routes(place.pod, "-6"))
    delete = call(place, "DEL", conf())

    assert (code, half) == (-signal.SIGKILL, SIX.host_rules)
    assert (again.code, delete.code) == (0, 0)
    assert whole == (SIX.host_rules, SIX.pod_routes)
    assert (shown.rules(place.host, "-6"), shown.routes(place.host, "-6")) == (set(), set())


def as_user(number: int, socket: str) -> subprocess.CompletedProcess[bytes]:
    """A process that becomes that user, then connects."""
    become = f"import os, socket; os.setgroups([]); os.setgid({number}); os.setuid({number})"
    connect = f"socket.socket(socket.AF_UNIX).connect({socket!r})"
    words = [sys.executable, "-I", "-S", "-c", f"{become}; {connect}"]
    return subprocess.run(words, capture_output=True, timeout=60, check=False)


def test_the_socket_refuses_other_users(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Mode 0660: whoever is neither the daemon's user nor in its group gets no address."""
    rig.require()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        socket = f"{folder}/ipamd.sock"
        with spawned(tmp_path_factory.mktemp("daemon") / "s", "--socket", socket):
            own, other = (as_user(user, socket) for user in (0, 65534))

    assert own.returncode == 0, own.stderr
    assert b"PermissionError" in other.stderr


def test_fifty_pods_at_once(socket_path: str) -> None:
    """No failure, and no lock is held while ipamd thinks: all fifty requests are there before the first answer."""
    rig.require()
    count = 50
    barrier = threading.Barrier(count)

    class Slow(Node):
        def AddNetwork(self, request: Any, context: Any) -> Any:
            number = int(request.K8S_POD_NAME.rpartition("-")[2])
            barrier.wait(60)
            return added(allocation(f"10.0.1.{number}"))

    def one(host: str, pod: str, number: int) -> int:
        args = f"K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-{number}"
        stdin = config(ipamdAddress=f"unix://{socket_path}", rpcDeadlineSeconds=60)
        return call(Place(host, pod), "ADD", stdin, CNI_CONTAINERID=f"c{number}", CNI_ARGS=args).code

    with (
        rig.namespaces("node", *(f"p{number}" for number in range(count))) as (host, *pods),
        serving(Slow(), f"unix:{socket_path}", threads=count),
        ThreadPoolExecutor(count) as pool,
    ):
        codes = list(pool.map(one, [host] * count, pods, range(1, count + 1)))
        rules, links = shown.rules(host), shown.links(host)

    assert codes == [0] * count
    assert (len(rules), len(links)) == (2 * count, count)
