"""Each event's lines are parsed by the patterns that readers of ipamd's log use; the ids A1..G7c are theirs.

The expressions here are shorter than a reader's: what matters is the fixed words and that the values stand where
they are looked for.
"""

import re
from collections.abc import Sequence

import msgspec
import pytest

from ipamd.core import calls as ec2
from ipamd.core import events as ev
from ipamd.core.commands import AddNetwork, Command, DelNetwork, Terminate
from ipamd.core.events import FORMAT, Event, Record
from ipamd.core.settings import Node, Settings
from ipamd.core.state import State
from ipamd.core.types import SECOND, CallId, Pod, Sandbox
from ipamd.ec2.latency import Latency
from ipamd.ec2.state import VpcSettings
from ipamd.ec2.vpc import make_vpc, node_of
from ipamd.narrate import Line, Narrator
from ipamd.sim.engine import EPOCH, Engine

ENI = r"(?P<eni>eni-\w+)"
CIDR = r"(?P<cidr>[\d.]+/\d+)"
IP = r"(?P<ip>\d+\.\d+\.\d+\.\d+)"
KEY = r"(?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>\S+)"
STATS = r"free (?P<freed>\d+) addresses, total: (?P<total>\d+), assigned: (?P<asg>\d+), total prefixes: (?P<pfx>\d+)"
PATTERNS = {
    "A1": rf"assignPodIPAddressUnsafe: Assign IP {IP} to sandbox {KEY} with metadata "
    r"\{K8SPodNamespace:(?P<ns>\S*) K8SPodName:(?P<pod>\S*) InterfacesCount:(?P<n>\d+)\}$",
    "A10": r"DataStore has no available IP/Prefix addresses",
    "B1": rf"unassignPodIPAddressUnsafe: Unassign IP {IP} from sandbox {KEY}$",
    "B4": rf"IP {IP} entering cooldown period of (?P<dur>\w+) \(available after (?P<until>[^)]+Z)\)$",
    "B9": rf"stale IP allocation for ID\((?P<cid>\w+)\): IPv4\({IP}\), IPv6\(\) due to host-side veth not found",
    "B10": rf"Delete (?P<side>toContainer|fromContainer) rule for v4: {IP}, v6: $",
    "C1": rf"DataStore add an ENI {ENI}$",
    "C3": rf"Added ENI\({ENI}\)'s IP/Prefix {CIDR} to datastore$",
    "C4": rf"Deleted ENI\({ENI}\)'s IP/Prefix {CIDR} from datastore$",
    "C5": rf"RemoveUnusedENIFromStore {ENI}: IP/Prefix address pool stats: {STATS}$",
    "C6": rf"RemoveENIFromDataStore {ENI}: IP/Prefix address pool stats: {STATS}$",
    "C7": rf"Force removing eni {ENI} with (?P<n>\d+) assigned pods$",
    "C8": rf"Recovered (?P<key>\S+) => {ENI}/{IP}$",
    "C10": rf"ENI {ENI} marked as (?P<state>excluded from|available for) pod IP allocation$",
    "C11": rf"CIDR {CIDR} on excluded ENI {ENI} is now empty, scheduling for cleanup$",
    "C11b": rf"Successfully removed empty CIDR {CIDR} from excluded ENI {ENI}$",
    "D1": r"Received AddNetwork for NS (?P<netns>[^,]*), Sandbox (?P<cid>[^,]*), ifname (?P<ifn>\S*)$",
    "D2": r"(?P<verb>Add|Del)NetworkRequest: (?P<pb>.*)$",
    "D4": r"Send AddNetworkReply: Success: (?P<ok>\w+) IPAddr: \[(?P<ips>.*?)\], resp: (?P<pb>.*), err: (?P<err>.*)$",
    "D6": r"Received DelNetwork for Sandbox (?P<cid>\S*)$",
    "D13": r"Received shutdown signal, setting 'terminating' to true$",
    "E2": r"(?P<kind>IP|Prefix) pool stats for network card (?P<card>\d+): "
    r"Total IPs/Prefixes = (?P<total>\d+)/(?P<pfx>\d+), "
    r"AssignedIPs/CooldownIPs: (?P<asg>\d+)/(?P<cool>\d+), c\.maxIPsPerENI = (?P<max>\d+)$",
    "E4": r"Starting to (?P<dir>increase|decrease) pool size for network card (?P<card>\d+)$",
    "E5": rf"Start freeing ENI {ENI}$",
    "E7": r"IP pool manager - max pods: (?P<mp>\d+), warm IP target: (?P<wip>\d+), warm prefix target: (?P<wpf>\d+), "
    r"warm ENI target: (?P<weni>\d+), minimum IP target: (?P<min>\d+)$",
    "E9": r"Insufficient IP Addresses due to: (?P<code>\S+)$",
    "F1": r"Starting L-IPAMD (?P<v>\S*)\s*\.\.\.$",
    "F2": r"(?P<edge>Begin|Completed) ipam state recovery$",
    "F3c": rf"ENI {ENI} set up\.$",
    "F4b": rf"Primary IP for ENI {ENI} is {IP}$",
    "F5": rf"Setting up network for an ENI with IP address {IP}, MAC address (?P<mac>[0-9a-f:]+), CIDR {CIDR}, "
    r"route table (?P<table>\d+)$",
    "F7": rf"Reconcile and delete (?P<kind>IP|Prefix) {CIDR} on ENI {ENI}$",
    "F7b": rf"Reconcile and delete detached ENI {ENI}$",
    "F7e": r"Successfully Reconciled ENI/IP pool$",
    "F9": r"Initialization failure: (?P<err>.+)",
    "F9b": r"node init completed successfully$",
    "F11": r"(?P<act>Found|Removed) (?P<kind>\w+) SG (?P<sg>sg-\w+)(, added to| from) ipamd cache$",
    "G1": r"Trying to allocate (?P<n>\d+) IP addresses on new ENI$",
    "G1b": rf"Trying to allocate (?P<n>\d+) IP addresses on ENI {ENI}$",
    "G2": r"Creating ENI with security groups: \[(?P<sgs>[^\]]*)\] in subnet: (?P<sn>\S+)$",
    "G2b": rf"Created a new ENI: {ENI}$",
    "G2c": r"Failed to CreateNetworkInterface (?P<err>.*) for subnet (?P<sn>\S+)$",
    "G3": rf"Successfully created and attached a new ENI {ENI} to instance$",
    "G4": r"Allocated (?P<n>\d+) private IP (?P<kind>addresses|prefixes)$",
    "G5": rf"Failed to allocate a private IP/Prefix addresses on ENI {ENI}: (?P<err>.*)",
    "G6": rf"Trying to unassign the following (?P<kind>IPs|Prefixes) \[(?P<l>[^\]]+)\] from ENI {ENI}$",
    "G6b": rf"Successfully freed (?P<kind>IPs|Prefixes) \[(?P<l>[^\]]+)\] from ENI {ENI}$",
    "G10": r"Found (?P<what>availability zone|instance-id|instance-type|subnet-id|vpc-id): (?P<val>\S+)$",
    "G12": rf"Found ENI: {ENI}, MAC (?P<mac>[0-9a-f:]+), device (?P<dev>\d+)$",
    "G7": rf"Trying to free ENI: {ENI}$",
    "G7b": rf"Successfully (?P<what>detached|deleted) ENI: {ENI}$",
    "G7c": rf"ENI {ENI} not found\. It seems to be already freed$",
}
SANDBOX = Sandbox("aws-cni", "c0ffee", "eth0")
POD = Pod("shop", "web-0", 1)
NODE = Node(instance="i-1", instance_type="t3.small", enis_max=3, ips_per_eni=4)
READY = ev.EniReady("eni-1", "02:00:00:00:00:01", 0, 254, "subnet-a", "10.0.0.0/24", "10.0.0.4", primary=True)


