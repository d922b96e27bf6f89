"""State files beside a log, or without one: read, stated as the beginning, compared with the end."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ipamd.core import views
from ipamd.core.state import State

from .lives import SETTINGS, imported, life, log_of


def dump(state: State, *, cards: bool = True, blank: bool = False) -> bytes:
    """What /v1/enis would show: keyed by network card since v1.20, containers blanked since v1.23."""
    pods = {view.address: view for view in views.pods(state)}
    enis = {
        eni.eni: {
            "ID": eni.eni, "IsPrimary": eni.primary, "IsTrunk": False, "IsEFA": False, "DeviceNumber": eni.device,
            "AvailableIPv4Cidrs": {
                cidr: {
                    "IPAddresses": {
                        address: {
                            "Address": address,
                            "IPAMKey": {"networkName": view.network, "containerID": "" if blank else view.container,
                                        "ifName": "" if blank else view.interface},
                            "IPAMMetadata": {"k8sPodNamespace": view.namespace, "k8sPodName": view.name},
                            "AssignedTime": "2026-01-01T00:01:00Z", "UnassignedTime": "0001-01-01T00:00:00Z",
                        }
                        for address, view in pods.items() if view.block == cidr
                    },
                    "IsPrefix": cidr.endswith("/28"), "AddressFamily": "",
                }
                for cidr in eni.blocks
            },
        }
        for eni in state.enis.values()
    }  # fmt: skip
    store = {"TotalIPs": 16, "AssignedIPs": len(pods), "ENIs": enis}
    return msgspec.json.encode({"0": store} if cards else store)


def bundle(where: Path, state: State, lines: list[bytes], **shape: bool) -> Path:
    """An unpacked bundle of the log collector."""
    for name, content in (
        ("var_log/aws-routed-eni/ipamd.log", b"".join(lines)),
        ("ipamd/enis.json", dump(state, **shape)),
        ("ipamd/ipam.json", msgspec.json.encode(views.checkpoint(state))),
        ("ipamd/metrics.json", metrics(state)),
        ("system/instance-id.txt", b"i-0123456789abcdef0\n"),
        ("kubelet/kubelet.log", b"Jan 01 kubelet[1]: nothing of ours\n"),
        ("ipamd/pods.json", b"curl: (28) Connection timed out"),
    ):
        path = where / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return where / "bundle"


def metrics(state: State) -> bytes:
    """Prometheus text, as in a bundle's metrics.json."""
    assigned = len(views.pods(state))
    return f"# TYPE awscni_assigned_ip_addresses gauge\nawscni_assigned_ip_addresses {assigned}\n".encode()


def held(state: State) -> dict[str, str]:
    """Address -> container."""
    return {view.address: view.container for view in views.pods(state)}


def test_a_bundle_agrees_with_its_log(tmp_path: Path) -> None:
    """Old and new dumps, the checkpoint and the metrics show what the lines add up to; the rest is of no use."""
    engine, records = life(2, SETTINGS[2])
    for number, cards in enumerate((True, False)):
        where = tmp_path / str(number)

        state, _, found = imported(bundle(where, engine.state, log_of(records), cards=cards))

        assert held(state) == held(engine.state)
        assert found.report.contradictions == []
        kinds = {file.name: file.kind for file in found.report.files}
        assert kinds["ipamd/enis.json"] == "enis" and kinds["ipamd/ipam.json"] == "checkpoint"
        assert (
            kinds["ipamd/metrics.json"] == "metrics" and kinds["kubelet/kubelet.log"] == kinds["ipamd/pods.json"] == ""
        )


def test_a_dump_alone_is_a_pool(tmp_path: Path) -> None:
    """Without any log its ENIs, blocks and pods are stated, and that the rest is assumed."""
    engine, _ = life(2, SETTINGS[2])
    (tmp_path / "enis.json").write_bytes(dump(engine.state))

    state, _, found = imported(tmp_path / "enis.json", limits=False)

    assert held(state) == held(engine.state)
    assert {eni.eni: sorted(eni.blocks) for eni in state.enis.values()} == {
        eni.eni: sorted(eni.blocks) for eni in engine.state.enis.values()
    }
    assert found.report.assumed


def test_a_dump_completes_a_log_that_begins_in_the_middle(tmp_path: Path) -> None:
    """What was there before the first line comes from the checkpoint and the dump: the end is whole."""
    engine, records = life(2, SETTINGS[2])
    lines = log_of(records)[-12:]

    state, _, _ = imported(bundle(tmp_path, engine.state, lines), limits=False)

    assert held(state) == held(engine.state)


def test_a_dump_that_disagrees_is_reported(tmp_path: Path) -> None:
    """An address that the log freed and the dump shows held, and the other way round."""
    engine, records = life(2, SETTINGS[2])
    earlier, _ = life(2, SETTINGS[2], steps=12)

    _, _, found = imported(bundle(tmp_path, earlier.state, log_of(records)))

    assert held(earlier.state) != held(engine.state)
    assert any("is held by" in text or "nobody holds" in text for text in found.report.contradictions)
    assert not found.report.sound
