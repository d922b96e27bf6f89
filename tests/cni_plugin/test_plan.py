"""The plan of operations as data: what ADD and DEL would do, in order, without a kernel (and without 802.1q)."""

from __future__ import annotations

import pytest

from cni_plugin import plan
from cni_plugin.host import Branch, HostError, Link, Route
from cni_plugin.plan import ABSENT, EXISTS, HOST, POD, Facts, Ip, Settle, Step, Write

MAC, MAC_1 = "02:00:00:00:00:01", "02:00:00:00:00:02"
FACTS = Facts(frozenset({"lo", "ens5"}), (MAC, MAC_1), "ens6")
BRANCH_MAC = "02:c3:46:52:cb:57"


def link(name: str = "enia", inner: str = "eth0", address: str = "10.0.1.9/32", table: int = 254) -> Link:
    return Link(name, inner, address, table, 0)


def told(steps: list[Step]) -> list[str]:
    """A line a step: where it is done, then the operation."""
    lines = []
    for step in steps:
        match step:
            case Ip(where=where, words=words, six=six):
                lines.append(f"{where}: ip {'-6 ' if six else ''}{words}")
            case Write(where=where, file=file, value=value):
                lines.append(f"{where}: {file} = {value}")
            case Settle(where=where, interface=interface):
                lines.append(f"{where}: settle {interface}")
    return lines


def veth(name: str, inner: str, mac: str, six: str = "") -> str:
    return (
        f"pod: ip {six}link add name {inner} mtu 9001 txqueuelen 0 up type veth "
        f"peer name {name} address {mac} mtu 9001 txqueuelen 0 netns /proc/self/fd/3"
    )


def quiet(name: str) -> list[str]:
    folder = f"host: net/ipv6/conf/{name}"
    return [f"{folder}/accept_ra = 0", f"{folder}/accept_redirects = 1", f"{folder}/forwarding = 0"]


def pod_side(name: str = "enia") -> list[str]:
    return [
        veth(name, "eth0", MAC),
        "pod: ip route replace 169.254.1.1/32 dev eth0 scope link table 254",
        "pod: ip route add default via 169.254.1.1 dev eth0 table 254",
        "pod: ip address add 10.0.1.9/32 dev eth0",
        f"pod: ip neighbour add 169.254.1.1 lladdr {MAC} dev eth0 nud permanent",
    ]


TO_POD = [
    "host: ip route replace 10.0.1.9/32 dev enia scope link table 254",
    "host: ip rule add priority 512 to 10.0.1.9/32 table 254",
]


@pytest.mark.spec("NETW-5")
@pytest.mark.parametrize("table", [254, 0, 1])
def test_pod_on_the_primary_eni(table: int) -> None:
    """A pair, the pod's side in one go, then the host's; tables 0 and 1 mean main too."""
    steps = plan.set_up([link(table=table)], None, 9001, FACTS)

    assert told(steps) == [*pod_side(), *quiet("enia"), "host: ip link set dev enia up", *TO_POD]


@pytest.mark.spec("NETW-5")
def test_pod_on_a_secondary_eni() -> None:
    """What comes from it leaves by its ENI's table."""
    steps = plan.set_up([link(table=3)], None, 9001, FACTS)

    assert told(steps)[-1] == "host: ip rule add priority 1536 from 10.0.1.9/32 table 3"
    assert told(steps)[:-1] == told(plan.set_up([link()], None, 9001, FACTS))


@pytest.mark.spec("NETW-5")
def test_six_pod() -> None:
    """IPv6 is switched on in the pod, and the address waited for at the end."""
    steps = plan.set_up([link(address="fd00::9/128")], None, 9001, FACTS)

    assert told(steps) == [
        veth("enia", "eth0", MAC, "-6 "),
        "pod: net/ipv6/conf/eth0/disable_ipv6 = 0",
        "pod: net/ipv6/conf/lo/disable_ipv6 = 0",
        "pod: ip -6 route replace fe80::1/128 dev eth0 scope link table 254",
        "pod: ip -6 route add default via fe80::1 dev eth0 table 254",
        "pod: ip -6 address add fd00::9/128 dev eth0",
        f"pod: ip -6 neighbour add fe80::1 lladdr {MAC} dev eth0 nud permanent",
        *quiet("enia"),
        "host: ip -6 link set dev enia up",
        "host: ip -6 route replace fd00::9/128 dev enia scope link table 254",
        "host: ip -6 rule add priority 512 to fd00::9/128 table 254",
        "pod: settle eth0",
    ]