def ids(lines: Sequence[Line]) -> list[str]:
    """The pattern that each line matches; "" for those that no reader looks for. Two matches are an error."""
    found = []
    for line in lines:
        hits = [name for name, pattern in PATTERNS.items() if re.match(pattern, line.msg, re.DOTALL)]
        assert len(hits) <= 1, f"{line.msg}: {hits}"
        found.append("".join(hits))
    return found


class Teller:
    """A narrator that is told events."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.narrator = Narrator(State())
        self.seq = 0
        self.tell(ev.Started(settings or Settings(), NODE, 1), READY)

    def tell(self, *events: Event, cause: Command | None = None) -> list[Line]:
        """The lines of one record."""
        self.seq += 1
        return self.narrator.lines(Record(FORMAT, self.seq, EPOCH, "i-1", cause or Terminate(), events))


def assigned(address: str = "10.0.0.5") -> ev.AddressAssigned:
    """An assignment in a /32 of eni-1."""
    return ev.AddressAssigned(address, "eni-1", f"{address}/32", SANDBOX, POD)


@pytest.mark.parametrize(
    "event, expected",
    [
        (assigned(), ["A1"]),
        (ev.AssignRefused("cooldown", "1 addresses still cool"), ["A10", "D4"]),
        (ev.AssignRefused("invalid", "IfName is empty"), ["", "D4"]),
        (READY, ["G12", "C1", "F4b", "F3c"]),
        (ev.CidrAdded("eni-1", "10.0.0.16/28"), ["C3"]),
        (ev.CidrRemoved("eni-1", "10.0.0.16/28", "scale_down"), ["C4"]),
        (ev.CidrRemoved("eni-1", "10.0.0.16/28", "excluded"), ["C4", "C11b"]),
        (ev.CidrRemoved("eni-1", "10.0.0.5/32", "resync", pods=1), ["F7", "", "C4"]),
        (ev.EniExcluded("eni-1", True), ["C10"]),
        (ev.EniLeft("eni-1", "freed"), ["C5", "E5"]),
        (ev.EniLeft("eni-1", "gone", 2), ["F7b", "C7", "C6"]),
        (ev.EniLeft("eni-1", "gone"), ["F7b", "C6"]),
        (ev.EniCreated("eni-2", "10.0.0.9", "subnet-a", "token"), ["G2b"]),
        (ev.EniAttached("eni-2", "eni-attach-1", 1), ["G3"]),
        (ev.EniDiscarded("eni-2"), [""]),
        (ev.PoolActed("increase", 0, {"total": 3, "assigned": 2, "cooling": 1}), ["E2", "E4"]),
        (ev.PoolActed("decrease", 0), ["E2", "E4"]),
        (ev.PoolActed("increased"), []),
        (ev.SubnetExhausted("InsufficientCidrBlocks", "none"), ["E9"]),
        (ev.Started(Settings(), NODE, 2), ["F1", "F2", "C1", "F2", "G10", "G10", "E7", ""]),
        (ev.NodeReady(), ["F9b"]),
        (ev.InitFailed("metadata", "", "no answer"), ["F9"]),
        (ev.Terminating(), ["D13"]),
        (ev.Resynced(), ["F7e"]),
        (ev.SecurityGroupsChanged(("sg-1", "sg-2")), ["F11", "F11"]),
        (ev.ErrorCounted("increaseIPPoolAllocENI", "no"), [""]),
        (ev.VpcCidrsChanged(("10.0.0.0/16",)), [""]),
        (ev.ReconcileCounted("eniReconcileAdd"), []),
        (ev.HoldEnded("10.0.0.5/32"), []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else None,
)
def test_an_event_is_told_in_the_readers_words(event: Event, expected: list[str]) -> None:
    """Families A to F, and G where an event tells of EC2."""
    assert ids(Teller().tell(event)) == expected


@pytest.mark.parametrize(
    "call, begun, done, failed",
    [
        (ec2.AssignPrivateIpAddresses("eni-1", prefixes=2), ["G1b"], ["G4"], "G5"),
        (ec2.AssignPrivateIpAddresses("eni-1", secondary_ips=3), ["G1b"], ["G4"], "G5"),
        (ec2.CreateNetworkInterface("subnet-a", ("sg-1",), "", "t", secondary_ips=3), ["G1", "G2"], [], "G2c"),
        (ec2.UnassignPrivateIpAddresses("eni-1", ("10.0.0.5",)), ["G6"], ["G6b"], ""),
        (ec2.UnassignPrivateIpAddresses("eni-1", (), ("10.0.0.16/28",)), ["G6"], ["G6b"], ""),
        (ec2.DetachNetworkInterface("eni-1", "a"), ["G7"], ["G7b"], ""),
        (ec2.DeleteNetworkInterface("eni-1"), [""], ["G7b"], ""),
        (ec2.AttachNetworkInterface("eni-1", 1), [""], [], ""),
        (ec2.SetUpEni("eni-1", "02:00:00:00:00:01", 1, 2, "10.0.0.9", "10.0.0.0/24"), ["F5"], [], ""),
        (ec2.PrunePodRules("10.0.0.5"), ["B10", "B10"], [], ""),
        (ec2.SetUpHost("10.0.0.4", ("10.0.0.0/16",)), [""], [], ""),
        (ec2.RefreshPodRules((("10.0.0.5", 254),)), [""], [], ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else None,
)
def test_a_call_is_told_when_it_begins_and_when_it_ends(
    call: ec2.Call, begun: list[str], done: list[str], failed: str
) -> None:
    """Families F and G; a failure is an error that carries EC2's code, a lost call a warning."""
    teller = Teller()

    assert ids(teller.tell(ev.CallStarted(CallId(1), call))) == begun
    assert ids(teller.tell(ev.CallEnded(CallId(1), "succeeded"))) == done
    teller.tell(ev.CallStarted(CallId(2), call))
    (refusal,) = teller.tell(ev.CallEnded(CallId(2), "failed", "InsufficientCidrBlocks", "none is free"))
    assert ids([refusal]) == [failed]
    assert refusal.level == "error" and "InsufficientCidrBlocks: none is free" in refusal.msg
    teller.tell(ev.CallStarted(CallId(3), call))
    (lost,) = teller.tell(ev.CallEnded(CallId(3), "lost", message="timeout"))
    assert (lost.level, ids([lost])) == ("warn", [""])


