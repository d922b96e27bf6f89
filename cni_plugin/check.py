"""CHECK: is the pod's network still as ADD made it? What must be there follows from prevResult alone.

Upstream's plugin answers yes to everything. Every difference is found before any is told.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from cni_plugin import cniargs, errors, iproute, names, plan
from cni_plugin.errors import INVALID_CONFIG, CniError, failed
from cni_plugin.host import HostError
from cni_plugin.namespace import Namespace
from cni_plugin.prevresult import atoi

if TYPE_CHECKING:
    from cni_plugin.env import Invocation
    from cni_plugin.netconf import NetworkConfig
    from cni_plugin.prevresult import PrevResult

    Row = dict[str, Any]

LISTS = ("address show", "route show table all", "rule show", "neighbour show nud permanent")


class Made(NamedTuple):
    """One link as prevResult tells it."""

    number: int
    host_veth: str
    name: str
    address: str  # without its length
    table: int | None  # None: the result does not tell


class Side(NamedTuple):
    """What `ip -N -j` lists in a namespace."""

    links: list[Row]
    routes: list[Row]
    rules: list[Row]
    neighbours: list[Row]

    def link(self, name: str) -> Row | None:
        """The link of that name."""
        return next((row for row in self.links if row.get("ifname") == name), None)

    def has_route(self, table: int, **wanted: str) -> bool:
        """Whether a route of the table has these members."""
        return any(_table(row) == table and _is(row, wanted) for row in self.routes)

    def has_rule(self, priority: int, table: int, **wanted: str) -> bool:
        """Whether a rule of that priority leads to the table and has these members."""
        return any(row.get("priority") == priority and _table(row) == table and _is(row, wanted) for row in self.rules)


def check(call: Invocation, config: NetworkConfig) -> None:
    """CniError 7 without a prevResult of ours, 999 naming everything that is not as it was."""
    if config.prev_result is None:
        raise CniError(INVALID_CONFIG, "required prevResult missing", "CHECK compares the pod with the result of ADD")
    try:
        pod = cniargs.parse(call.args)
        vlan, links = made(config.prev_result, names.dummy_interface(pod.namespace, pod.name), call.ifname)
        host, inside = _sides(call.netns, six=any(plan.is_six(link.address) for link in links))
    except (ValueError, HostError) as error:
        raise failed(errors.CHECK, error) from error
    wrong = []
    for link in links:
        wrong += _in_pod(link, inside, host, config.mtu)
        wrong += _branch(link, vlan, config.enforcing_mode, host) if vlan else _on_host(link, host)
    if wrong:
        raise failed(errors.CHECK, "; ".join(wrong))


def made(prev: PrevResult, dummy: str, ifname: str) -> tuple[int, list[Made]]:
    """VLAN id (0: none) and links of a result; ValueError when it is no result of this pod's ADD."""
    entry = prev.interface_named(dummy)
    vlan = atoi(entry.mac) if entry else None
    if vlan is None:
        raise ValueError(f"prevResult has no interface {dummy} with a number: it is no result of aws-cni for this pod")
    links = []
    for index in range((len(prev.interfaces) - 1) // 2):
        name = names.container_interface(ifname, index)
        inner, address = prev.interface_named(name), prev.only_address_on(name)
        if inner is None or address is None:
            continue  # what a chained plugin added
        table = plan.MAIN if vlan else atoi(inner.mac)
        if table is None and ":" not in inner.mac:
            raise ValueError(f"{name}: mac {inner.mac!r} is no route table")
        links.append(Made(index, prev.interfaces[2 * index].name, name, address.partition("/")[0], table))
    if not links:
        raise ValueError(f"prevResult has no address on {ifname}")
    return vlan, links


def _sides(netns: str, six: bool) -> tuple[Side, Side]:
    """Host and pod."""
    pod = Namespace(netns)
    try:
        with pod:
            inside = _side(six)
    finally:
        pod.close()
    return _side(six), inside


def _side(six: bool) -> Side:
    result = iproute.batch([*LISTS, "link show"], six=six, json=True)
    if result.failures:
        raise HostError(f"ip: {'; '.join(result.failures.values())}")
    lists = documents(result.stdout)
    by_name = {row["ifname"]: row for row in lists[4] if "ifname" in row}  # `address show` omits links without one
    for row in lists[0]:
        by_name.get(row.get("ifname", ""), {})["addr_info"] = row.get("addr_info", [])
    return Side(list(by_name.values()), *lists[1:4])


def documents(text: str) -> list[list[Row]]:
    """The arrays that follow each other, an empty one for each line of the batch that printed none."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        found.append([row for row in value if row])
    return found


def _in_pod(link: Made, inside: Side, host: Side, mtu: int) -> list[str]:
    gate = plan.gateway(link.number, plan.is_six(link.address))
    table = link.number or plan.MAIN
    row, other = inside.link(link.name), host.link(link.host_veth)
    wrong = _link_faults(row, link.name, mtu) + _link_faults(other, link.host_veth, mtu)
    if row and not any(each.get("local") == link.address for each in row.get("addr_info", [])):
        wrong.append(f"{link.name} has no address {link.address}")
    if not inside.has_route(table, dst="default", gateway=gate, dev=link.name):
        wrong.append(f"no default route via {gate} dev {link.name} in table {table} of the pod")
    macs = [
        each.get("lladdr") for each in inside.neighbours if each.get("dst") == gate and each.get("dev") == link.name
    ]
    if other and macs != [other.get("address")]:
        wrong.append(f"{gate} is not the neighbour {other.get('address')} on {link.name}")
    if link.number and not inside.has_rule(plan.POD_RULE, table, src=link.address):
        wrong.append(f"no rule from {link.address} to table {table} in the pod")
    return wrong


def _link_faults(row: Row | None, name: str, mtu: int) -> list[str]:
    if row is None:
        return [f"no link {name}"]
    wrong = [] if "UP" in row.get("flags", []) else [f"{name} is down"]
    return wrong if row.get("mtu") == mtu else [*wrong, f"{name} has MTU {row.get('mtu')}, want {mtu}"]


def _on_host(link: Made, host: Side) -> list[str]:
    wrong = _to_pod(link, host)
    if (
        link.table is not None
        and link.table not in plan.ALSO_MAIN
        and not host.has_rule(plan.FROM_POD_RULE, link.table, src=link.address)
    ):
        wrong.append(f"no rule of priority {plan.FROM_POD_RULE} from {link.address} to table {link.table}")
    return wrong


def _to_pod(link: Made, host: Side) -> list[str]:
    wrong = []
    if not host.has_route(plan.MAIN, dst=link.address, dev=link.host_veth):
        wrong.append(f"no route to {link.address} dev {link.host_veth} on the host")
    if not host.has_rule(plan.TO_POD_RULE, plan.MAIN, dst=link.address):
        wrong.append(f"no rule of priority {plan.TO_POD_RULE} to {link.address}")
    return wrong


def _branch(link: Made, vlan_id: int, mode: str, host: Side) -> list[str]:
    vlan, table = plan.vlan_link(vlan_id), vlan_id + 100
    row = host.link(vlan)
    wrong = [f"no link {vlan}"] if row is None else _link_faults(row, vlan, row.get("mtu", 0))
    if mode == "standard":
        return wrong + _on_host(link._replace(table=table), host)
    for name in (vlan, link.host_veth) if mode == "strict" else ():
        if not host.has_rule(plan.BRANCH_RULE, table, iif=name):
            wrong.append(f"no rule of priority {plan.BRANCH_RULE} from {name} to table {table}")
    return wrong


def _table(row: Row) -> int | None:
    return atoi(str(row.get("table", plan.MAIN)))


def _is(row: Row, wanted: dict[str, str]) -> bool:
    return all(row.get(key) == value for key, value in wanted.items())