@pytest.mark.spec("NETW-5", "RPC-60")
def test_pod_on_two_cards() -> None:
    """The second link has a gateway, a table and a rule of its own."""
    links = [link(), link("enib", "mNicIf1", "10.1.1.9/32", 10101)]

    steps = told(plan.set_up(links, None, 9001, FACTS))

    assert steps[:5] == pod_side()
    assert steps[5:11] == [
        veth("enib", "mNicIf1", MAC_1),
        "pod: ip route replace 169.254.1.2/32 dev mNicIf1 scope link table 1",
        "pod: ip rule add from 10.1.1.9/32 priority 1 table 1",
        "pod: ip route add default via 169.254.1.2 dev mNicIf1 table 1",
        "pod: ip address add 10.1.1.9/32 dev mNicIf1",
        f"pod: ip neighbour add 169.254.1.2 lladdr {MAC_1} dev mNicIf1 nud permanent",
    ]
    assert steps[11:] == [
        *quiet("enia"),
        *quiet("enib"),
        "host: ip link set dev enia up",
        "host: ip link set dev enib up",
        *TO_POD,
        "host: ip route replace 10.1.1.9/32 dev enib scope link table 254",
        "host: ip rule add priority 512 to 10.1.1.9/32 table 254",
        "host: ip rule add priority 1536 from 10.1.1.9/32 table 10101",
    ]


VLAN = [
    "host: ip rule delete priority 10 iif enia",
    f"host: ip link add link ens6 name vlan.eth.5 address {BRANCH_MAC} type vlan id 5",
    *quiet("vlan.eth.5"),
    "host: ip link set dev vlan.eth.5 up",
    "host: ip route replace 10.0.2.1/32 dev vlan.eth.5 scope link table 105",
    "host: ip route replace default via 10.0.2.1 dev vlan.eth.5 table 105",
]
MODES = {
    "strict": [
        "host: ip route replace 10.0.1.9/32 dev enia scope link table 105",
        "host: ip rule add priority 10 iif vlan.eth.5 table 105",
        "host: ip rule add priority 10 iif enia table 105",
    ],
    "standard": [*TO_POD, "host: ip rule add priority 1536 from 10.0.1.9/32 table 105"],
    "odd": [],  # upstream's way: neither, and no word
}


@pytest.mark.spec("NETW-5", "SGP-10", "RPC-26")
@pytest.mark.parametrize("mode", MODES)
def test_branch_pod(mode: str) -> None:
    """The VLAN on the trunk, its table, and the rules of the mode."""
    steps = plan.set_up([link(table=0)], Branch(5, BRANCH_MAC, "10.0.2.1", 7, mode), 9001, FACTS)

    assert told(steps) == [*pod_side(), *quiet("enia"), "host: ip link set dev enia up", *VLAN, *MODES[mode]]


@pytest.mark.spec("SGP-10")
def test_six_branch_pod() -> None:
    """The rules are of the pod's family."""
    steps = plan.set_up(
        [link(address="fd00::9/128", table=0)], Branch(5, BRANCH_MAC, "fe80:ec2::1", 7, "strict"), 9001, FACTS
    )

    assert told(steps)[-6:] == [
        "host: ip -6 route replace fe80:ec2::1/128 dev vlan.eth.5 scope link table 105",
        "host: ip -6 route replace default via fe80:ec2::1 dev vlan.eth.5 table 105",
        "host: ip -6 route replace fd00::9/128 dev enia scope link table 105",
        "host: ip -6 rule add priority 10 iif vlan.eth.5 table 105",
        "host: ip -6 rule add priority 10 iif enia table 105",
        "pod: settle eth0",
    ]


def test_stale_links_go_first() -> None:
    """A host end of the same name, and a VLAN left behind."""
    facts = FACTS._replace(present=frozenset({"enia", "vlan.eth.5"}))

    steps = told(plan.set_up([link()], Branch(5, BRANCH_MAC, "10.0.2.1", 7, "strict"), 9001, facts))

    assert steps[0] == "host: ip link delete dev enia"
    assert steps.index("host: ip link delete dev vlan.eth.5") == steps.index(VLAN[1]) - 1


