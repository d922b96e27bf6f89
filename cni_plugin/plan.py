"""What a pod's links are made of, as data: lines for `ip -batch`, writes to /proc/sys, a wait.

Nothing here touches the kernel, so a plan can be read, compared and logged. Its order is upstream's but for one
thing: what happens in the pod's namespace is done in one go, before the host's end goes up, because each change
of namespace costs a process. The numbers (priorities, tables, gateways) are NETW-5's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cni_plugin.host import HostError
from cni_plugin.prevresult import canonical_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cni_plugin.host import Branch, Link, Route

HOST, POD = "host", "pod"
HOST_NAMESPACE = "/proc/self/fd/3"  # the host's, for lines that run in the pod's: host ends are born there
MAIN = 254
ALSO_MAIN = (0, 1, MAIN)  # tables that ADD takes for main; DEL does not know 0 and then looks in every table
BRANCH_RULE, TO_POD_RULE, FROM_POD_RULE, POD_RULE = 10, 512, 1536, 1

# What `ip` says when there is nothing to do. Extended messages differ from errno's text, so both stand here.
EXISTS = ("File exists",)
ABSENT = ("No such file or directory", "No such process", "FIB table does not exist", "Cannot find device")
ANY = ("",)  # whatever it says: a word in the log

NAME_MAX = 15  # bytes, the kernel's IFNAMSIZ less the final zero
HEX = frozenset("0123456789abcdef")
NAME_EXTRA = "_.-@+"  # what a link's name may hold beside ASCII letters and digits


class Ip(NamedTuple):
    """One line of `ip -batch`. `fine`: errors that are none; `again`: repeat until one of them comes.

    `undo` takes it back, in the same namespace, when a later step fails.
    """

    where: str
    words: str
    six: bool = False
    fine: tuple[str, ...] = ()
    again: bool = False
    undo: str = ""


class Write(NamedTuple):
    """A value for a file below /proc/sys; a file that is not there is passed over."""

    where: str
    file: str
    value: str


class Settle(NamedTuple):
    """Wait until no IPv6 address of the interface is tentative any more."""

    where: str
    interface: str


Step = Ip | Write | Settle


class Facts(NamedTuple):
    """What must be known of the host first: its links, a MAC for each new host end, the link of the trunk ENI."""

    present: frozenset[str]
    macs: tuple[str, ...]
    trunk: str = ""


def set_up(links: Sequence[Link], branch: Branch | None, mtu: int, facts: Facts) -> list[Step]:
    """The steps of ADD. HostError when a name or an address is none."""
    for link in links:
        check_name(link.host_veth)
        check_name(link.container_interface)
    stale = [link.host_veth for link in links if link.host_veth in facts.present]
    steps: list[Step] = [Ip(HOST, f"link delete dev {name}", fine=ABSENT) for name in stale]
    for index, link in enumerate(links):
        steps += _pod_side(index, link, mtu, facts)
    for link in links:
        steps += _quiet(link.host_veth)
    steps += [Ip(HOST, f"link set dev {link.host_veth} up", is_six(link.address)) for link in links]
    if branch is not None:
        return steps + _branch(links[0], branch, facts) + _waits(links)
    for link in links:
        steps += _to_pod(link)
        if link.table not in ALSO_MAIN:
            steps.append(_from_pod(link, link.table))
    return steps + _waits(links)


def tear_down(routes: Sequence[Route], vlan_id: int, present: frozenset[str]) -> list[Step]:
    """The steps of DEL. The pod's own link is not among them: it goes with its namespace."""
    steps: list[Step] = []
    vlan = vlan_link(vlan_id)
    if vlan_id and vlan in present:
        steps.append(Ip(HOST, f"link delete dev {vlan}", fine=ABSENT))
    for address, table in routes:
        six, pod = is_six(address), checked_cidr(address)
        if vlan_id:
            steps.append(Ip(HOST, f"rule delete priority {BRANCH_RULE} table {table}", six, ABSENT, again=True))
        steps.append(Ip(HOST, f"rule delete priority {TO_POD_RULE} to {pod} table {MAIN}", six, ABSENT))
        if table not in (1, MAIN):
            which = f" table {table}" if table else ""
            words = f"rule delete priority {FROM_POD_RULE} from {pod}{which}"
            steps.append(Ip(HOST, words, six, ABSENT, again=True))
        steps.append(Ip(HOST, f"route delete {pod} table {MAIN}", six, (*ABSENT, *ANY)))
    return steps


def gateway(index: int, six: bool) -> str:
    """The next hop that a pod sees on its link number `index`; only a permanent neighbour entry answers for it."""
    return f"fe80::{index + 1:x}" if six else f"169.254.1.{index + 1}"


def vlan_link(vlan_id: int) -> str:
    """The name of a branch ENI's link on the host."""
    return f"vlan.eth.{vlan_id}"


def is_six(address: str) -> bool:
    """Whether an address, with or without a length, is IPv6."""
    return ":" in address


def checked_cidr(text: str) -> str:
    """`address/length` made canonical; HostError when it is none."""
    address, _, length = text.partition("/")
    if not length.isdigit():
        raise HostError(f"address {text!r}: want ADDRESS/LENGTH")
    return f"{_address(address)}/{length}"


