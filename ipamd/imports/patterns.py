"""What ipamd and the CNI plugin say in their logs: message patterns of every release, v1.3 to v1.23.

One table: id -> pattern, matched at the beginning of `msg`; the first one that matches, in the table's order, wins.
`caller` is no part of it: it names the wrong frame. Groups: `ip`, `cidr`, `eni`, `cid` (container), `ifn` (interface),
`net` (network name), `ns` and `pod`, `err`, figures as `total`, `asg`, `cool`. F9c and G1c are our own daemon's.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# fmt: off
PATTERNS: Final[dict[str, str]] = {
    # A: assignment in the data store
    "A1": r"assignPodIPAddressUnsafe: Assign IP (?P<ip>\S+) to sandbox "
    r"(?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>\S+) with metadata \{K8SPodNamespace:(?P<ns>\S*) "
    r"K8SPodName:(?P<pod>\S*) InterfacesCount:(?P<n>\d+)\}",
    "A2": r"assignPodIPAddressUnsafe: Assign IP (?P<ip>\S+) to sandbox (?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>\S+)",
    "A3": r"AssignPodIPv4Address: Assign IP (?P<ip>\S+) to sandbox (?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>\S+)",
    "A4": r"AssignPodIPv4Address:? Assign IP (?P<ip>\S+) to pod \(name (?P<pod>\S*), namespace (?P<ns>\S*) "
    r"(?:container|sandbox) (?P<cid>\S*)\)",
    "A5": r"AssignPodIPv[46]Address: duplicate pod assign for sandbox (?P<key>\S+)",
    "A5b": r"AssignPodIPv4Address: duplicate pod assign for IP (?P<ip>[^,]*), name (?P<pod>[^,]*), namespace "
    r"(?P<ns>[^,]*), (?:container|sandbox) (?P<cid>\S*)",
    "A6": r"Assign(?:Pod)?IPv4Address: IP address pool stats: total:? ?(?P<total>\d+), assigned (?P<asg>\d+)",
    "A6b": r"Assign(?:Pod)?IPv6Address: IPv6 address pool stats: assigned (?P<asg>\d+)",
    "A7": r"New (?:v6 )?IP from (?:CIDR|PD) pool- (?P<ip>\S+)",
    "A8": r"Allocating new IP (?P<ip>\S+) from CIDR (?P<cidr>\S+) for pod",
    "A8b": r"Reassigning IP (?P<ip>\S+) \(was free for (?P<dur>[^)]+)\)",
    "A9": r"AssignPodIPv4Address: ENI (?P<eni>\S+) does not have available addresses",
    "A10": r"(?P<text>DataStore has no available IP(?:/Prefix)? addresses.*)",
    # B: release
    "B1": r"unassignPodIPAddressUnsafe: Unassign IP (?P<ip>\S+) from sandbox "
    r"(?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>\S+)",
    "B2": r"UnAssignPodIP(?:v4)?Address: Unassign IP (?P<ip>\S+) from sandbox "
    r"(?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>\S+)",
    "B3": r"UnassignPodIP(?:v4)?Address: sandbox (?P<net>[^/]+)/(?P<cid>[^/]+)/(?P<ifn>[^']+)'s ipAddr "
    r"(?P<ip>[^,]*), DeviceNumber (?P<dev>-?\d+)",
    "B3b": r"Un[aA]ssign(?:Pod)?IPv4Address: pod \(Name: (?P<pod>[^,]*), NameSpace (?P<ns>\S*) "
    r"(?:Container|Sandbox) (?P<cid>\S*)\)'s ipAddr (?P<ip>[^,]*), DeviceNumber(?P<dev>-?\d+)",
    "B4": r"IP (?P<ip>\S+) entering cooldown period of (?P<dur>\S+) \(available after (?P<until>[^)]+)\)",
    "B5": r"IP (?P<ip>\S+) released from cooldown after (?P<dur>[^,]+), available for reassignment in CIDR "
    r"(?P<cidr>\S+)",
    "B6": r"UnassignPodIP(?:v4)?Address: Failed to find sandbox (?P<key>\S+)",
    "B6b": r"UnassignPodIP(?:v4)?Address: Failed to find IPAM entry under full key",
    "B7": r"UnassignPodIP(?:v4)?Address: IP address pool stats: total:? ?(?P<total>\d+), assigned "
    r"(?P<asg>\d+), sandbox (?P<key>\S+)",
    "B8": r"datastore: Sandbox (?P<key>\S+) uses unknown IP(?:v4| Address) (?P<ip>\S+) - presuming stale/dead",
    "B9": r"stale IP allocation for ID\((?P<cid>[^)]*)\): IPv4\((?P<v4>[^)]*)\), IPv6\((?P<v6>[^)]*)\) due to "
    r"(?P<why>.*)",
    "B10": r"Delete (?P<side>toContainer|fromContainer) rule for v4: (?P<v4>[^,]*), v6: (?P<v6>\S*)",
    # C: ENIs and CIDRs of the data store
    "C1": r"DataStore [aA]dd an ENI (?P<eni>\S+)",
    "C2": r"Adding (?P<cidr>\S+) to DS for (?P<eni>\S+)",
    "C3": r"Added ENI\((?P<eni>[^)]+)\)'s IP(?:/Prefix)? (?P<cidr>\S+) to datastore",
    "C4": r"Deleted ENI\((?P<eni>[^)]+)\)'s (?P<kind>IPv6 Prefix|IP/Prefix|IP) (?P<cidr>\S+) from datastore",
    "C5": r"RemoveUnusedENIFromStore (?P<eni>[^:]+): IP(?:/Prefix)? address pool stats: free (?P<freed>\d+) "
    r"addresses, total: (?P<total>\d+), assigned: (?P<asg>\d+)(?:, total prefixes: (?P<pfx>\d+))?",
    "C6": r"RemoveENIFromDataStore (?P<eni>[^:]+): IP(?:/Prefix)? address pool stats: free (?P<freed>\d+) "
    r"addresses, total: (?P<total>\d+), assigned: (?P<asg>\d+)(?:, total prefixes: (?P<pfx>\d+))?",
    "C7": r"Force removing eni (?P<eni>\S+) with (?P<n>\d+) assigned pods",
    "C8": r"Recovered (?P<key>\S+) => (?P<eni>[^/]+)/(?P<ip>\S+)",
    "C9": r"initialized datastore for network cards index (?P<card>\d+)",
    "C10": r"ENI (?P<eni>\S+) marked as (?P<state>excluded from|available for) pod IP allocation",
    "C11": r"CIDR (?P<cidr>\S+) on excluded ENI (?P<eni>\S+) is now empty, scheduling for cleanup",
    "C11b": r"Successfully removed empty CIDR (?P<cidr>\S+) from excluded ENI (?P<eni>\S+)",
    "C12": r"ENI (?P<eni>\S+) cannot be deleted because (?P<why>.*)",
    "C14": r"Marking ENI (?P<eni>\S+) as being unmanaged",
    "C14b": r"Skipping ENI (?P<eni>\S+): since it is (?P<why>.*)",
    "C15": r"Trunk interface \((?P<eni>[^)]*)\) has been added to the node already",
    "C13": r"getDeletableENI: found a deletable ENI (?P<eni>\S+)",
    # D: requests over gRPC
    "D1": r"Received AddNetwork for NS (?P<netns>[^,]*), Sandbox (?P<cid>[^,]*), ifname (?P<ifn>\S*)",
    "D1b": r"Received AddNetwork for NS (?P<netns>[^,]*), Pod (?P<pod>[^,]*), NameSpace (?P<ns>[^,]*), "
    r"(?:Container|Sandbox) (?P<cid>[^,]*), ifname (?P<ifn>\S*)",
    "D2": r"(?P<verb>Add|Del)NetworkRequest: (?P<pb>.*)",
    "D3": r"Assigned IP from network card: (?P<card>\d+) -> IPv4: (?P<v4>[^,]*), IPv6: (?P<v6>[^,]*), device "
    r"number: (?P<dev>-?\d+)",
    "D4": r"Send AddNetworkReply: Success: (?P<ok>true|false) IPAddr: \[(?P<ips>.*?)\], resp: (?P<pb>.*), "
    r"err: (?P<err>.*)",
    "D5": r"Send AddNetworkReply: IPv4Addr:? (?P<v4>[^,]*)(?:, IPv6Addr: (?P<v6>[^,]*))?, DeviceNumber: "
    r"(?P<dev>-?\d+), err: (?P<err>.*)",
    "D6": r"Received DelNetwork for Sandbox (?P<cid>\S*)",
    "D6b": r"Received DelNetwork for IP (?P<ip>[^,]*), Pod (?P<pod>[^,]*), Namespace (?P<ns>[^,]*), "
    r"(?:Container|Sandbox) (?P<cid>\S*)",
    "D7": r"Send DelNetworkReply: IPAddress: \[(?P<ips>.*?)\], err: (?P<err>.*)",
    "D7b": r"Send DelNetworkReply: IPv4Addr:? (?P<v4>[^,]*)(?:, IPv6Addr: (?P<v6>[^,]*))?, DeviceNumber: "
    r"(?P<dev>-?\d+)(?:, NetworkPolicyMode: (?P<np>[^,]*))?, err: (?P<err>.*)",
    "D8": r"Rejecting (?P<verb>Add|Del)Network request: (?P<err>.*)",
    "D9": r"Returning failure response for AddNetwork: (?P<err>.*)",
    "D9b": r"Failed to assign IPs from network card (?P<card>\d+): (?P<err>.*)",
    "D10": r"Pod vlandId: (?P<vlan>\d+)",
    "D11": r"Send (?P<verb>Add|Del)NetworkReply: (?P<why>[A-Zfp][A-Za-z ]*(?:pod|ENI|UID)[^:]*)(?:: (?P<err>.*))?$",
    "D12": r"Serving RPC Handler (?:version (?P<v>\S*) )?on (?P<addr>\S+)",
    "D13": r"Received shutdown signal, setting 'terminating' to true",
    # E: the pool
    "E1": r"IP stats for Network Card (?P<card>\d+) - total IPs: (?P<total>\d+), assigned IPs: (?P<asg>\d+), "
    r"cooldown IPs: (?P<cool>\d+)",
    "E1b": r"IP stats - total IPs: (?P<total>\d+), assigned IPs: (?P<asg>\d+), cooldown IPs: (?P<cool>\d+)",
    "E2": r"(?P<kind>IP|Prefix) pool stats(?: for network card (?P<card>\d+))?: Total IPs/Prefixes = "
    r"(?P<total>\d+)/(?P<pfx>\d+), AssignedIPs/CooldownIPs: (?P<asg>\d+)/(?P<cool>\d+), c\.maxIPsPerENI "
    r"= (?P<max>\d+)",
    "E2b": r"(?P<kind>IP|Prefix) pool stats: total = (?P<total>\d+), used = (?P<asg>\d+), "
    r"c\.(?:maxIPsPerENI|currentMaxAddrsPerENI) = (?P<max>\d+)",
    "E2c": r"Current warm IP stats ?: target: (?P<t>\d+), (?P<rest>.*)",
    "E3": r"IP pool is too low(?: for Network Card (?P<card>\d+))?: available \((?P<av>-?\d+)\) < ENI target "
    r"\((?P<t>\d+)\) \* addrsPerENI \((?P<per>\d+)\)",
    "E4": r"Starting to (?P<dir>increase|decrease) (?:IP |Datastore )?pool(?: size)?(?: for network card "
    r"(?P<card>\d+))?",
    "E5": r"Start freeing (?:ENI|eni) (?P<eni>\S+)(?: from network card (?P<card>\d+))?",
    "E6": r"Successfully decreased IP pool by removing IPs \[(?P<ips>[^\]]*)\] from ENI (?P<eni>\S+)",
    "E6b": r"Successfully removed prefixes \[(?P<pfx>[^\]]*)\] from ENI (?P<eni>\S+)",
    "E7": r"IP pool manager - max pods: (?P<mp>\d+), warm IP target: (?P<wip>\d+), warm prefix target: "
    r"(?P<wpf>\d+), warm ENI target: (?P<weni>\d+), minimum IP target: (?P<min>\d+)",
    "E8": r"Recently we had InsufficientCidr error hence will wait for (?P<dur>\S+) before retrying",
    "E8b": r"Unable to attach IPs/Prefixes for the ENI, subnet doesn't seem to have enough IPs/Prefixes",
    "E9": r"Insufficient IP Addresses due to: (?P<code>\S+)",
    "E10": r"Skipping ENI allocation as the (?:instance's )?max ENI limit",
    "E11": r"hasRoomForEni: networkCard=(?P<card>\d+), (?P<kv>.*)",
    "E12": r"AWS CNI is (?P<why>terminating|on a non schedulable node), (?P<rest>.*)",
    "E4b": r"Successfully (?P<dir>increased|decreased) IP pool",
    # F: start and reconciling
    "F1": r"Starting L-IPAMD (?P<v>\S*)\s*\.\.\.",
    "F2": r"(?P<edge>Begin|Completed) ipam state recovery",
    "F2b": r"backing store doesn't exists, assuming bootstrap on a new node",
    "F3": r"DescribeAllENIs success: ENIs: (?P<n>\d+), tagged: (?P<t>\d+)",
    "F3d": r"Total number of interfaces found: (?P<n>\d+)",
    "F3b": r"Discovered ENI (?P<eni>\S+), trying to set it up",
    "F3c": r"ENI (?P<eni>\S+) set up\.?$",
    "F4": r"Found ENIs having (?P<ips>\d+) secondary IPs and (?P<pfx>\d+) Prefixes",
    "F4c": r"Found IPv6 ENI (?P<eni>\S+) having (?P<ips>\d+) secondary IPs and (?P<pfx>\d+) Prefixes and "
    r"isTrunk: (?P<trunk>\w+)",
    "F4b": r"Primary IP for ENI (?P<eni>\S+) is (?P<ip>\S+)",
    "F5": r"Setting up network for an ENI with IP address (?P<ip>[^,]+), MAC address (?P<mac>[^,]+), CIDR "
    r"(?P<cidr>[^,]+),? (?:and )?route table (?P<table>\d+)(?: and Network Card (?P<card>\d+))?",
    "F6": r"Instance metadata does not match data store! ipPool: (?P<pool>\[[^\]]*\]), metadata: (?P<md>.*)",
    "F7": r"Reconcile and delete (?P<kind>IP|Prefix) (?P<ip>\S+) on ENI (?P<eni>\S+)",
    "F7b": r"Reconcile and delete detached ENI (?P<eni>\S+)",
    "F7c": r"Reconcile and add a new ENI (?P<eni>.*)",
    "F7d": r"Reconcile and skip primary IP (?P<ip>\S+) on ENI (?P<eni>\S+)",
    "F7e": r"Successfully Reconciled ENI/IP pool",
    "F8": r"logOutOfSyncState: (?P<text>.*)",
    "F9": r"Initialization failure: (?P<err>.*)",
    "F9b": r"node init completed successfully",
    "F10": r"Updating API server connectivity status from (?P<a>\w+) to (?P<b>\w+)",
    "F10b": r"Updated maxPods from (?P<a>\d+) to (?P<b>\d+) based on node capacity",
    "F11": r"(?P<act>Found|Removed) (?P<kind>.*?) SG (?P<sg>sg-[^, ]+),? (?:added to|from) ipamd cache",
    "F11b": r"(?P<act>Found|Removed) (?P<what>sg-[^, ]+|[0-9./]+),? (?:added to|from) ipamd cache",
    "F9c": r"Effective settings: (?P<json>\{.*\})$",
    # G: EC2
    "G1": r"Trying to allocate (?P<n>\d+) IP addresses on new ENI",
    "G1b": r"Trying to allocate (?P<n>\d+) IP addresses on ENI (?P<eni>\S+)",
    "G1c": r"Trying to allocate (?P<n>\d+) IPv6 prefixes on ENI (?P<eni>\S+)",
    "G2": r"Creating ENI with security groups: \[(?P<sgs>[^\]]*)\] in subnet: (?P<sn>\S*)",
    "G2b": r"Created a new (?:ENI|eni): (?P<eni>\S+)",
    "G2c": r"Failed to CreateNetworkInterface (?P<err>.*) for subnet (?P<sn>\S+)$",
    "G2d": r"Failed to CreateNetworkInterface (?P<err>.*)",
    "G3": r"Successfully created and attached a new (?:ENI|eni) (?P<eni>\S+) to instance(?: on network card "
    r"(?P<card>\d+))?",
    "G3b": r"Failed to attach (?:ENI|eni) (?P<eni>[^:]+): (?P<err>.*)",
    "G4": r"Allocated (?P<n>\d+) private (?P<kind>IP addresses|IP prefixes|IPv6 prefix\(es\))",
    "G5": r"Failed to allocate a private IP(?:/Prefix)? addresses on ENI (?P<eni>[^:]+): (?P<err>.*)",
    "G6": r"Trying to unassign the following (?P<kind>IPs|Prefixes) \[(?P<l>[^\]]*)\] from ENI (?P<eni>\S+)",
    "G6b": r"Successfully freed (?P<kind>IPs|Prefixes|IPv4 Prefixes|IPv6 Prefixes|all Prefixes) "
    r"\[(?P<l>[^\]]*)\] from ENI (?P<eni>\S+)",
    "G7": r"Trying to free (?:ENI|eni): (?P<eni>\S+)",
    "G7b": r"Successfully (?P<what>detached|deleted|freed) (?:ENI|eni): (?P<eni>\S+)",
    "G7c": r"ENI (?P<eni>\S+) not found\. It seems to be already freed",
    "G8": r"Got network card index (?P<card>\d+) for ENI (?P<eni>\S+)",
    "G8b": r"(?P<eni>eni-\S+) is of type: (?P<type>\S+)",
    "G9": r"Found (?P<n>\d+) leaked ENIs with the AWS CNI tag",
    "G9b": r"Cleaned up leaked CNI ENI (?P<eni>\S+)",
    "G10": r"(?:Found|Discovered) (?:the instance )?(?P<what>region|availability "
    r"zone|instance-id|instance-type|primary interface's MAC address|subnet-id|vpc-id|primary IPv[46] "
    r"address): (?P<val>\S+)",
    "G11": r"(?P<eni>eni-\S+) is the primary ENI of this instance",
    "G12": r"Found ENI: (?P<eni>eni-[^,]+), MAC (?P<mac>[^,]+), device (?P<dev>\d+)",
    "G13": r"Found ENI MAC address: (?P<mac>\S+)",
    # H: plugin.log
    "H1": r"Received CNI (?P<verb>add|del) request: ContainerID\((?P<cid>[^)]*)\) Netns\((?P<netns>[^)]*)\) "
    r"IfName\((?P<ifn>[^)]*)\) Args\((?P<args>[^)]*)\) Path\((?P<path>[^)]*)\) "
    r"argsStdinData\((?P<json>.*)\)\s*$",
    "H2": r"Received add network response (?:from ipamd )?for container (?P<cid>\S+) interface (?P<ifn>\S+): "
    r"(?P<pb>.*)",
    "H2b": r"Received add network response for pod (?P<pod>\S*) namespace (?P<ns>\S*) (?:container|sandbox) "
    r"(?P<cid>\S*): (?P<pb>.*)",
    "H3": r"SetupPodNetwork: hostVethName=(?P<host>[^,]*), contVethName=(?P<cont>[^,]*), "
    r"netnsPath=(?P<netns>[^,]*), ipAddr=(?P<ip>[^,]*), routeTableNumber=(?P<table>-?\d+), "
    r"mtu=(?P<mtu>\d+)",
    "H3b": r"SetupPodNetwork: hostVethName=(?P<host>[^,]*), contVethName=(?P<cont>[^,]*), "
    r"netnsPath=(?P<netns>[^,]*), v4Addr=(?P<v4>[^,]*), v6Addr=(?P<v6>[^,]*), "
    r"deviceNumber=(?P<dev>-?\d+), mtu=(?P<mtu>\d+)",
    "H3c": r"SetupBranchENIPodNetwork: hostVethName=(?P<host>[^,]*), (?P<kv>.*)",
    "H4": r"Received del network response (?:from ipamd )?for pod (?P<pod>\S*) namespace (?P<ns>\S*) "
    r"(?:container|sandbox) (?P<cid>\S*): (?P<pb>.*)",
    "H5": r"TeardownPodNetwork: containerAddr=(?P<ip>[^,]*), "
    r"(?:routeTable=(?P<table>-?\d+)|deviceNumber=(?P<dev>-?\d+))",
    "H5b": r"TeardownBranchENIPodNetwork: containerAddr=(?P<ip>[^,]*), vlanID=(?P<vlan>\d+)",
    "H6": r"Error received from (?P<verb>Add|Del)Network (?:grpc|gRPC) call for (?:containerID|container|pod) "
    r"(?P<cid>\S+?):? (?P<err>.*)",
    "H7": r"Handled (?P<how>CNI del request with prevResult|pod teardown using prevResult): "
    r"ContainerID\((?P<cid>[^)]*)\)(?P<rest>.*)",
    "H7b": r"Could not teardown pod using prevResult: ContainerID\((?P<cid>[^)]*)\)(?P<rest>.*)",
    "H7c": r"Container (?P<cid>\S+) not found",
    "H8": r"Failed to (?P<verb>setup default|delete pod) network policy for Pod Name (?P<pod>\S*) and "
    r"NameSpace (?P<ns>\S*): (?P<err>.*)",
}
# fmt: on
_PREFIX: Final = 5
"""Characters of a message by which its candidates are looked up."""
_LITERAL: Final = re.compile(r"(?:[\w ,:=!'/-]|\\[().!\[\]])*")


class Match(NamedTuple):
    """Which pattern a message has, and its values."""

    id: str
    values: dict[str, str | None]


def _literal(pattern: str) -> str:
    """The fixed text that a pattern begins with."""
    found = _LITERAL.match(pattern)
    assert found is not None
    text = found[0]
    if pattern[found.end() : found.end() + 1] in ("?", "*", "{"):
        text = text[:-2] if text[-2:-1] == "\\" else text[:-1]
    return re.sub(r"\\(.)", r"\1", text)


def _index() -> tuple[dict[str, list[tuple[str, re.Pattern[str]]]], list[tuple[str, re.Pattern[str]]]]:
    """Candidates by the first characters of a message, each list in the table's order, and those for the others."""
    compiled = [(name, re.compile(pattern, re.DOTALL), _literal(pattern)) for name, pattern in PATTERNS.items()]
    loose = [(name, pattern) for name, pattern, literal in compiled if len(literal) < _PREFIX]
    heads = sorted({literal[:_PREFIX] for _, _, literal in compiled if len(literal) >= _PREFIX})
    by_head = {
        head: [(name, pattern) for name, pattern, text in compiled if len(text) < _PREFIX or text.startswith(head)]
        for head in heads
    }
    return by_head, loose


_BY_HEAD, _LOOSE = _index()


def match(msg: str) -> Match | None:
    """What a message says, or None where no release says so."""
    for name, pattern in _BY_HEAD.get(msg[:_PREFIX], _LOOSE):
        found = pattern.match(msg)
        if found is not None:
            return Match(name, found.groupdict())
    return None
