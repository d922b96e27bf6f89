"""The webhook of a controller process: HTTPS from files, conditions from the cluster."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.server.certificate_files import write_pair

from .spawned import IPAM, PATIENCE, Spawned, cluster, configure, controlling, until


def asked(controller: Spawned, authority: Path) -> Any:
    """The answer to the creation of a Windows pod."""
    spec = {"nodeSelector": {"kubernetes.io/os": "windows"}, "containers": [{"name": "a"}]}
    review = {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u", "operation": "CREATE", "namespace": "default", "object": {"spec": spec}},
    }  # fmt: skip
    context = ssl.create_default_context(cafile=str(authority))
    url, body = f"{controller.ready['webhook']}/mutate-v1-pod", json.dumps(review).encode()
    with urllib.request.urlopen(url, body, timeout=PATIENCE, context=context) as answer:
        return json.load(answer)["response"]


@pytest.mark.spec("WIN-15", "WIN-50", "WIN-51", "S-24", "S-26")
def test_the_webhook_follows_the_config_map_on_every_replica(tmp_path: Path) -> None:
    """Also on one that does not lead; a renewed certificate is served by the same process."""
    authority = write_pair(tmp_path / "pair", "first")
    options = ("--webhook-cert-dir", str(tmp_path / "pair"), "--webhook-bind-address", "127.0.0.1:0")
    with cluster() as api, controlling(tmp_path / "state", api) as leader:
        leader.leads()
        with controlling(tmp_path / "state", api, *options) as standing_by:
            before = asked(standing_by, authority)
            configure(api, IPAM)
            after = until("a patch", lambda: _patched(asked(standing_by, authority)))
            renewed = asked(standing_by, write_pair(tmp_path / "pair", "second"))

    assert before["allowed"] and "patch" not in before
    assert after["allowed"] and renewed["patch"] == after["patch"]


def _patched(answer: Any) -> Any:
    return answer if "patch" in answer else None
