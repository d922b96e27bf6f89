"""What ipamd would program on its host, as data: lines of `ip -batch` made from what the host shows."""

from __future__ import annotations

import pytest

from ipamd.core.calls import PrunePodRules, RefreshPodRules, SetUpEni, TearDownEni
from ipamd.runtime.hostkernel import sysctls
from ipamd.runtime.hostplan import (
    HostOptions,
    Unplannable,
    eni_lines,
    host_lines,
    prune_lines,
    refresh_lines,
    tear_down_lines,
)
from ipamd.runtime.hostview import LOCAL, MAIN, Address, HostView, Link, Route, Rule

MAC = "02:00:00:00:00:02"
PRIMARY = Link("ens5", "02:00:00:00:00:01", 9001, ("UP",), (Address("inet", "10.0.0.4", 16),))
FRESH = Link("ens6", MAC, 1500)
CALL = SetUpEni("eni-2", MAC, 1, 2, "10.0.0.14", "10.0.0.0/16")
LOCAL_RULE = Rule(0, LOCAL)
MARK = Rule(1024, MAIN, fwmark="0x80", fwmask="0x80")


def after(lines: list[str]) -> set[str]:
    """Just the rules that lines add."""
    return {line.removeprefix("rule add ") for line in lines if line.startswith("rule add ")}


@pytest.mark.spec("NETW-2", "NETW-5")
def test_a_fresh_host_gets_its_mtu_and_the_mark_rule() -> None:
    """Marked connections look into main, at 1024, whatever the pod's own rule says at 1536."""
    link = Link("ens5", "02:00:00:00:00:01", 1500, ("UP",))

    lines = host_lines(HostView((link,), (LOCAL_RULE,)), link, HostOptions())

    assert lines == ["link set dev ens5 mtu 9001", "rule add fwmark 0x80/0x80 lookup 254 priority 1024"]


def test_a_host_that_has_it_all_is_left_alone() -> None:
    """A restart of the daemon changes nothing."""
    assert host_lines(HostView((PRIMARY,), (LOCAL_RULE, MARK)), PRIMARY, HostOptions()) == []


@pytest.mark.spec("NETW-2")
@pytest.mark.parametrize(
    ("node_port", "external", "wanted"),
    [(True, False, True), (True, True, True), (False, False, True), (False, True, False)],
)
def test_without_node_ports_and_own_snat_there_is_no_mark_rule(node_port: bool, external: bool, wanted: bool) -> None:
    """The rule goes where neither needs it, and comes where one does."""
    options = HostOptions(node_port=node_port, external_snat=external)

    there = host_lines(HostView((PRIMARY,), (MARK,)), PRIMARY, options)
    absent = host_lines(HostView((PRIMARY,)), PRIMARY, options)

    assert there == ([] if wanted else ["rule del fwmark 0x80/0x80 lookup 254 priority 1024"])
    assert absent == (["rule add fwmark 0x80/0x80 lookup 254 priority 1024"] if wanted else [])


def test_a_mark_rule_of_another_mark_is_replaced_and_a_double_one_made_single() -> None:
    """The new rule comes before the old one goes, so that no packet meets neither."""
    other = Rule(1024, MAIN, fwmark="0x40", fwmask="0x40")

    replaced = host_lines(HostView((PRIMARY,), (other,)), PRIMARY, HostOptions())
    single = host_lines(HostView((PRIMARY,), (MARK, MARK)), PRIMARY, HostOptions())

    assert replaced == [
        "rule add fwmark 0x80/0x80 lookup 254 priority 1024",
        "rule del fwmark 0x40/0x40 lookup 254 priority 1024",
    ]
    assert single == ["rule del fwmark 0x80/0x80 lookup 254 priority 1024"]