def check_name(name: str) -> None:
    """Refuse what could be no link's name, or mean something else to `ip` or in a path of /proc/sys."""
    bare = "".join(char for char in name if char not in NAME_EXTRA)
    if not (name.isascii() and bare.isalnum() and len(name) <= NAME_MAX and name[:1] not in NAME_EXTRA):
        raise HostError(
            f"link name {name!r}: want at most {NAME_MAX} letters, digits and {NAME_EXTRA!r}, not one of those first; "
            "change CNI_IFNAME or vethPrefix"
        )


def _pod_side(index: int, link: Link, mtu: int, facts: Facts) -> list[Step]:
    """A veth pair, its host end born on the host, and the pod's addresses and routes."""
    six, pod = is_six(link.address), checked_cidr(link.address)
    name, gate, length = link.container_interface, gateway(index, six), 128 if six else 32
    table = index or MAIN
    mac = facts.macs[index]
    steps: list[Step] = [
        Ip(
            POD,
            f"link add name {name} mtu {mtu} txqueuelen 0 up type veth "
            f"peer name {link.host_veth} address {mac} mtu {mtu} txqueuelen 0 netns {HOST_NAMESPACE}",
            six,
            undo=f"link delete dev {name}",
        )
    ]
    if six:
        steps += [Write(POD, f"net/ipv6/conf/{each}/disable_ipv6", "0") for each in (name, "lo")]
    steps.append(Ip(POD, f"route replace {gate}/{length} dev {name} scope link table {table}", six))
    if index:
        words = f"rule add from {pod} priority {POD_RULE} table {table}"
        steps.append(Ip(POD, words, six, EXISTS, undo=words.replace("add", "delete", 1)))
    steps += [
        Ip(POD, f"route add default via {gate} dev {name} table {table}", six),
        Ip(POD, f"address add {pod} dev {name}", six),
        Ip(POD, f"neighbour add {gate} lladdr {mac} dev {name} nud permanent", six),
    ]
    return steps


def _quiet(name: str) -> list[Step]:
    """A link of the host that neither learns its addresses from the pod nor forwards IPv6 on its own."""
    folder = f"net/ipv6/conf/{name}"
    return [
        Write(HOST, f"{folder}/accept_ra", "0"),
        Write(HOST, f"{folder}/accept_redirects", "1"),
        Write(HOST, f"{folder}/forwarding", "0"),
    ]


def _waits(links: Sequence[Link]) -> list[Step]:
    return [Settle(POD, link.container_interface) for link in links if is_six(link.address)]


def _route_to_pod(link: Link, table: int) -> Ip:
    words = f"route replace {checked_cidr(link.address)} dev {link.host_veth} scope link table {table}"
    return Ip(HOST, words, is_six(link.address))


def _to_pod(link: Link) -> list[Step]:
    """The host's way to the pod: in main, asked before any other table."""
    return [
        _route_to_pod(link, MAIN),
        _rule(f"priority {TO_POD_RULE} to {checked_cidr(link.address)} table {MAIN}", is_six(link.address)),
    ]


def _from_pod(link: Link, table: int) -> Ip:
    return _rule(f"priority {FROM_POD_RULE} from {checked_cidr(link.address)} table {table}", is_six(link.address))


def _rule(key: str, six: bool) -> Ip:
    return Ip(HOST, f"rule add {key}", six, EXISTS, undo=f"rule delete {key}")


def _branch(link: Link, branch: Branch, facts: Facts) -> list[Step]:
    """The branch ENI's link on the trunk, its table, and the mode's rules; an unknown mode has none."""
    six, table, vlan = is_six(link.address), branch.vlan_id + 100, vlan_link(branch.vlan_id)
    gate = _address(branch.gateway)
    length = 128 if is_six(gate) else 32
    steps: list[Step] = [Ip(HOST, f"rule delete priority {BRANCH_RULE} iif {link.host_veth}", six, ABSENT, again=True)]
    if vlan in facts.present:
        steps.append(Ip(HOST, f"link delete dev {vlan}", six, ABSENT))
    steps += [
        Ip(
            HOST,
            f"link add link {facts.trunk} name {vlan} address {checked_mac(branch.mac)} type vlan id {branch.vlan_id}",
            six,
            undo=f"link delete dev {vlan}",
        ),
        *_quiet(vlan),
        Ip(HOST, f"link set dev {vlan} up", six),
        Ip(HOST, f"route replace {gate}/{length} dev {vlan} scope link table {table}", six),
        Ip(HOST, f"route replace default via {gate} dev {vlan} table {table}", six),
    ]
    if branch.enforcing_mode == "strict":
        steps += [
            _route_to_pod(link, table),
            _rule(f"priority {BRANCH_RULE} iif {vlan} table {table}", six),
            _rule(f"priority {BRANCH_RULE} iif {link.host_veth} table {table}", six),
        ]
    elif branch.enforcing_mode == "standard":
        steps += [*_to_pod(link), _from_pod(link, table)]
    return steps


def checked_mac(text: str) -> str:
    """Six pairs of hex digits; HostError when it is anything else."""
    pairs = text.lower().split(":")
    if len(pairs) != 6 or not all(len(pair) == 2 and set(pair) <= HEX for pair in pairs):
        raise HostError(f"MAC {text!r} of the branch ENI: want six pairs of hex digits; see ipamd's log")
    return text.lower()


def _address(text: str) -> str:
    try:
        return canonical_address(text)
    except ValueError as error:
        raise HostError(f"{error}; see ipamd's log") from error
