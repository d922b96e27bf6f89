"""SNAT and connection marks as data: what iptables-restore and nft would be given."""

from __future__ import annotations

import pytest

from ipamd.runtime.hostnat import (
    NatFacts,
    backend_of,
    blocked,
    knows_random_fully,
    nft_table,
    nft_text,
    restore_text,
    wanted,
)
from ipamd.runtime.hostplan import HostOptions, Unplannable

FACTS = NatFacts("10.0.0.4", "ens5", ("10.0.0.0/16", "10.1.0.0/16"), "nftables")
SNAT = (
    '-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL '
    "-j SNAT --to-source 10.0.0.4"
)


def chain(options: HostOptions, facts: NatFacts = FACTS, name: str = "AWS-SNAT-CHAIN-0") -> tuple[str, ...]:
    """The wanted rules of one of our chains."""
    return wanted(options, facts)["nat"].own[name]


@pytest.mark.spec("NETW-3")
def test_the_newest_cidr_stands_first_and_snat_last() -> None:
    """Each CIDR is put at position 1 in turn: VPC, then excluded; then all else gets the primary address."""
    rules = chain(HostOptions(exclude_snat_cidrs=("192.168.0.0/16",)))

    assert rules == (
        '-A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j RETURN',
        '-A AWS-SNAT-CHAIN-0 -d 10.1.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN',
        '-A AWS-SNAT-CHAIN-0 -d 10.0.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN',
        f"{SNAT} --random-fully",
    )


def test_excluding_everything_is_written_without_a_destination() -> None:
    """0.0.0.0/0 is what a rule without -d means."""
    rules = chain(HostOptions(exclude_snat_cidrs=("0.0.0.0/0",)))

    assert rules[0] == '-A AWS-SNAT-CHAIN-0 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j RETURN'


@pytest.mark.spec("ENV-40")
@pytest.mark.parametrize(
    ("choice", "version", "ending"),
    [
        ("prng", "iptables v1.8.9 (nf_tables)", " --random-fully"),
        ("prng", "iptables v1.6.1", " --random"),
        ("hashrandom", "iptables v1.8.9 (nf_tables)", " --random"),
        ("none", "iptables v1.8.9 (nf_tables)", ""),
    ],
)
def test_ports_are_randomised_as_asked_and_as_iptables_can(choice: str, version: str, ending: str) -> None:
    """--random-fully came with 1.6.2."""
    facts = NatFacts("10.0.0.4", "ens5", ("10.0.0.0/16",), "nftables", knows_random_fully(version))

    assert chain(HostOptions(randomize_snat=choice), facts)[-1] == SNAT + ending


@pytest.mark.spec("NETW-3")
def test_external_snat_leaves_an_empty_chain_and_no_jump() -> None:
    """Rules go, the chain stays; marks of connections go only with node ports."""
    tables = wanted(HostOptions(external_snat=True), FACTS)
    bare = wanted(HostOptions(external_snat=True, node_port=False), FACTS)

    assert tables["nat"].own == {"AWS-SNAT-CHAIN-0": ()}
    assert tables["nat"].builtin == {"POSTROUTING": (), "PREROUTING": ()}
    assert len(tables["mangle"].builtin["PREROUTING"]) == 3
    assert bare["mangle"].builtin["PREROUTING"] == ()


@pytest.mark.spec("NETW-3")
def test_marks_come_back_for_pods_and_branches_with_node_ports() -> None:
    """The primary ENI marks; veths and, with node ports, VLANs restore."""
    marks = wanted(HostOptions(mark=0x40, veth_prefix="veth"), FACTS)["mangle"].builtin["PREROUTING"]
    less = wanted(HostOptions(node_port=False), FACTS)["mangle"].builtin["PREROUTING"]

    comment = '-m comment --comment "AWS, primary ENI"'
    restore = "-j CONNMARK --restore-mark --nfmask 0x40 --ctmask 0x40"
    assert marks == (
        f"-A PREROUTING -i ens5 {comment} -m addrtype --dst-type LOCAL --limit-iface-in "
        "-j CONNMARK --set-xmark 0x40/0x40",
        f"-A PREROUTING -i veth+ {comment} {restore}",
        f"-A PREROUTING -i vlan+ {comment} {restore}",
    )
    assert [rule.split()[3] for rule in less] == ["eni+"]


@pytest.mark.spec("NETW-10", "INIT-8")
def test_only_a_legacy_iptables_marks_by_iptables() -> None:
    """The version's text decides."""
    assert backend_of("iptables v1.8.9 (legacy)") == "iptables"
    assert backend_of("iptables v1.8.9 (nf_tables)") == backend_of("iptables v1.6.1") == "nftables"


@pytest.mark.spec("NETW-10")
def test_the_iptables_backend_has_a_chain_and_two_jumps() -> None:
    """CIDRs of the VPC return, the rest is marked; marked connections restore."""
    facts = NatFacts("10.0.0.4", "ens5", ("10.0.0.0/16",), "iptables")
    nat = wanted(HostOptions(), facts)["nat"]

    assert nat.own["AWS-CONNMARK-CHAIN-0"] == (
        '-A AWS-CONNMARK-CHAIN-0 -d 10.0.0.0/16 -m comment --comment "AWS CONNMARK CHAIN" -j RETURN',
        '-A AWS-CONNMARK-CHAIN-0 -m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark 0x80/0x80',
    )
    assert [rule.split(" -j ")[1].split()[0] for rule in nat.builtin["PREROUTING"]] == [
        "AWS-CONNMARK-CHAIN-0",
        "CONNMARK",
    ]