@pytest.mark.spec("EC2-24")
def test_an_eni_that_is_gone_already_is_no_error() -> None:
    """G7c: deleting what EC2 does not know is a success."""
    teller = Teller()
    teller.tell(ev.CallStarted(CallId(1), ec2.DeleteNetworkInterface("eni-1")))

    (line,) = teller.tell(ev.CallEnded(CallId(1), "failed", ec2.ENI_NOT_FOUND, "does not exist"))

    assert (line.level, ids([line])) == ("info", ["G7c"])


@pytest.mark.spec("DM-25")
def test_a_release_names_the_sandbox_that_held_the_address() -> None:
    """B1, B4: the event carries only the address; a migrated key is told as it was held."""
    teller = Teller()
    teller.tell(assigned())

    said = teller.tell(
        ev.AddressReleased("10.0.0.5", "eni-1", "10.0.0.5/32"), cause=DelNetwork(Sandbox("other", "c0ffee", "eth0"))
    )

    assert [line.msg for line in said[2:]] == [
        "unassignPodIPAddressUnsafe: Unassign IP 10.0.0.5 from sandbox aws-cni/c0ffee/eth0",
        "IP 10.0.0.5 entering cooldown period of 30s (available after 2026-01-01T00:00:30Z)",
    ]
    assert ids(said[2:]) == ["B1", "B4"]


