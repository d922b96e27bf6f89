"""Where the API server is: kubeconfig, service account, CLUSTER_ENDPOINT, or nowhere (INIT-3, INIT-4)."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightkube.config import kubeconfig as lightkube_config

from ipamd.k8s.connection import configuration, session
from ipamd.k8s.lab import kubeconfig
from ipamd.k8s.port import NoCluster


@pytest.fixture
def lab_config(tmp_path: Path) -> str:
    return str(kubeconfig.write(tmp_path / "config", "http://127.0.0.1:1234"))


def test_kubeconfig_names_the_server(lab_config: str) -> None:
    """KUBECONFIG, or the file that is named."""
    assert configuration({"KUBECONFIG": lab_config}).cluster.server == "http://127.0.0.1:1234"
    assert configuration({}, Path(lab_config)).cluster.server == "http://127.0.0.1:1234"


@pytest.mark.spec("INIT-4")
@pytest.mark.parametrize(
    "endpoint, server",
    [
        ("https://10.0.0.1:443", "https://10.0.0.1:443"),
        ("10.0.0.1:6443", "http://10.0.0.1:6443"),
        ("", "http://localhost"),
    ],
)
def test_cluster_endpoint_replaces_the_host_even_if_empty(lab_config: str, endpoint: str, server: str) -> None:
    """It counts as soon as it is set."""
    config = configuration({"KUBECONFIG": lab_config, "CLUSTER_ENDPOINT": endpoint})

    assert config.cluster.server == server


def test_service_account_is_used_inside_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Host and port of the environment, the mounted CA; https also for an endpoint without a scheme."""
    for name, content in (("token", "t"), ("namespace", "kube-system"), ("ca.crt", "")):
        (tmp_path / name).write_text(content)
    inside = {"KUBERNETES_SERVICE_HOST": "10.100.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    for name, value in inside.items():
        monkeypatch.setenv(name, value)
    account = lightkube_config.KubeConfig.from_service_account
    monkeypatch.setattr(lightkube_config.KubeConfig, "from_service_account", lambda: account(tmp_path))

    plain = configuration(inside)
    pointed = configuration({**inside, "CLUSTER_ENDPOINT": "endpoint.example"})

    assert plain.cluster.server == "https://10.100.0.1:443"
    assert plain.cluster.certificate_auth == str(tmp_path / "ca.crt")
    assert pointed.cluster.server == "https://endpoint.example"


def test_without_any_configuration_there_is_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even if the home directory has one: a daemon on a desk writes to no cluster by accident."""
    home = tmp_path / ".kube"
    kubeconfig.write(home / "config", "http://127.0.0.1:1234")
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(NoCluster, match="neither KUBECONFIG nor a service account"):
        configuration({"HOME": str(tmp_path)})


@pytest.mark.parametrize("content", ["", "[]", "clusters: 5", "{clusters: [], contexts: []}", "a: [", "\x00"])
def test_kubeconfig_that_cannot_be_read_says_which(tmp_path: Path, content: str) -> None:
    """Every failure names the file."""
    path = tmp_path / "config"
    path.write_text(content)

    with pytest.raises(NoCluster, match="config"):
        configuration({"KUBECONFIG": str(path)})


def test_missing_kubeconfig_says_which(tmp_path: Path) -> None:
    """As for one that cannot be read."""
    with pytest.raises(NoCluster, match="nowhere"):
        configuration({"KUBECONFIG": str(tmp_path / "nowhere")})


@pytest.mark.spec("INIT-4")
def test_requests_carry_the_agent(lab_config: str) -> None:
    """`<argv0>-<version>`."""
    http = session(configuration({"KUBECONFIG": lab_config}), "aws-k8s-agent-v1.23.1")

    assert http.headers["User-Agent"] == "aws-k8s-agent-v1.23.1"
