"""The admission webhook: AdmissionReviews over HTTPS, answered by the rules of `admission`.

    POST /mutate-v1-pod     mpod.vpc.k8s.aws: asks for an address or a branch ENI (WIN-50, WIN-51, WIN-137)
    POST /validate-v1-pod   the controller's annotations are the controller's (WIN-52)
    POST /validate-v1-node  what aws-node may change of a node (WIN-53)

All three have failure policy Ignore, so an answer must come fast and never depends on another server.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from .admission import GroupsOf, Request, Verdict, mutate_pod, validate_node, validate_pod

MUTATE_POD: Final = "/mutate-v1-pod"
VALIDATE_POD: Final = "/validate-v1-pod"
VALIDATE_NODE: Final = "/validate-v1-node"
BODY_MAX: Final = 16 * 1024 * 1024
"""Bytes: the object before and after, each as large as etcd takes it, and what JSON adds."""
_API: Final = "admission.k8s.io/v1"
_log = logging.getLogger(__name__)


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str = ""
    kind: str = ""
    request: Request | None = None


class Webhook:
    """The three paths. `ipam_enabled` is asked anew for every request, as upstream does (WIN-15)."""

    def __init__(self, ipam_enabled: Callable[[], bool], groups_of: GroupsOf) -> None:
        self._ipam_enabled = ipam_enabled
        self._groups_of = groups_of
        self.answered: dict[str, int] = {}
        """Path -> requests answered."""

    def application(self) -> web.Application:
        """An aiohttp application; whoever serves it brings TLS."""
        app = web.Application(client_max_size=BODY_MAX)
        for path in (MUTATE_POD, VALIDATE_POD, VALIDATE_NODE):
            app.router.add_post(path, self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            review = msgspec.json.decode(await request.read(), type=_Review)
        except (msgspec.MsgspecError, RecursionError) as error:
            return web.Response(status=400, text=f"the body is no AdmissionReview of {_API}: {error}\n")
        asked = review.request
        if review.kind != "AdmissionReview" or review.api_version != _API or asked is None or not asked.uid:
            return web.Response(status=400, text=f"want an AdmissionReview of {_API} with a request and its uid\n")
        verdict = self.judge(request.path, asked)
        self.answered[request.path] = self.answered.get(request.path, 0) + 1
        if not verdict.allowed:
            _log.info("denied %s of %s/%s: %s", asked.operation, asked.namespace, asked.name, verdict.message)
        body = {"apiVersion": _API, "kind": "AdmissionReview", "response": response(asked.uid, verdict)}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    def judge(self, path: str, request: Request) -> Verdict:
        """One request of one of the paths."""
        if path == MUTATE_POD:
            return mutate_pod(request, self._ipam_enabled(), self._groups_of)
        if path == VALIDATE_POD:
            return validate_pod(request, self._ipam_enabled())
        return validate_node(request)


def response(uid: str, verdict: Verdict) -> dict[str, Any]:
    """The member `response` of an AdmissionReview."""
    told: dict[str, Any] = {"uid": uid, "allowed": verdict.allowed}
    if verdict.patch:
        told["patchType"] = "JSONPatch"
        told["patch"] = base64.b64encode(msgspec.json.encode(verdict.patch)).decode()
    if verdict.message:
        told["status"] = {"message": verdict.message}
        if not verdict.allowed:
            told["status"] |= {"code": 403, "reason": "Forbidden", "status": "Failure"}
    return told