@pytest.mark.parametrize("period, text", [(90, "1m30s"), (3600, "1h0m0s"), (5, "5s")])
def test_the_cooldown_is_written_as_go_writes_durations(period: int, text: str) -> None:
    """B4's `dur`."""
    teller = Teller(Settings(ip_cooldown_period=period))
    teller.tell(assigned())

    said = teller.tell(ev.AddressReleased("10.0.0.5", "eni-1", "10.0.0.5/32"))

    assert f"cooldown period of {text} (" in said[1].msg


def test_a_request_is_told_before_its_outcome() -> None:
    """D1, D2, D6: who asked, with which sandbox; a reader joins the outcome to it."""
    teller = Teller()

    given = teller.tell(assigned(), cause=AddNetwork(SANDBOX, POD))
    gone = teller.tell(ev.AddressReleased("10.0.0.5", "eni-1", "10.0.0.5/32"), cause=DelNetwork(SANDBOX, "PodDeleted"))

    assert ids(given) == ["D1", "D2", "A1"] and ids(gone) == ["D6", "D2", "B1", "B4"]
    assert 'K8S_POD_NAME:"web-0"  K8S_POD_NAMESPACE:"shop"' in given[1].msg and 'Reason:"PodDeleted"' in gone[1].msg


def test_the_effective_settings_are_one_line_of_json() -> None:
    """Upstream tells its warm targets only; ours are told whole, so that a log alone says how the pool was tuned."""
    (*_, last) = Teller().tell(ev.Started(Settings(warm_ip_target=3), NODE, 7))

    told = msgspec.json.decode(last.msg.removeprefix("Effective settings: "))
    assert (told["settings"]["warm_ip_target"], told["node"]["instance"], told["seed"]) == (3, "i-1", 7)


