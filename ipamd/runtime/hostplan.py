"""What ipamd programs on its host, as data: lines for `ip -batch`, made from what the host shows and what is wanted.

    SetUpHost        MTU, mark rule 1024, strict pod ENI's local rule at 20, external services at 1535
    SetUpEni         link up, its one address, its table (gateway, default), rule 32765
    TearDownEni      rules whose source is the ENI's primary address
    PrunePodRules    a dropped pod's rules 512 and 1536
    RefreshPodRules  a recovered pod's from-rules collapse into one of priority 1536

Each plan is the difference: on a host that has it all already it is empty, so that a restart of the daemon touches
nothing. Upstream deletes and adds again, which ends in the same state (NETW-1..10).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

from ipamd.core.calls import PrunePodRules, RefreshPodRules, SetUpEni, TearDownEni

from .hostview import LOCAL, MAIN, PROTO_KERNEL, SCOPE_LINK, HostView, Link, Rule

STRICT_LOCAL_PRIORITY: Final = 20
TO_POD_PRIORITY: Final = 512
MARK_PRIORITY: Final = 1024
SERVICE_PRIORITY: Final = 1535
FROM_POD_PRIORITY: Final = 1536
ENI_PRIORITY: Final = 32765
"""NETW-5."""
ENI_GATEWAY6: Final = "fe80:ec2::1"
FIRST_CARD_TABLE: Final = 10_000
"""Tables of ENIs on network cards above 0 begin here (DM-9)."""


class HostOptions(msgspec.Struct, frozen=True):
    """What the environment says of host networking (ENV-37..46); defaults are upstream's."""

    mtu: int = 9001
    veth_prefix: str = "eni"
    mark: int = 0x80
    node_port: bool = True
    external_snat: bool = False
    exclude_snat_cidrs: tuple[str, ...] = ()
    randomize_snat: str = "prng"
    external_service_cidrs: tuple[str, ...] = ()
    strict_pod_eni: bool = False
    """ENABLE_POD_ENI with POD_SECURITY_GROUP_ENFORCING_MODE=strict."""
    ipv6: bool = False
    v6_egress: bool = False
    early_demux: bool = True
    """DISABLE_TCP_EARLY_DEMUX is not true."""


class Unplannable(ValueError):
    """A fact that no plan can be made of: which, and what is wanted instead."""


def family_of(text: str) -> int:
    """4 or 6. Raises Unplannable for what is no address and no CIDR."""
    try:
        return ip_network(text, strict=False).version
    except ValueError:
        raise Unplannable(f"{text[:60]!a}: want an IP address or a CIDR") from None


def gateway_of(subnet_cidr: str) -> IPv4Address | IPv6Address:
    """The VPC router's address in a subnet: base + 1, or the link-local one of IPv6. Raises Unplannable."""
    network = _network(subnet_cidr)
    return ip_address(ENI_GATEWAY6) if network.version == 6 else network.network_address + 1


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise Unplannable(f"{text[:60]!a}: want the subnet's CIDR, for example 10.0.0.0/24") from None


# ---- once ----------------------------------------------------------------------------------------------------


def host_lines(seen: HostView, link: Link, options: HostOptions) -> list[str]:
    """The primary link and the host's own rules (9.1 steps 1, 3, 4; AWS_EXTERNAL_SERVICE_CIDRS)."""
    lines = [] if link.mtu == options.mtu else [f"link set dev {link.ifname} mtu {options.mtu}"]
    lines += _only(seen, _at(seen, MARK_PRIORITY, MAIN), _mark_rules(options))
    if options.strict_pod_eni:
        lines += _strict_lines(seen, options.ipv6)
    services = tuple(cidr for cidr in options.external_service_cidrs if family_of(cidr) == (6 if options.ipv6 else 4))
    return lines + _only(seen, _at(seen, SERVICE_PRIORITY, MAIN), [_to(cidr, SERVICE_PRIORITY) for cidr in services])


def _mark_rules(options: HostOptions) -> list[Rule]:
    if not options.node_port and options.external_snat:
        return []
    mark = f"{options.mark:#x}"
    return [Rule(MARK_PRIORITY, MAIN, fwmark=mark, fwmask=mark)]


def _strict_lines(seen: HostView, ipv6: bool) -> list[str]:
    """The local table is looked up after branch pods' rules (SGP-9): first the new rule, then without the old."""
    lines = []
    if not any(_is_local(rule, STRICT_LOCAL_PRIORITY) for rule in seen.rules):
        lines.append(f"rule add from all lookup {LOCAL} priority {STRICT_LOCAL_PRIORITY}")
    if any(_is_local(rule, 0) for rule in seen.rules):
        lines.append(f"rule del from all lookup {LOCAL} priority 0")
    if ipv6 and not any(rule.priority == 0 and rule.src == ENI_GATEWAY6 for rule in seen.rules):
        lines.append(f"rule add from {ENI_GATEWAY6} ipproto ipv6-icmp lookup {LOCAL} priority 0")
    return lines


def _is_local(rule: Rule, priority: int) -> bool:
    return rule.priority == priority and rule.table == LOCAL and rule.src == "all"


# ---- an ENI --------------------------------------------------------------------------------------------------


