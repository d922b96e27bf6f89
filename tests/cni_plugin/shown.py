"""What somebody made in a kernel, as short texts to compare; what the kernel makes by itself is left out."""

from __future__ import annotations

from typing import Any

from tests.netns.rig import ip, rows

OWN_RULES = {(0, "local"), (32766, "main"), (32767, "default")}  # of every new namespace


def links(netns: str) -> dict[str, dict[str, Any]]:
    """Links by name, without loopback: MTU, whether up, length of the queue."""
    return {
        row["ifname"]: {"mtu": row["mtu"], "up": "UP" in row["flags"], "qlen": row.get("txqlen", 0)}
        for row in rows(netns, "link", "show")
        if row["ifname"] != "lo"
    }


def mac(netns: str, name: str) -> str:
    """A link's address."""
    found: str = rows(netns, "link", "show", "dev", name)[0]["address"]
    return found


def addresses(netns: str) -> set[str]:
    """`ADDRESS/LENGTH LINK` of all global addresses."""
    return {
        f"{each['local']}/{each['prefixlen']} {row['ifname']}"
        for row in rows(netns, "address", "show")
        for each in row["addr_info"]
        if each.get("scope") == "global"
    }


def routes(netns: str, family: str = "-4") -> set[str]:
    """`DESTINATION [via GATEWAY] LINK [scope] [table N]` of added routes; no table is main."""
    return {
        " ".join(str(part) for part in (row["dst"], _via(row), row["dev"], row.get("scope"), _table(row)) if part)
        for row in rows(netns, family, "route", "show", "table", "all")
        if row.get("protocol") != "kernel"
    }


def rules(netns: str, family: str = "-4") -> set[str]:
    """`PRIORITY [from ADDRESS] [to ADDRESS] [iif LINK] TABLE` of added rules."""
    return {
        " ".join([str(row["priority"]), *_selectors(row), str(row["table"])])
        for row in rows(netns, family, "rule", "show")
        if (row["priority"], row["table"]) not in OWN_RULES
    }


def neighbours(netns: str) -> set[str]:
    """`ADDRESS LINK MAC` of permanent entries."""
    found = rows(netns, "-4", "neighbour", "show") + rows(netns, "-6", "neighbour", "show")
    return {f"{row['dst']} {row['dev']} {row['lladdr']}" for row in found if "PERMANENT" in row["state"]}


def knows(netns: str, kind: str) -> bool:
    """Whether this kernel has links of that kind."""
    if kind == "vlan":
        return (
            ip(
                "link", "add", "link", "lo", "name", "probe.1", "type", "vlan", "id", "1", netns=netns, check=False
            ).returncode
            == 0
        )
    return ip("link", "add", "name", "probe1", "type", kind, netns=netns, check=False).returncode == 0


def _via(row: dict[str, Any]) -> str:
    return f"via {row['gateway']}" if "gateway" in row else ""


def _table(row: dict[str, Any]) -> str:
    return f"table {row['table']}" if "table" in row else ""


def _selectors(row: dict[str, Any]) -> list[str]:
    named = [("from", row.get("src", "all")), ("to", row.get("dst", "all")), ("iif", row.get("iif", "all"))]
    return [f"{word} {value}" for word, value in named if value != "all"]