@pytest.mark.spec("DM-28")
@pytest.mark.parametrize("period", [0, -1])
def test_without_a_cooldown_none_is_told(period: int) -> None:
    """Without a cooldown none is told."""
    teller = Teller(Settings(ip_cooldown_period=period))
    teller.tell(assigned())

    assert ids(teller.tell(ev.AddressReleased("10.0.0.5", "eni-1", "10.0.0.5/32"))) == ["B1"]


@pytest.mark.spec("TV-25")
def test_a_stale_row_is_told_with_its_pod() -> None:
    """B9: dropped at start because its veth is gone; it does not cool."""
    teller = Teller()
    teller.tell(assigned())

    said = teller.tell(ev.AddressReleased("10.0.0.5", "eni-1", "10.0.0.5/32", stale=True))

    assert ids(said) == ["B9"] and said[0].msg.endswith("not found for pod shop/web-0")


def test_a_leaving_eni_is_told_with_the_figures_of_the_store() -> None:
    """C5, C6: addresses that go, and what is left."""
    teller = Teller(Settings(prefix_delegation=True))
    other = msgspec.structs.replace(READY, eni="eni-2", device=1, primary=False)
    teller.tell(other, ev.CidrAdded("eni-1", "10.0.0.16/28"), ev.CidrAdded("eni-2", "10.0.0.32/28"))
    teller.tell(ev.AddressAssigned("10.0.0.32", "eni-2", "10.0.0.32/28", SANDBOX, POD))

    said = teller.tell(ev.EniLeft("eni-2", "gone", 1))

    assert said[-1].msg.endswith("free 16 addresses, total: 16, assigned: 0, total prefixes: 1")


def test_the_emptied_block_of_an_excluded_eni_is_told_in_the_readers_words() -> None:
    """C11; a leftover block of a serving ENI is told in our own."""
    teller = Teller()
    due = ev.PurgeDue("eni-1", "10.0.0.5/32", EPOCH + 5 * SECOND)

    assert ids(teller.tell(due)) == [""]
    teller.tell(ev.EniExcluded("eni-1", True))
    assert ids(teller.tell(due)) == ["C11"]


def test_security_groups_are_told_one_by_one() -> None:
    """F11: what came and what went since the last set."""
    teller = Teller()
    teller.tell(ev.SecurityGroupsChanged(("sg-1", "sg-2")))

    said = teller.tell(ev.SecurityGroupsChanged(("sg-2", "sg-3")))

    assert [line.msg.split(" SG ")[0] + line.msg.split(" SG ")[1][:4] for line in said] == [
        "Found primarysg-3",
        "Removed primarysg-1",
    ]


