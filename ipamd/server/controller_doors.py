"""The controller's read-only doors over HTTP: introspection, health and metrics, each on an address of its own.

A replica that does not lead answers too: its pools are empty, and its health says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from ipamd.core.state import State
from ipamd.core.types import Instant

from .controller_pools import node_resources, plan_of_all, plan_of_node, resources_all, resources_summary
from .exposition import CONTENT_TYPE
from .guard import Refusal, check_host, check_method, json_response, parameters, refused

CHECKS: Final = (
    "health-root-manager-ping", "health-resource-manager", "health-branch-provider", "health-ipv4-provider",
    "health-ipv4-prefix-provider",
    "health-node-manager", "health-pod-controller", "health-custom-pod-controller", "health-node-controller",
    "health-cm-controller", "health-deploy-controller", "health-introspect-controller",
    "health-pod-mutating-webhook", "health-annotation-validating-webhook", "health-node-validating-webhook",
    "health-interface-cleaner",
)  # fmt: skip
"""WIN-134, in the order in which they are listed."""

Checks = Callable[[], Mapping[str, str]]
"""Check -> "" if all is well, else what is wrong; checks that are left out are well."""


class ControllerDoors:
    """`role` says whether this replica leads, and who does."""

    def __init__(
        self,
        state: Callable[[], State],
        now: Callable[[], Instant],
        role: Callable[[], dict[str, Any]],
        checks: Checks,
        metrics: Callable[[], bytes],
    ) -> None:
        self._state = state
        self._now = now
        self._role = role
        self._checks = checks
        self._metrics = metrics

    def introspection(self) -> web.Application:
        """WIN-131, and `/v1/plan`."""
        app = web.Application()
        for path in ("/resources/all", "/resources/summary"):
            app.router.add_route("*", path, self._guarded(self._resources))
        app.router.add_route("*", "/node/{name}", self._guarded(self._node))
        app.router.add_route("*", "/v1/plan", self._guarded(self._plan))
        app.router.add_route("*", "/v1/plan/{name}", self._guarded(self._plan))
        app.router.add_route("*", "/v1/role", self._guarded(lambda _: json_response(self._role())))
        return app

    def health(self) -> web.Application:
        """WIN-134: /healthz, with a line for each check if ?verbose is asked for or something is wrong."""
        app = web.Application()
        app.router.add_route("*", "/healthz", self._guarded(self._healthz, ("verbose",)))
        app.router.add_route("*", "/readyz", self._guarded(self._healthz, ("verbose",)))
        return app

    def exposition(self) -> web.Application:
        """/metrics."""
        app = web.Application()
        app.router.add_route("*", "/metrics", self._guarded(self._exposition))
        return app

    def _guarded(
        self, answer: Callable[[web.Request], web.Response], known: tuple[str, ...] = ()
    ) -> Callable[[web.Request], Any]:
        async def handler(request: web.Request) -> web.Response:
            try:
                check_host(request)
                check_method(request)
                parameters(request, known)
                return answer(request)
            except Refusal as refusal:
                return refused(refusal)

        return handler

    def _resources(self, request: web.Request) -> web.Response:
        state = self._state()
        return _tabbed(resources_all(state) if request.path.endswith("/all") else resources_summary(state))

    def _node(self, request: web.Request) -> web.Response:
        return _tabbed(node_resources(self._state(), request.match_info["name"]))

    def _plan(self, request: web.Request) -> web.Response:
        state, now = self._state(), self._now()
        name = request.match_info.get("name")
        if name is None:
            return json_response({**plan_of_all(state, now), **self._role()})
        plan = plan_of_node(state, name, now)
        if plan is None:
            known = ", ".join(sorted(state.windows.nodes)[:5]) or "none"
            return json_response({"error": f"node {name[:253]}: not known here; known are {known}"}, 404)
        return json_response(plan)

    def _healthz(self, request: web.Request) -> web.Response:
        wrong = dict(self._checks())
        bad = [name for name in wrong if wrong[name]]
        if not bad and "verbose" not in request.query:
            return web.Response(text="ok")
        known = [*CHECKS, *(name for name in wrong if name not in CHECKS)]
        lines = [f"[-]{name} failed: {wrong[name]}" if wrong.get(name) else f"[+]{name} ok" for name in known]
        lines.append("healthz check failed" if bad else "healthz check passed")
        return web.Response(status=500 if bad else 200, text="\n".join(lines) + "\n")

    def _exposition(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})


def _tabbed(document: object) -> web.Response:
    """JSON indented with tabs, keys in order, as upstream writes it (WIN-131)."""
    text = json.dumps(document, indent="\t", sort_keys=True, ensure_ascii=False)
    return web.Response(body=text.encode(), content_type="application/json")