def saved(tables: dict[str, list[str]]) -> str:
    """What iptables-save would print of these chains."""
    text = []
    for table, lines in tables.items():
        chains = dict.fromkeys(line.split()[1] for line in lines if line.startswith("-A"))
        named = [line for line in lines if line.startswith(":")]
        text += [f"*{table}", *named, *(f":{name} - [0:0]" for name in chains), *lines[len(named) :], "COMMIT"]
    return "\n".join(text)


def test_a_host_that_has_it_all_gets_no_text() -> None:
    """The difference of what is wanted to itself is nothing."""
    tables = wanted(HostOptions(), FACTS)
    have = saved(
        {name: [r for rules in (*c.own.values(), *c.builtin.values()) for r in rules] for name, c in tables.items()}
    )

    assert restore_text(have, tables) == ""


def test_others_rules_are_not_touched() -> None:
    """kube-proxy's jump stands before and after ours, and is in no line of the change."""
    kube = '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'
    old = '-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -m mark --mark 0x1 -j AWS-SNAT-CHAIN-0'

    text = restore_text(saved({"nat": [kube, old]}), wanted(HostOptions(), FACTS))

    assert "KUBE" not in text
    assert old.replace("-A", "-D", 1) in text.splitlines()


def test_a_gone_cidr_rewrites_only_its_chain() -> None:
    """Declaring a chain empties it in the same transaction; jumps stay as they are."""
    before = wanted(HostOptions(), FACTS)
    rules = [r for rules in (*before["nat"].own.values(), *before["nat"].builtin.values()) for r in rules]
    facts = NatFacts("10.0.0.4", "ens5", ("10.0.0.0/16",), "nftables")

    text = restore_text(saved({"nat": rules}), {"nat": wanted(HostOptions(), facts)["nat"]})

    assert text.splitlines()[:2] == ["*nat", ":AWS-SNAT-CHAIN-0 - [0:0]"]
    assert "10.1.0.0/16" not in text and "POSTROUTING" not in text


@pytest.mark.spec("INIT-19")
def test_chains_of_old_versions_go() -> None:
    """One chain a CIDR, as releases before made them: emptied first, since they jump to each other."""
    have = saved({"nat": [":AWS-SNAT-CHAIN-1 - [0:0]", ":AWS-CONNMARK-CHAIN-2 - [0:0]", ":AWS-SNAT-CHAIN-12 - [0:0]"]})

    lines = restore_text(have, {"nat": wanted(HostOptions(), FACTS)["nat"]}).splitlines()

    assert lines[-7:] == [
        "-F AWS-SNAT-CHAIN-1",
        "-F AWS-CONNMARK-CHAIN-2",
        "-F AWS-SNAT-CHAIN-12",
        "-X AWS-SNAT-CHAIN-1",
        "-X AWS-CONNMARK-CHAIN-2",
        "-X AWS-SNAT-CHAIN-12",
        "COMMIT",
    ]


@pytest.mark.spec("NETW-8")
@pytest.mark.parametrize(
    ("ipv6", "where", "reject"),
    [(True, "169.254.172.0/22", "icmp-port-unreachable"), (False, "fd00::ac:0/118", "icmp6-port-unreachable")],
)
def test_node_local_egress_addresses_are_blocked_first_of_all(ipv6: bool, where: str, reject: str) -> None:
    """The rule stands at the head of FORWARD, before whatever accepts."""
    text = restore_text("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j KUBE-FORWARD\nCOMMIT\n", blocked(ipv6))

    assert f"-I FORWARD -d {where} " in text and text.rstrip().endswith(f"--reject-with {reject}\nCOMMIT")


@pytest.mark.spec("NETW-10")
def test_the_nftables_table_is_replaced_as_a_whole_or_left_alone() -> None:
    """One transaction; where the listing shows the same rules nothing is sent. External SNAT takes it away."""
    table = nft_table(HostOptions(exclude_snat_cidrs=("9.9.9.9/32",)), FACTS)

    assert "ip daddr 9.9.9.9 counter return" in table and 'iifname "eni*"' in table
    assert nft_text(table.replace("\t", "  "), table) == ""
    assert nft_text("", table).startswith("table ip aws-cni {}\ndelete table ip aws-cni\ntable ip aws-cni {\n")
    assert nft_text(table, nft_table(HostOptions(external_snat=True), FACTS)).endswith("delete table ip aws-cni\n")


@pytest.mark.parametrize(
    "facts",
    [
        NatFacts("10.0.0.4", "ens5", ("ten",), "iptables"),
        NatFacts("10.0.0.4", 'ens5" -j ACCEPT', ("10.0.0.0/16",), "iptables"),
        NatFacts("10.0.0.4", "ens5", ("2600::/56",), "iptables"),
    ],
)
def test_nothing_unchecked_reaches_the_text(facts: NatFacts) -> None:
    """CIDRs of metadata and names of links are looked at before they become words of a rule."""
    with pytest.raises(Unplannable, match="want"):
        wanted(HostOptions(), facts)


def test_marks_without_any_cidr_are_refused() -> None:
    """Everything would be marked, the VPC's own traffic too."""
    with pytest.raises(Unplannable, match="at least one VPC CIDR"):
        nft_table(HostOptions(), NatFacts("10.0.0.4", "ens5", (), "nftables"))