def eni_lines(seen: HostView, link: Link, call: SetUpEni, mtu: int) -> list[str]:
    """One ENI but the primary one (9.2, NETW-4); a trunk gets no rule (SGP-8). Raises Unplannable."""
    if call.table in (0, int(MAIN)):
        raise Unplannable(f"set up of {call.eni} asked for table {call.table}: the primary ENI's table is the host's")
    network = _network(call.subnet_cidr)
    wanted = f"{call.primary_ip}/{network.prefixlen}"
    family = "inet6" if network.version == 6 else "inet"
    table, ruled = _table_of(seen, call)
    dev = link.ifname
    lines = [] if link.mtu == mtu else [f"link set dev {dev} mtu {mtu}"]
    lines += [] if link.up else [f"link set dev {dev} up"]
    held = [a for a in link.addr_info if a.family == family and a.is_global]
    lines += [f"addr del {address.text} dev {dev}" for address in held if address.text != wanted]
    fresh = all(address.text != wanted for address in held)
    lines += [f"addr add {wanted} dev {dev}"] if fresh else []
    lines += _table_lines(seen, dev, str(gateway_of(call.subnet_cidr)), table)
    if fresh or not link.up or _kernel_route(seen, dev, str(network)):
        lines.append(f"route del {_kernel_made(dev, network, call.primary_ip)}")
    return lines if ruled or call.trunk else lines + _eni_rule(seen, call.primary_ip, table)


def _table_of(seen: HostView, call: SetUpEni) -> tuple[str, bool]:
    """The ENI's table, and whether its rule stands and is kept: on a further card a single older rule names it."""
    rules = [rule for rule in _from(seen, call.primary_ip) if rule.priority == ENI_PRIORITY]
    if call.table >= FIRST_CARD_TABLE and len(rules) == 1:
        return rules[0].table, True
    return str(call.table), False


def _table_lines(seen: HostView, dev: str, gateway: str, table: str) -> list[str]:
    """The gateway and the way to everything else."""
    here = [route for route in seen.routes if route.table == table and route.dev == dev]
    lines = []
    if not any(_plain(route.dst) == gateway and route.scope == SCOPE_LINK and not route.gateway for route in here):
        lines.append(f"route replace {gateway} dev {dev} scope link table {table}")
    if not any(route.dst == "default" and route.gateway == gateway for route in here):
        lines.append(f"route replace default via {gateway} dev {dev} table {table}")
    return lines


def _plain(dst: str) -> str:
    return dst.removesuffix("/32").removesuffix("/128")


def _kernel_route(seen: HostView, dev: str, network: str) -> bool:
    main = (route for route in seen.routes if route.table == MAIN and route.dev == dev)
    return any(route.dst == network and route.protocol == PROTO_KERNEL for route in main)


def _kernel_made(dev: str, network: IPv4Network | IPv6Network, source: str) -> str:
    """The route that came with the address: to the subnet past every policy, which the ENI must not have."""
    if network.version == 6:
        return f"{network} dev {dev} table {MAIN}"
    return f"{network} dev {dev} proto kernel scope link src {source} table {MAIN}"


def _eni_rule(seen: HostView, primary_ip: str, table: str) -> list[str]:
    there = [rule for rule in _from(seen, primary_ip) if rule.priority == ENI_PRIORITY]
    return _only(seen, there, [Rule(ENI_PRIORITY, table, primary_ip)])


def tear_down_lines(seen: HostView, call: TearDownEni) -> list[str]:
    """POOL-37. Its table's routes went with the link when EC2 took that."""
    return [f"rule del {rule.words}" for rule in _from(seen, call.primary_ip)]


# ---- pods ----------------------------------------------------------------------------------------------------


def prune_lines(seen: HostView, call: PrunePodRules) -> list[str]:
    """DM-63."""
    to = [r for r in seen.rules if r.priority == TO_POD_PRIORITY and r.dst == call.address and r.dstlen < 0]
    off = [rule for rule in _from(seen, call.address) if rule.priority == FROM_POD_PRIORITY]
    return [f"rule del {rule.words}" for rule in (*to, *off)]


def refresh_lines(seen: HostView, call: RefreshPodRules) -> list[str]:
    """NETW-6: the table is the last rule's own, as the pod has been using it.

    The old ones go first: to the kernel a rule without `to` is there already if one with it is.
    """
    lines = []
    for address, _ in call.pods:
        there = _from(seen, address)
        wanted = Rule(FROM_POD_PRIORITY, there[-1].table if there else "", address)
        if there and there != [wanted]:
            lines += [f"rule del {rule.words}" for rule in there]
            lines.append(f"rule add {wanted.words}")
    return lines


# ---- rules ---------------------------------------------------------------------------------------------------


def _from(seen: HostView, address: str) -> list[Rule]:
    return [rule for rule in seen.rules if rule.source == address]


def _at(seen: HostView, priority: int, table: str) -> list[Rule]:
    return [rule for rule in seen.rules if rule.priority == priority and rule.table == table]


def _to(cidr: str, priority: int) -> Rule:
    network = _network(cidr)
    whole = network.prefixlen == network.max_prefixlen
    return Rule(priority, MAIN, dst=str(network.network_address), dstlen=-1 if whole else network.prefixlen)


def _only(seen: HostView, there: list[Rule], wanted: list[Rule]) -> list[str]:
    """Of `there` just the wanted ones stay, each once; what is missing is added before the rest goes."""
    assert all(rule in seen.rules for rule in there)
    kept: list[Rule] = []
    gone: list[Rule] = []
    for rule in there:
        (kept if rule in wanted and rule not in kept else gone).append(rule)
    added = [f"rule add {rule.words}" for rule in wanted if rule not in kept]
    return added + [f"rule del {rule.words}" for rule in gone]
