"""Pods as a container runtime adds and deletes them: one `aws-cni` process a request."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from demo.place import DemoError, Place, command
from ipamd.sim.kubelet import container_of

AT_ONCE: Final = 4
"""Requests in flight; a node's kubelet works on several pods too."""
RETRY_SECONDS: Final = 1.0
"""Pause before a refused pod asks again, unless `--retry` says otherwise: the kubelet's own would be a long walk."""
PATIENCE_SECONDS: Final = 60.0
"""How long one pod may go on asking."""
_PROCESS_SECONDS: Final = 30.0
_NO_ADDRESS: Final = "add cmd: failed to assign an IP address to container"

_T = TypeVar("_T")


@dataclass
class Pod:
    """One pod and the sandbox that the runtime made for it last; `result` is the plugin's answer to its ADD."""

    name: str
    attempts: int = 0
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def container(self) -> str:
        """The sandbox's id; every attempt has another one, as with a real runtime."""
        return container_of(self.name, self.attempts)

    @property
    def address(self) -> str:
        """What the plugin gave, without the length."""
        return str(self.result["ips"][0]["address"]).partition("/")[0]


class Runtime:
    """Calls the plugin for many pods, a few at a time."""

    def __init__(self, place: Place, retry_seconds: float = RETRY_SECONDS) -> None:
        """A refused pod is made another sandbox `retry_seconds` after: one arrival of `ipamd.sim.kubelet`."""
        self._place = place
        self._retry_seconds = retry_seconds
        self._plugin = command("aws-cni")
        self._stop = threading.Event()
        self.refusals: Counter[str] = Counter()
        """Refused ADDs by ipamd's reason."""

    def add(self, pods: Sequence[Pod]) -> None:
        """Give each pod a new sandbox and an address; a refused one asks again a while later."""
        self._each(pods, self._add)

    def repeat(self, pods: Sequence[Pod]) -> list[str]:
        """ADD of the very same sandboxes once more: the addresses that are answered."""
        return [str(result["ips"][0]["address"]).partition("/")[0] for result in self._each(pods, self._repeat)]

    def delete(self, pods: Sequence[Pod]) -> None:
        """Give the addresses back."""
        self._each(pods, self._delete)

    def _each(self, pods: Sequence[Pod], work: Callable[[Pod], _T]) -> list[_T]:
        """The results in the order of `pods`; the first error, or an interruption, ends them all."""
        with ThreadPoolExecutor(AT_ONCE) as workers:
            jobs = [workers.submit(work, pod) for pod in pods]
            try:
                return [job.result() for job in jobs]
            except BaseException:
                self._stop.set()
                workers.shutdown(wait=False, cancel_futures=True)
                raise

    def _add(self, pod: Pod) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            pod.attempts += 1
            code, answer = self._call("ADD", pod)
            if code == 0:
                pod.result = answer
                return
            reason, _, rest = str(answer.get("details", "")).partition(": ")
            if answer.get("msg") != _NO_ADDRESS:
                raise DemoError(f"aws-cni ADD of {pod.name}: {answer.get('msg')}; see {self._place.plugin_log}")
            self.refusals[reason] += 1
            self._delete(pod)  # a runtime tears down the sandbox that it could not set up
            if time.monotonic() > deadline:
                raise DemoError(f"{pod.name} had no address within {PATIENCE_SECONDS:g} s: {reason}: {rest}")
            if self._stop.wait(self._retry_seconds):
                raise DemoError(f"{pod.name}: given up, since the walk has ended")

    def _repeat(self, pod: Pod) -> dict[str, Any]:
        code, answer = self._call("ADD", pod)
        if code:
            raise DemoError(f"aws-cni ADD of {pod.name} once more: {answer.get('msg')}: {answer.get('details', '')}")
        return answer

    def _delete(self, pod: Pod) -> None:
        code, answer = self._call("DEL", pod)
        if code:
            raise DemoError(f"aws-cni DEL of {pod.name}: {answer.get('msg')}; see {self._place.plugin_log}")

    def _call(self, verb: str, pod: Pod) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON of one plugin process."""
        configuration: dict[str, Any] = {
            "cniVersion": "1.0.0", "name": "aws-cni", "type": "aws-cni", "dryRun": True,
            "ipamdAddress": f"unix://{self._place.socket}", "pluginLogFile": str(self._place.plugin_log),
        }  # fmt: skip
        if verb == "DEL" and pod.result:
            configuration["prevResult"] = pod.result
        arguments = {
            "IgnoreUnknown": "1", "K8S_POD_NAMESPACE": "demo", "K8S_POD_NAME": pod.name,
            "K8S_POD_INFRA_CONTAINER_ID": pod.container, "K8S_POD_UID": f"uid-{pod.name}",
        }  # fmt: skip
        environment = {
            **self._place.environment,
            "CNI_COMMAND": verb, "CNI_CONTAINERID": pod.container, "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin",
            "CNI_NETNS": f"/var/run/netns/{pod.name}",
            "CNI_ARGS": ";".join(f"{key}={value}" for key, value in arguments.items()),
        }  # fmt: skip
        try:
            done = subprocess.run(
                [self._plugin], input=json.dumps(configuration).encode(), env=environment, capture_output=True,
                timeout=_PROCESS_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DemoError(f"aws-cni {verb} of {pod.name}: no end within {_PROCESS_SECONDS:g} s") from None
        try:
            answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        except ValueError:
            said = (done.stdout + done.stderr)[:200]
            raise DemoError(f"aws-cni {verb} of {pod.name}: no JSON but {said!r}") from None
        return done.returncode, answer