def run(settings: Settings) -> tuple[Engine, list[Record]]:
    """A node with pods that come and go, scaling both ways."""
    records: list[Record] = []
    vpc = make_vpc(VpcSettings(seed=1), instance_type="t3.small", subnet="10.0.0.0/24", now=EPOCH)
    engine = Engine(vpc, settings, node_of(vpc), latency=Latency("realistic", 1), sink=records.append)
    engine.start(1)
    engine.advance(EPOCH + 60 * SECOND)
    for number in range(5):
        engine.submit(AddNetwork(Sandbox("aws-cni", f"c{number}", "eth0"), Pod("shop", f"web-{number}", 1)))
        engine.advance(engine.now + 30 * SECOND)
    for number in range(1, 5):
        engine.submit(DelNetwork(Sandbox("aws-cni", f"c{number}", "eth0"), "PodDeleted"))
    engine.advance(engine.now + 300 * SECOND)
    engine.start(2)
    engine.advance(engine.now + 60 * SECOND)
    return engine, records


@pytest.mark.parametrize("settings", [Settings(), Settings(prefix_delegation=True, warm_prefix_target=1)])
def test_the_pool_can_be_rebuilt_from_the_log_alone(settings: Settings) -> None:
    """A reader that knows C1, C3..C6, A1, B1, C8 and F1 arrives at the State's ENIs, blocks and assignments."""
    engine, records = run(settings)
    narrator = Narrator(State())
    pool: dict[str, set[str]] = {}
    held: dict[str, str] = {}

    for record in records:
        for line in narrator.lines(record):
            for name in ids([line]):
                if not name:
                    continue
                found = re.match(PATTERNS[name], line.msg)
                assert found is not None
                values = found.groupdict()
                match name:
                    case "F1":
                        pool.clear()
                        held.clear()
                    case "C1":
                        pool[values["eni"]] = set()
                    case "C3":
                        pool[values["eni"]].add(values["cidr"])
                    case "C4":
                        pool[values["eni"]].remove(values["cidr"])
                    case "C5" | "C6":
                        del pool[values["eni"]]
                    case "A1":
                        held[values["ip"]] = f"{values['net']}/{values['cid']}/{values['ifn']}"
                    case "C8":
                        held[values["ip"]] = values["key"]
                    case "B1":
                        del held[values["ip"]]
                    case _:
                        pass

    state = engine.state
    assert pool == {eni.eni: set(eni.blocks) for eni in state.enis.values()}
    owners = state.stores[0].owners
    assert sorted(held.values()) == sorted(sandbox.text for sandbox in owners)
    assert len(held) == 1


def test_a_narrator_that_begins_in_the_middle_knows_what_was_recovered() -> None:
    """It is made with the folded State: the restart's F1 is followed by the pool and the pods that survived."""
    engine, records = run(Settings())
    restart = max(index for index, record in enumerate(records) if isinstance(record.events[-1], ev.Started))

    from_the_start = Narrator(State())
    whole = [from_the_start.lines(record) for record in records]
    later = Narrator(engine.state).lines(records[restart])

    told = ids(later)
    assert told[:3] == ["F1", "F2", "C1"] and told[told.index("F2", 2) - 1] == "C8"
    assert sorted(line.msg for line in later) == sorted(line.msg for line in whole[restart])


def test_the_lines_of_a_record_leave_together_and_name_it() -> None:
    """`caller` is the record's number: `ipamd log show` has the rest of the story."""
    written: list[tuple[int, str, list[Line]]] = []
    tell = Narrator(State()).subscriber(lambda *call: written.append(call))

    tell(Record(FORMAT, 41, EPOCH, "i-1", Terminate(), (ev.HoldEnded("10.0.0.5/32"),)))
    tell(Record(FORMAT, 42, EPOCH, "i-1", Terminate(), (READY,)))

    ((at, caller, lines),) = written
    assert (at, caller, len(lines)) == (EPOCH, "journal/record:42", 4)
