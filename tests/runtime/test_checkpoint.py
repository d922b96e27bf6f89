"""Upstream's ipam.json: what is read of it, how it is written, and a real daemon that takes one over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ipamd.core import views
from ipamd.core.commands import Restored
from ipamd.core.state import State
from ipamd.core.types import Pod, Sandbox
from ipamd.runtime import checkpoint
from ipamd.runtime.checkpoint import CheckpointError
from tests.runtime.spawned import Ended, spawned
from tests.runtime.wire import Caller

STORE = "AWS_VPC_K8S_CNI_BACKING_STORE"


def document(*rows: dict[str, Any], version: str = "vpc-cni-ipam/1") -> str:
    return json.dumps({"version": version, "allocations": list(rows)}) + "\n"


def row(container: str, address: str, **members: Any) -> dict[str, Any]:
    made = {"networkName": "aws-cni", "containerID": container, "ifName": "eth0", "ipv4": address, **members}
    return {"allocationTimestamp": 1_755_730_000_000_000_000, "metadata": {}, **made}


@pytest.mark.spec("DM-58", "DM-61")
def test_every_member_of_a_row_is_read(tmp_path: Path) -> None:
    """Sandbox, address, time and pod; members we do not know are passed over."""
    named = {"k8sPodNamespace": "default", "k8sPodName": "web", "interfacesCount": 2}
    (tmp_path / "ipam.json").write_text(document(row("c1", "10.0.0.5", metadata=named, later=1), row("c2", "10.0.0.6")))

    rows = checkpoint.read(tmp_path / "ipam.json")

    at = 1_755_730_000_000_000_000
    assert rows == (
        Restored(Sandbox("aws-cni", "c1", "eth0"), "10.0.0.5", at, Pod("default", "web", 2)),
        Restored(Sandbox("aws-cni", "c2", "eth0"), "10.0.0.6", at),
    )


@pytest.mark.spec("DM-56")
def test_each_card_has_a_file_of_its_own(tmp_path: Path) -> None:
    """ipam.json, then ipam-nic-1.json and so on; a gap does not hide the next."""
    (tmp_path / "ipam.json").write_text(document(row("c0", "10.0.0.5")))
    (tmp_path / "ipam-nic-2.json").write_text(document(row("c2", "10.0.0.6")))

    assert [(r.sandbox.container, r.card) for r in checkpoint.read(tmp_path / "ipam.json")] == [("c0", 0), ("c2", 2)]


@pytest.mark.spec("DM-61")
def test_no_file_is_an_empty_state(tmp_path: Path) -> None:
    """Success, and nothing is written."""
    assert checkpoint.read(tmp_path / "ipam.json") == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.spec("DM-61")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no checkpoint"),
        ("{", "is no checkpoint"),
        ("[]", "is no checkpoint"),
        (document(version="vpc-cni-ipam/2"), "'vpc-cni-ipam/2'"),
        (document(row("c", "10.0.0.999")), "row 1 has address '10.0.0.999'"),
        (document(row("c", "2001:db8::1")), "the other family's member"),
        (document(row("c", "10.0.0.1"), {"containerID": "d"}), "is no checkpoint"),
        ('{"version":"vpc-cni-ipam/1","allocations":[{"networkName":"\x00"', "is no checkpoint"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    """The file, the fact, the remedy."""
    path = tmp_path / "ipam.json"
    path.write_text(text)

    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(path)

    assert str(path) in str(caught.value) and said in str(caught.value) and "move it away" in str(caught.value)


@pytest.mark.spec("DM-57", "DM-58")
def test_a_write_replaces_the_file_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """One JSON document and a newline, mode 0600, by rename: an open reader keeps what it had."""
    path = tmp_path / "run" / "ipam.json"
    checkpoint.write(path, views.checkpoint(State()))
    with path.open() as reader:
        checkpoint.write(path, views.checkpoint(State()))
        other = os.fstat(reader.fileno()).st_ino != path.stat().st_ino

    assert path.read_text() == '{"version":"vpc-cni-ipam/1","allocations":[]}\n'
    assert other and path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["ipam.json"]


@pytest.mark.spec("DM-57")
def test_a_write_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    """The target is a folder, so the rename fails."""
    path = tmp_path / "ipam.json"
    path.mkdir()

    with pytest.raises(OSError, match="directory"):
        checkpoint.write(path, views.checkpoint(State()))

    assert [entry.name for entry in tmp_path.iterdir()] == ["ipam.json"]


@pytest.mark.spec("DM-56", "DM-60", "DM-61", "DM-64", "DM-65")
def test_a_node_moves_from_one_journal_to_another_by_the_checkpoint(tmp_path: Path) -> None:
    """The file follows ADD and DEL; a daemon that finds an empty journal takes the pods over, with their times."""
    state, store = tmp_path / "s", tmp_path / "run" / "ipam.json"
    env = {STORE: str(store)}
    with spawned(state, env=env) as daemon:
        with Caller(daemon.grpc) as caller:
            kept = caller.address("kept")
            caller.address("gone")
            assert caller.delete("gone").Success
        daemon.terminate()
    before = json.loads(store.read_text())["allocations"]
    (state / "journal").rename(tmp_path / "old")

    with spawned(state, env=env) as daemon:
        with Caller(daemon.grpc) as caller:
            again = caller.address("kept")
        daemon.terminate()

    assert [entry["ipv4"] for entry in before] == [kept] == [again]
    assert json.loads(store.read_text())["allocations"] == before


@pytest.mark.spec("DM-61")
def test_a_broken_checkpoint_ends_the_first_start_and_no_later_one(tmp_path: Path) -> None:
    """Once there is a journal it is the truth; the file is only written."""
    store = tmp_path / "ipam.json"
    store.write_text("not JSON")
    with pytest.raises(Ended, match="is no checkpoint"), spawned(tmp_path / "s", env={STORE: str(store)}):
        pass
    store.unlink()
    with spawned(tmp_path / "s", env={STORE: str(store)}) as daemon:
        daemon.terminate()
    store.write_text("not JSON")

    with spawned(tmp_path / "s", env={STORE: str(store)}) as daemon:
        assert daemon.ready["ready"] is True
        daemon.terminate()

    assert json.loads(store.read_text())["allocations"] == []
