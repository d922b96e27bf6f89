"""What each kind of line means for the pool. Ids are those of `patterns.PATTERNS`."""

from __future__ import annotations

from typing import Final, Literal

from ipamd.core import events as ev
from ipamd.core import pool_linux, reasons
from ipamd.core.commands import AddNetwork, Terminate
from ipamd.core.types import EniId, Instant, IpText, Pod, Sandbox

from .addresses import canonical, is_address, is_block, prefix_of
from .calls import Calls
from .facts import protobuf
from .pool import Pool
from .requests import Requests
from .sorting import Heard

_TEXTS: Final = frozenset(("ip", "cidr", "v4", "v6"))
"""Values that are an address or a block."""


class Retelling:
    """One line after another, in the order of time. What it does to the pool is recorded in `pool`."""

    def __init__(self, pool: Pool, ipamd: tuple[Instant, Instant]) -> None:
        """`ipamd`: the span that ipamd's own log covers."""
        self.pool = pool
        self.requests = Requests(pool.facts)
        self.calls = Calls(pool)
        self._ipamd = ipamd
        self._resync: set[str] = set()
        self._gone: dict[EniId, int] = {}
        self._stats: dict[int, dict[str, int]] = {}
        self._difference: dict[int, tuple[int, int]] = {}
        """By network card."""

    def take(self, heard: Heard) -> None:
        """One line. Raises nothing for any text: what makes no sense is counted."""
        values = {key: canonical(value or "") if key in _TEXTS else value or "" for key, value in heard.values.items()}
        match heard.id[0]:
            case "A":
                self._assignment(heard, values)
            case "B":
                self._release(heard, values)
            case "C":
                self._store(heard, values)
            case "D":
                self._request(heard, values)
            case "H":
                self._plugin(heard, values)
            case _:
                self._rest(heard, values)

    # ---- assignment and release ----------------------------------------------------------------------------

    def _assignment(self, heard: Heard, values: dict[str, str]) -> None:
        if heard.id == "A10":
            self.requests.reason(values["text"])
            return
        container = values["cid"]
        sandbox = Sandbox(values.get("net") or "aws-cni", container, values.get("ifn") or "eth0")
        pod = self.pool.facts.pods.get(container, Pod())
        if values.get("pod"):
            pod = Pod(values.get("ns", ""), values["pod"], int(values.get("n") or 0))
        if self._usable(values["ip"]):
            self._assign(heard, sandbox, values["ip"], pod)

    def _assign(self, heard: Heard, sandbox: Sandbox, address: IpText, pod: Pod) -> None:
        another = self.pool.address_of(sandbox)
        events = self.pool.assign(heard, sandbox, address, pod)
        asked = self.requests.granted(sandbox, pod)
        self.pool.record(heard, events, None if another and self.pool.address_of(sandbox) == another else asked)

    def _usable(self, address: str) -> bool:
        if is_address(address):
            return True
        self.pool.report.lose("an address that is none")
        return False

    def _release(self, heard: Heard, values: dict[str, str]) -> None:
        match heard.id:
            case "B1" | "B2" | "B3" | "B3b":
                sandbox = Sandbox(values.get("net") or "aws-cni", values["cid"], values.get("ifn") or "eth0")
                if values["ip"] and self._usable(values["ip"]):
                    holder = self.pool.held(values["ip"]) or sandbox
                    events = self.pool.release(heard, sandbox, values["ip"])
                    last = self.pool.holds(holder) <= 1
                    self.pool.record(heard, events, self.requests.released(holder) if last else None)
            case "B4":
                held = self.pool.held(values["ip"]) if is_address(values["ip"]) else None
                if held is not None:
                    self.pool.assume("a release of which only the cooldown is told")
                    events = self.pool.release(heard, held, values["ip"])
                    self.pool.record(heard, events, self.requests.released(held))
            case "B8" | "B9":
                address = values.get("ip") or values.get("v4") or values.get("v6", "")
                if is_address(address):
                    self.pool.record(heard, self.pool.release(heard, None, address, stale=True))
            case _:
                pass  # B6: a sandbox that holds nothing

    # ---- ENIs and blocks -----------------------------------------------------------------------------------

    def _store(self, heard: Heard, values: dict[str, str]) -> None:
        pool, eni, cidr = self.pool, values.get("eni", ""), values.get("cidr", "")
        match heard.id:
            case "C1":
                pool.record(heard, pool.eni(eni))
            case "C3":
                if is_block(cidr):
                    pool.record(heard, pool.block(eni, cidr))
                else:
                    pool.report.lose("a block that is none")
            case "C4":
                self._removed(heard, eni, cidr)
            case "C5" | "C6":
                self._left(heard, eni, "freed" if heard.id == "C5" else "gone", values)
            case "C7":
                self._gone[eni] = int(values["n"])
            case "C8":
                self._recovered(heard, values)
            case "C10":
                excluded = values["state"].startswith("excluded")
                known = pool.state.enis.get(eni)
                if known is None or known.excluded != excluded:
                    pool.record(heard, [*pool.eni(eni), ev.EniExcluded(eni, excluded)])
            case "C11":
                if is_block(cidr):
                    pool.record(heard, [ev.PurgeDue(eni, cidr, heard.at)])
            case "C11b":
                pool.record(heard, [ev.PurgeEnded(eni, cidr)] if (eni, cidr) in pool.state.purges else [])
            case _:
                pass

    def _removed(self, heard: Heard, eni: EniId, cidr: str) -> None:
        if not is_block(cidr):
            self.pool.report.lose("a block that is none")
            return
        known = self.pool.state.enis.get(eni)
        block = known.blocks.get(cidr) if known is not None else None
        before = []
        if block is None:
            self.pool.assume("a block was in the pool before the first line that names it")
            before = self.pool.block(eni, cidr)
        key = f"{eni} {cidr.removesuffix('/32')}"
        resync = key in self._resync
        self._resync.discard(key)
        pods = block.assigned if block is not None else 0
        why = "resync" if resync else "scale_down"
        gone = ev.CidrRemoved(eni, cidr, "resync" if why == "resync" else "scale_down", pods=pods)
        self.pool.record(heard, [*before, gone])

    def _left(self, heard: Heard, eni: EniId, why: str, values: dict[str, str]) -> None:
        pool = self.pool
        known = pool.state.enis.get(eni)
        if known is None:
            pool.assume("an ENI was in the pool before the first line that names it")
            before = pool.eni(eni)
        else:
            before = []
        card = known.card if known is not None else 0
        pods = self._gone.pop(eni, known.assigned if known is not None else 0)
        pool.record(heard, [*before, ev.EniLeft(eni, "freed" if why == "freed" else "gone", pods)])
        self._compare(heard, card, int(values["total"]), int(values["asg"]))

    def _recovered(self, heard: Heard, values: dict[str, str]) -> None:
        parts = values["key"].split("/")
        if len(parts) != 3 or not self._usable(values["ip"]):
            return
        sandbox = Sandbox(*parts)
        pool = self.pool
        if pool.find(values["ip"]) is None and pool.facts.homes.get(f"{values['ip']}/32") is None:
            pool.facts.homes.setdefault(prefix_of(values["ip"]), values["eni"])
        pod = pool.facts.pods.get(sandbox.container, Pod())
        pool.record(heard, pool.assign(heard, sandbox, values["ip"], pod), AddNetwork(sandbox, pod))

    # ---- requests ------------------------------------------------------------------------------------------

    def _request(self, heard: Heard, values: dict[str, str]) -> None:
        match heard.id:
            case "D1" | "D2" | "D6":
                if heard.id == "D6":
                    values["verb"] = "Del"
                unanswered = self.requests.begun(heard, values)
                if unanswered is not None and self.pool.holding(unanswered[1].sandbox.container) is None:
                    self.pool.assume("a refusal of which no line tells: the sandbox was deleted again")
                    self._refuse(heard, unanswered[1])
            case "D4" | "D5":
                self._replied(heard, values)
            case "D13":
                if not self.pool.state.terminating:
                    self.pool.record(heard, [ev.Terminating()], Terminate())
            case _:
                pass

    def _replied(self, heard: Heard, values: dict[str, str]) -> None:
        err = values["err"].strip()
        if values.get("ok") == "false" or err not in ("", "<nil>"):
            request, sure = self.requests.refused()
            if request is not None and not sure:
                self.pool.assume("which of several ADDs under way was refused: the oldest")
            self._refuse(heard, request, err)
            return
        shown = protobuf(values.get("ips", ""))
        address = values.get("v4") or values.get("v6") or shown.get("IPv4Addr") or canonical(shown.get("IPv6Addr", ""))
        if not is_address(address) or self.pool.held(address) is not None:
            return
        if "PodVlanId" in values.get("pb", "") or values.get("dev", "") == "-1":
            self.requests.refused()
            self.pool.report.lose("pods with a branch ENI hold no address of the pool")
            return
        request, sure = self.requests.refused()
        if request is None:
            self.pool.report.lose("a reply to a request of which no line tells")
            return
        self.pool.assume("an assignment of which only the reply is told")
        self._assign(heard, request.sandbox, address, request.pod)

    def _refuse(self, heard: Heard, request: AddNetwork | None, err: str = "") -> None:
        told, self.requests.told = self.requests.told, None
        if told is None:
            if err and "no available" not in err.lower() and "datastore" not in err.lower():
                told = ("invalid", err[:300])
            else:
                self.pool.assume("the reason of a refusal, from the pool of that moment")
                judged = reasons.refusal(self.pool.state, max(heard.at, self.pool.state.at))
                told = (judged.reason, judged.fact)
        who = (request.sandbox, request.pod) if request is not None else (None, Pod())
        self.pool.record(heard, [ev.AssignRefused(*told, *who)], request)

    # ---- the plugin ----------------------------------------------------------------------------------------

    def _plugin(self, heard: Heard, values: dict[str, str]) -> None:
        """Where ipamd's own log is there too, the plugin's only confirms it."""
        alone = not (self._ipamd[0] <= heard.at <= self._ipamd[1] and self._ipamd[0])
        container = values.get("cid", "")
        fields = protobuf(values.get("pb", ""))
        address = fields.get("IPv4Addr") or canonical(fields.get("IPv6Addr", ""))
        holder = self.pool.holding(container)
        if heard.id in ("H2", "H2b") and fields.get("Success") == "true" and is_address(address):
            if fields.get("PodVlanId") or (holder is not None and self.pool.address_of(holder) == address):
                return
            if alone:
                self.pool.assume("an assignment that only the plugin tells")
                sandbox = Sandbox("aws-cni", container, values.get("ifn") or "eth0")
                self._assign(heard, sandbox, address, self.pool.facts.pods.get(container, Pod()))
            else:
                where = self.pool.where(heard)
                self.pool.report.contradict(
                    f"{where}: {container[:12]} was given {address}, ipamd's log does not say so"
                )
        elif heard.id == "H4" and alone and holder is not None:
            self.pool.assume("a release that only the plugin tells")
            events = self.pool.release(heard, holder, self.pool.address_of(holder))
            self.pool.record(heard, events, self.requests.released(holder))
        elif heard.id == "H6" and alone and values["verb"] == "Add":
            self.pool.assume("a refusal that only the plugin tells")
            pod = self.pool.facts.pods.get(container, Pod())
            self._refuse(heard, AddNetwork(Sandbox("aws-cni", container, "eth0"), pod))

    # ---- the rest ------------------------------------------------------------------------------------------

    def _rest(self, heard: Heard, values: dict[str, str]) -> None:
        pool = self.pool
        match heard.id:
            case "E1" | "E1b" | "E2" | "E2b":
                self._figures(heard, values)
            case "E4":
                card = int(values.get("card") or 0)
                acted: Literal["increase", "decrease"] = "increase" if values["dir"] == "increase" else "decrease"
                pool.record(heard, [ev.PoolActed(acted, card, self._stats.get(card, {}))])
            case "E4b":
                grew = values["dir"] == "increased"
                pool.record(heard, [ev.PoolActed("increased" if grew else "decreased")])
            case "E9":
                pool.record(heard, [ev.SubnetExhausted(values["code"][:100])])
            case "E12":
                if values["why"] == "terminating" and not pool.state.terminating:
                    pool.record(heard, [ev.Terminating()], Terminate())
            case "F7":
                self._resync.add(f"{values['eni']} {values['ip'].removesuffix('/32')}")
            case "F7e":
                pool.record(heard, [ev.Resynced()])
            case "F9":
                pool.record(heard, [ev.InitFailed("unknown", "", values["err"][:300])])
            case _:
                self.calls.take(heard, values)

    def _figures(self, heard: Heard, values: dict[str, str]) -> None:
        total, assigned = int(values["total"]), int(values["asg"])
        card = int(values.get("card") or 0)
        told = {"cooling": values.get("cool"), "prefixes": values.get("pfx")}
        self._stats[card] = {"total": total, "assigned": assigned}
        self._stats[card] |= {name: int(figure) for name, figure in told.items() if figure}
        self._compare(heard, card, total, assigned)

    def _compare(self, heard: Heard, card: int, total: int, assigned: int) -> None:
        """The log's own totals against the pool so far; a lasting difference is reported once.

        IPv6 prefixes are not counted by addresses: there, only those that are assigned.
        """
        state = self.pool.state
        if card not in state.stores:
            return
        stats = pool_linux.stats(state, card, max(heard.at, state.at))
        difference = (0 if state.settings.ipv6 else total - stats.total, assigned - stats.assigned)
        if difference != self._difference.get(card, (0, 0)) and difference != (0, 0):
            said = f"the log counts {total} addresses, {assigned} of them assigned"
            self.pool.report.contradict(
                f"{self.pool.where(heard)}: {said}; the lines before add up to {stats.total} and {stats.assigned}"
            )
        self._difference[card] = difference