def test_what_is_made_can_be_undone() -> None:
    """Links take their routes and addresses along; rules stay when nobody removes them."""
    links = [link(table=3), link("enib", "mNicIf1", "10.1.1.9/32", 10101)]

    undo = {
        step.words: (step.where, step.undo) for step in plan.set_up(links, None, 9001, FACTS) if isinstance(step, Ip)
    }

    for words, (_, back) in undo.items():
        assert bool(back) == words.startswith(("link add", "rule add")), words
    assert undo["rule add priority 512 to 10.0.1.9/32 table 254"] == (
        HOST,
        "rule delete priority 512 to 10.0.1.9/32 table 254",
    )
    assert (POD, "link delete dev eth0") in undo.values()


def test_what_may_be_there_already() -> None:
    """Rules only: a link, a route or an address that exists is somebody else's."""
    links = [link(table=3), link("enib", "mNicIf1", "10.1.1.9/32", 10101)]

    steps = [step for step in plan.set_up(links, None, 9001, FACTS) if isinstance(step, Ip)]

    assert {step.words.split()[0] for step in steps if step.fine == EXISTS} == {"rule"}
    assert all(step.fine in ((), EXISTS) for step in steps)


@pytest.mark.parametrize(
    "table, from_pod",
    [
        (254, []),
        (1, []),
        (3, ["host: ip rule delete priority 1536 from 10.0.1.9/32 table 3"]),
        (0, ["host: ip rule delete priority 1536 from 10.0.1.9/32"]),
    ],
)
@pytest.mark.spec("NETW-5")
def test_tear_down(table: int, from_pod: list[str]) -> None:
    """Without a table any rule from the pod goes; none of it needs to be there."""
    steps = plan.tear_down([Route("10.0.1.9/32", table)], 0, frozenset())

    assert told(steps) == [
        "host: ip rule delete priority 512 to 10.0.1.9/32 table 254",
        *from_pod,
        "host: ip route delete 10.0.1.9/32 table 254",
    ]
    for step in steps:
        assert isinstance(step, Ip)
        assert step.fine[: len(ABSENT)] == ABSENT
        assert step.again == ("1536" in step.words)


@pytest.mark.spec("NETW-5", "RPC-48")
def test_tear_down_of_a_branch_pod_cleans_both_modes() -> None:
    """The VLAN if it is there, all rules of its table, then the rest as for any pod."""
    steps = told(plan.tear_down([Route("fd00::9/128", 105)], 5, frozenset({"vlan.eth.5"})))

    assert steps == [
        "host: ip link delete dev vlan.eth.5",
        "host: ip -6 rule delete priority 10 table 105",
        "host: ip -6 rule delete priority 512 to fd00::9/128 table 254",
        "host: ip -6 rule delete priority 1536 from fd00::9/128 table 105",
        "host: ip -6 route delete fd00::9/128 table 254",
    ]


@pytest.mark.parametrize(
    "name",
    ["a b", "a#b", "../x", "", "-x", "a'b", 'a"', "a\\", "a\nb", "ü", "a" * 16, "a/b", ".", "a;b", "$(x)", "a|b"],
)
def test_odd_link_names_go_no_further(name: str) -> None:
    """They could be a path of /proc/sys, a comment, a second line or a word of `ip`."""
    for odd in (link(name=name), link(inner=name)):
        with pytest.raises(HostError, match="want at most 15 letters"):
            plan.set_up([odd], None, 9001, FACTS)


@pytest.mark.parametrize("mac", ["", "02:00:00:00:00", "02:00:00:00:00:0g", "x", "02:00:00:00:00:00 mtu 3"])
def test_odd_mac_of_a_branch_goes_no_further(mac: str) -> None:
    """ipamd is believed in what it says, not in how."""
    with pytest.raises(HostError, match="want six pairs of hex digits"):
        plan.set_up([link()], Branch(5, mac, "10.0.2.1", 7, "strict"), 9001, FACTS)


@pytest.mark.parametrize("gateway", ["", "10.0.2", "10.0.2.1/32", "default"])
def test_odd_gateway_of_a_branch_goes_no_further(gateway: str) -> None:
    """An address or nothing."""
    with pytest.raises(HostError, match="is not an IP address"):
        plan.set_up([link()], Branch(5, BRANCH_MAC, gateway, 7, "strict"), 9001, FACTS)
