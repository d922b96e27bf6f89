"""Where the API server is and how one proves who one is: kubeconfig or service account, by lightkube.

This module and `client` import lightkube; both are imported late, when there is a cluster to talk to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from .port import NoCluster

SECONDS: Final = 10.0


def configuration(environ: Mapping[str, str], kubeconfig: Path | None = None) -> SingleConfig:
    """The named kubeconfig, else $KUBECONFIG, else the pod's service account (INIT-4).

    CLUSTER_ENDPOINT replaces the host, also if it is empty. Upstream would look at ~/.kube/config as well; a daemon
    that someone starts on their desk shall not write to whatever cluster that names, so we do not. Raises NoCluster.
    """
    path = str(kubeconfig) if kubeconfig is not None else environ.get("KUBECONFIG", "")
    try:
        if path:
            config = _from_file(Path(path.split(":")[0]))
        elif environ.get("KUBERNETES_SERVICE_HOST") and environ.get("KUBERNETES_SERVICE_PORT"):
            config = KubeConfig.from_service_account().get()
        else:
            raise NoCluster(
                "neither KUBECONFIG nor a service account says where the API server is; name a file with --kubeconfig"
            )
    except NoCluster:
        raise
    except (ConfigError, OSError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
        text = f"{path or 'service account'}: {error!s:.300}; want a kubeconfig with a current-context"
        raise NoCluster(text) from None
    if config is None:
        raise NoCluster(f"{path}: it has no current-context")
    if "CLUSTER_ENDPOINT" in environ:
        server = _endpoint(environ["CLUSTER_ENDPOINT"], config)
        config = config._replace(cluster=msgspec.structs.replace(config.cluster, server=server))
    return config if config.user else config._replace(user=User())


def _from_file(path: Path) -> SingleConfig | None:
    read = msgspec.yaml.decode(path.read_bytes(), type=dict[str, Any])
    return KubeConfig.from_dict(read, fname=path).get()


def session(config: SingleConfig, agent: str) -> httpx2.AsyncClient:
    """The HTTP client with its TLS and credentials. Raises NoCluster if a certificate or a key cannot be read."""
    try:
        client = AsyncClient(config, ConnectionParams(timeout=httpx2.Timeout(SECONDS)))
    except (ConfigError, OSError, ValueError) as error:
        raise NoCluster(f"{config.cluster.server}: {error!s:.300}") from None
    client.headers["User-Agent"] = agent
    client.headers["Accept"] = "application/json"
    return client


def _endpoint(text: str, config: SingleConfig) -> str:
    """The endpoint as a URL; without a scheme it is https if the configuration has a certificate, as in client-go."""
    text = text or "localhost"
    if "://" in text:
        if not urlsplit(text).hostname:
            raise NoCluster(f'CLUSTER_ENDPOINT="{text[:80]}": want a URL such as https://10.0.0.1:443')
        return text
    cluster = config.cluster
    secure = cluster.certificate_auth or cluster.certificate_auth_data or cluster.insecure
    return f"{'https' if secure else 'http'}://{text}"