@pytest.mark.spec("SGP-9")
def test_strict_pod_enis_move_the_local_table_behind_their_rules() -> None:
    """Local goes from 0 to 20, first there, then away; where it is done already nothing happens."""
    options = HostOptions(strict_pod_eni=True)
    moved = HostView((PRIMARY,), (Rule(20, LOCAL), MARK))

    assert host_lines(HostView((PRIMARY,), (LOCAL_RULE, MARK)), PRIMARY, options) == [
        "rule add from all lookup 255 priority 20",
        "rule del from all lookup 255 priority 0",
    ]
    assert host_lines(moved, PRIMARY, options) == []


@pytest.mark.spec("NETW-7")
def test_external_services_are_reached_by_the_main_table() -> None:
    """One rule a CIDR at 1535; those of earlier settings go."""
    old = Rule(1535, MAIN, dst="52.0.0.0", dstlen=8)
    options = HostOptions(external_service_cidrs=("3.5.0.0/19", "9.9.9.9/32"))

    assert host_lines(HostView((PRIMARY,), (MARK, old)), PRIMARY, options) == [
        "rule add to 3.5.0.0/19 lookup 254 priority 1535",
        "rule add to 9.9.9.9 lookup 254 priority 1535",
        "rule del to 52.0.0.0/8 lookup 254 priority 1535",
    ]


@pytest.mark.spec("NETW-4")
def test_a_fresh_eni_gets_link_address_table_and_rule() -> None:
    """Its subnet's route in main goes again, so that main stays the primary ENI's."""
    assert eni_lines(HostView((PRIMARY, FRESH)), FRESH, CALL, 9001) == [
        "link set dev ens6 mtu 9001",
        "link set dev ens6 up",
        "addr add 10.0.0.14/16 dev ens6",
        "route replace 10.0.0.1 dev ens6 scope link table 2",
        "route replace default via 10.0.0.1 dev ens6 table 2",
        "route del 10.0.0.0/16 dev ens6 proto kernel scope link src 10.0.0.14 table 254",
        "rule add from 10.0.0.14 lookup 2 priority 32765",
    ]


def test_an_eni_that_is_set_up_is_left_alone() -> None:
    """The plan is the difference; nothing differs."""
    done = Link("ens6", MAC, 9001, ("UP",), (Address("inet", "10.0.0.14", 16), Address("inet6", "fe80::1", 64, "253")))
    routes = (
        Route("10.0.0.1", "ens6", table="2", scope="253"),
        Route("default", "ens6", "10.0.0.1", "2"),
        Route("10.0.0.0/16", "ens5", protocol="2", scope="253", prefsrc="10.0.0.4"),
    )

    assert eni_lines(HostView((PRIMARY, done), (Rule(32765, "2", "10.0.0.14"),), routes), done, CALL, 9001) == []


@pytest.mark.spec("NETW-4")
def test_addresses_and_rules_of_an_earlier_life_go() -> None:
    """A link that comes with somebody else's address and an ENI whose rule names another table are put right."""
    used = Link("ens6", MAC, 9001, ("UP",), (Address("inet", "10.0.9.9", 24),))

    lines = eni_lines(HostView((used,), (Rule(32765, "7", "10.0.0.14"),)), used, CALL, 9001)

    assert "addr del 10.0.9.9/24 dev ens6" in lines
    assert lines[-2:] == [
        "rule add from 10.0.0.14 lookup 2 priority 32765",
        "rule del from 10.0.0.14 lookup 7 priority 32765",
    ]


@pytest.mark.spec("NETW-4")
def test_on_a_further_card_a_single_older_rule_names_the_table() -> None:
    """Nodes that were set up with the old numbers keep them; two rules are no name."""
    call = SetUpEni("eni-2", MAC, 1, 10101, "10.0.0.14", "10.0.0.0/16")
    old = Rule(32765, "17", "10.0.0.14")

    kept = eni_lines(HostView((FRESH,), (old,)), FRESH, call, 9001)
    double = eni_lines(HostView((FRESH,), (old, Rule(32765, "18", "10.0.0.14"))), FRESH, call, 9001)

    assert "route replace default via 10.0.0.1 dev ens6 table 17" in kept and after(kept) == set()
    assert after(double) == {"from 10.0.0.14 lookup 10101 priority 32765"}


