"""SNAT and connection marks of the host, as data: text for `iptables-restore --noflush` and for `nft -f` (9.3, 9.4).

The text is made from what `iptables-save` shows and what is wanted, and holds only the difference: one transaction,
or nothing where all is as it should be. Rules of others in the built-in chains keep their places.

    nat     POSTROUTING -> AWS-SNAT-CHAIN-0       RETURN for each CIDR, then SNAT to the node's primary address
    nat     PREROUTING  -> AWS-CONNMARK-CHAIN-0   with the iptables backend; table `ip aws-cni` with nftables
    mangle  PREROUTING                            marks of connections that came in by the primary ENI
    filter  FORWARD                               no way to the node-local addresses of the other family
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Final

import msgspec

from .hostplan import HostOptions, Unplannable

SNAT_CHAIN: Final = "AWS-SNAT-CHAIN-0"
CONNMARK_CHAIN: Final = "AWS-CONNMARK-CHAIN-0"
NFT_TABLE: Final = "aws-cni"
_STALE: Final = re.compile(r"AWS-(?:SNAT|CONNMARK)-CHAIN-[1-9][0-9]*")
_LINK: Final = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_RANDOM: Final = {"prng": " --random-fully", "hashrandom": " --random", "none": ""}
_OURS: Final = {
    ("nat", "POSTROUTING"): (f"-j {SNAT_CHAIN}",),
    ("nat", "PREROUTING"): (f"-j {CONNMARK_CHAIN}", '--comment "AWS, CONNMARK"'),
    ("mangle", "PREROUTING"): ('--comment "AWS, primary ENI"',),
    ("filter", "FORWARD"): ('--comment "Block Node Local Pod access via IPv',),
}
"""How our rules in the built-in chains are told from others'."""


class NatFacts(msgspec.Struct, frozen=True):
    """What SetUpHost knows beside the options."""

    primary_ip: str
    primary_link: str
    vpc_cidrs: tuple[str, ...]
    backend: str
    """Of outbound connection marks: `iptables` or `nftables` (NETW-10)."""
    random_fully: bool = True
    """Whether this iptables knows --random-fully."""


class Chains(msgspec.Struct, frozen=True):
    """Wanted rules of one table: of our own chains the whole content, of the built-in ones just ours."""

    own: dict[str, tuple[str, ...]]
    builtin: dict[str, tuple[str, ...]]
    first: bool = False
    """Whether ours stand first in the built-in chains, not last."""


def backend_of(version: str) -> str:
    """NETW-10: which backend marks outbound connections, by what `iptables --version` says."""
    return "iptables" if "legacy" in version else "nftables"


def knows_random_fully(version: str) -> bool:
    """iptables 1.6.2 or newer."""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and tuple(map(int, found.groups())) >= (1, 6, 2)


# ---- what is wanted ------------------------------------------------------------------------------------------


def wanted(options: HostOptions, facts: NatFacts) -> dict[str, Chains]:
    """Table -> chains, for IPv4 mode. Raises Unplannable."""
    if not _LINK.fullmatch(facts.primary_link):
        raise Unplannable(f"link name {facts.primary_link!a}: want letters, digits and . _ @ -; rename the link")
    returned = _returned(options, facts)
    snat: tuple[str, ...] = ()
    jump: tuple[str, ...] = ()
    if not options.external_snat:
        jump = (f'-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j {SNAT_CHAIN}',)
        snat = (*(_return(SNAT_CHAIN, cidr, comment) for cidr, comment in returned), _snat(options, facts))
    own = {SNAT_CHAIN: snat}
    marks: tuple[str, ...] = ()
    if facts.backend == "iptables" and not options.external_snat:
        own[CONNMARK_CHAIN] = _connmark_chain(options, [cidr for cidr, _ in returned])
        marks = (
            f"-A PREROUTING -i {options.veth_prefix}+ -m comment --comment "
            f'"AWS, outbound connections" -j {CONNMARK_CHAIN}',
            f'-A PREROUTING -m comment --comment "AWS, CONNMARK" {_restore(options.mark)}',
        )
    nat = Chains(own, {"POSTROUTING": jump, "PREROUTING": marks})
    return {"nat": nat, "mangle": Chains({}, {"PREROUTING": _mangle(options, facts)})}


def blocked(ipv6: bool) -> dict[str, Chains]:
    """Nobody on the node reaches the pods' node-local egress addresses by the other family (NETW-8)."""
    if ipv6:
        where, family, reject = "169.254.172.0/22", "IPv4", "icmp-port-unreachable"
    else:
        where, family, reject = "fd00::ac:0/118", "IPv6", "icmp6-port-unreachable"
    rule = (
        f"-A FORWARD -d {where} -m conntrack --ctstate NEW -m comment --comment "
        f'"Block Node Local Pod access via {family}" -j REJECT --reject-with {reject}'
    )
    return {"filter": Chains({}, {"FORWARD": (rule,)}, first=True)}


def _returned(options: HostOptions, facts: NatFacts) -> list[tuple[str, str]]:
    """(CIDR, comment) of what is not translated, newest first, as inserting each at position 1 leaves them."""
    vpc = [(_cidr(text), "AWS SNAT CHAIN") for text in facts.vpc_cidrs]
    excluded = [(_cidr(text), "AWS SNAT CHAIN EXCLUSION") for text in options.exclude_snat_cidrs]
    return list(reversed(list(dict.fromkeys([*vpc, *excluded]))))