def test_an_ipv6_eni_has_the_link_local_gateway() -> None:
    """The VPC's router answers at fe80:ec2::1 in every subnet."""
    call = SetUpEni("eni-2", MAC, 1, 2, "2600:1f13::14", "2600:1f13::/64")

    lines = eni_lines(HostView((FRESH,)), FRESH, call, 9001)

    assert "route replace default via fe80:ec2::1 dev ens6 table 2" in lines
    assert lines[-1] == "rule add from 2600:1f13::14 lookup 2 priority 32765"


@pytest.mark.spec("NETW-4")
@pytest.mark.parametrize(
    "call",
    [
        SetUpEni("eni-2", MAC, 1, 254, "10.0.0.14", "10.0.0.0/16"),
        SetUpEni("eni-2", MAC, 1, 2, "10.0.0.14", "ten"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_reason(call: SetUpEni) -> None:
    """The primary ENI's table is the host's own; a subnet that is no CIDR has no gateway."""
    with pytest.raises(Unplannable, match=r"primary ENI's table|want the subnet's CIDR"):
        eni_lines(HostView((FRESH,)), FRESH, call, 9001)


@pytest.mark.spec("POOL-37")
def test_a_freed_eni_leaves_no_rule_with_its_address() -> None:
    """Rules of pods and of other ENIs stay."""
    rules = (Rule(32765, "2", "10.0.0.14"), Rule(1536, "2", "10.0.0.15"), Rule(32765, "3", "10.0.0.24"))

    lines = tear_down_lines(HostView(rules=rules), TearDownEni("eni-2", "10.0.0.14"))

    assert lines == ["rule del from 10.0.0.14 lookup 2 priority 32765"]


@pytest.mark.spec("DM-63")
def test_a_dropped_pod_loses_its_two_rules() -> None:
    """`to` at 512 and `from` at 1536, of this pod alone."""
    rules = (
        Rule(512, MAIN, dst="10.0.0.15"),
        Rule(512, MAIN, dst="10.0.0.16"),
        Rule(1536, "2", "10.0.0.15"),
        Rule(1536, "2", "10.0.0.16"),
    )

    assert prune_lines(HostView(rules=rules), PrunePodRules("10.0.0.15")) == [
        "rule del to 10.0.0.15 lookup 254 priority 512",
        "rule del from 10.0.0.15 lookup 2 priority 1536",
    ]


@pytest.mark.spec("NETW-6")
def test_a_recovered_pods_rules_become_one() -> None:
    """One rule a VPC CIDR, as old versions made them, becomes one for all; a pod without any gets none."""
    old = (
        Rule(1536, "2", "10.0.0.15", dst="10.0.0.0", dstlen=16),
        Rule(1536, "2", "10.0.0.15", dst="10.1.0.0", dstlen=16),
        Rule(1536, "3", "10.0.0.25"),
    )
    call = RefreshPodRules((("10.0.0.15", 2), ("10.0.0.25", 3), ("10.0.0.5", 254)))

    assert refresh_lines(HostView(rules=old), call) == [
        "rule del from 10.0.0.15 to 10.0.0.0/16 lookup 2 priority 1536",
        "rule del from 10.0.0.15 to 10.1.0.0/16 lookup 2 priority 1536",
        "rule add from 10.0.0.15 lookup 2 priority 1536",
    ]


@pytest.mark.spec("ENV-71")
def test_the_primary_link_takes_replies_that_left_by_another() -> None:
    """What upstream's init container writes: loose reverse-path filter, early demux unless it is switched off."""
    plain = sysctls("ens5", HostOptions())
    without = sysctls("ens5", HostOptions(early_demux=False, ipv6=True))

    assert plain == {
        "net/ipv4/conf/ens5/rp_filter": "2",
        "net/ipv4/tcp_early_demux": "1",
        "net/ipv4/ip_forward": "1",
    }
    assert without["net/ipv4/tcp_early_demux"] == "0" and without["net/ipv6/conf/ens5/accept_ra"] == "2"