def _cidr(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or network.version != 4:
        raise Unplannable(f"CIDR {text[:60]!a}: want an IPv4 CIDR such as 10.0.0.0/16")
    return str(network)


def _return(chain: str, cidr: str, comment: str) -> str:
    to = "" if cidr == "0.0.0.0/0" else f" -d {cidr}"
    return f'-A {chain}{to} -m comment --comment "{comment}" -j RETURN'


def _snat(options: HostOptions, facts: NatFacts) -> str:
    random = _RANDOM[options.randomize_snat]
    if random == " --random-fully" and not facts.random_fully:
        random = " --random"
    return (
        f'-A {SNAT_CHAIN} ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL '
        f"-j SNAT --to-source {facts.primary_ip}{random}"
    )


def _connmark_chain(options: HostOptions, cidrs: list[str]) -> tuple[str, ...]:
    returns = tuple(_return(CONNMARK_CHAIN, cidr, "AWS CONNMARK CHAIN") for cidr in cidrs)
    last = f'-A {CONNMARK_CHAIN} -m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark {_mark(options.mark)}'
    return (*returns, last)


def _mark(mark: int) -> str:
    return f"{mark:#x}/{mark:#x}"


def _restore(mark: int) -> str:
    return f"-j CONNMARK --restore-mark --nfmask {mark:#x} --ctmask {mark:#x}"


def _mangle(options: HostOptions, facts: NatFacts) -> tuple[str, ...]:
    comment = '-m comment --comment "AWS, primary ENI"'
    rules = []
    if options.node_port:
        rules.append(
            f"-A PREROUTING -i {facts.primary_link} {comment} -m addrtype --dst-type LOCAL --limit-iface-in "
            f"-j CONNMARK --set-xmark {_mark(options.mark)}"
        )
    if options.node_port or not options.external_snat:
        rules.append(f"-A PREROUTING -i {options.veth_prefix}+ {comment} {_restore(options.mark)}")
    if options.node_port:
        rules.append(f"-A PREROUTING -i vlan+ {comment} {_restore(options.mark)}")
    return tuple(rules)


# ---- the difference ------------------------------------------------------------------------------------------


def restore_text(saved: str, tables: dict[str, Chains]) -> str:
    """What `iptables-restore --noflush` has to be given; "" where there is nothing to do.

    A chain of ours is written anew as a whole when it differs: declaring it empties it, in the same transaction.
    """
    have = _parsed(saved)
    text = []
    for table, chains in tables.items():
        lines = _table_text(table, have.get(table, {}), chains)
        if lines:
            text += [f"*{table}", *lines, "COMMIT"]
    return "\n".join([*text, ""]) if text else ""


def _parsed(saved: str) -> dict[str, dict[str, list[str]]]:
    """Table -> chain -> rules as `iptables-save` prints them."""
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:].strip(), {})
        elif line.startswith(":"):
            chains.setdefault(line[1:].split()[0], [])
        elif line.startswith("-A "):
            chains.setdefault(line.split()[1], []).append(line)
    return tables


def _table_text(table: str, have: dict[str, list[str]], chains: Chains) -> list[str]:
    declared: list[str] = []
    changes: list[str] = []
    for chain, rules in chains.own.items():
        if have.get(chain) != list(rules):
            declared.append(f":{chain} - [0:0]")
            changes += rules
    for chain, rules in chains.builtin.items():
        marks = _OURS[table, chain]
        ours = [line for line in have.get(chain, ()) if any(mark in line for mark in marks)]
        if ours != list(rules):
            changes += [line.replace("-A ", "-D ", 1) for line in ours]
            placed = [line.replace("-A ", "-I ", 1) for line in reversed(rules)] if chains.first else rules
            changes += placed
    unused = [name for name in have if name == CONNMARK_CHAIN and name not in chains.own]
    gone = unused + ([name for name in have if _STALE.fullmatch(name)] if "AWS-SNAT-CHAIN-1" in have else [])
    return [*declared, *changes, *(f"-F {name}" for name in gone), *(f"-X {name}" for name in gone)]


# ---- nftables ------------------------------------------------------------------------------------------------


def nft_table(options: HostOptions, facts: NatFacts) -> str:
    """The table as `nft -s list table` prints it; "" with external SNAT. Raises Unplannable without any CIDR."""
    if options.external_snat:
        return ""
    cidrs = [cidr for cidr, _ in _returned(options, facts)]
    if not cidrs:
        raise Unplannable("connection marks want at least one VPC CIDR; instance metadata shows none")
    mark = f"0x{options.mark:08x}"
    returns = "".join(_nft_return(cidr) for cidr in cidrs)
    return (
        f"table ip {NFT_TABLE} {{\n"
        "\tchain nat-prerouting {\n"
        "\t\ttype nat hook prerouting priority dstnat + 10; policy accept;\n"
        "\t\tfib daddr type local return\n"
        f'\t\tiifname "{options.veth_prefix}*" counter jump snat-mark\n'
        f"\t\tcounter meta mark set ct mark & {mark}\n"
        "\t}\n\n"
        "\tchain snat-mark {\n"
        f"{returns}"
        f"\t\tcounter ct mark set ct mark | {mark}\n"
        "\t}\n}\n"
    )


def _nft_return(cidr: str) -> str:
    return (
        "\t\tcounter return\n" if cidr == "0.0.0.0/0" else f"\t\tip daddr {cidr.removesuffix('/32')} counter return\n"
    )


def nft_text(listed: str, table: str) -> str:
    """What `nft -f` has to be given so that our table is just `table`; "" where it is already."""
    if listed.split() == table.split():
        return ""
    gone = f"table ip {NFT_TABLE} {{}}\ndelete table ip {NFT_TABLE}\n"
    return gone + table
