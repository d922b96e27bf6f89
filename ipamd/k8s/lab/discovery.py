"""The documents by which clients learn what is served: /api, /apis and below, /version, and a small OpenAPI.

The OpenAPI documents name each resource's PATCH with its query parameters: that is what kubectl looks for before it
leaves validation to the server. They hold no schemas.
"""

from __future__ import annotations

from typing import Any, Final

from .catalog import VERBS, Catalog, Kind, Object

VERSION: Final = {
    "major": "1",
    "minor": "34",
    "gitVersion": "v1.34.0-ipamd-lab",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


def api(address: str) -> Object:
    """/api"""
    where = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": where}


def groups(catalog: Catalog) -> Object:
    """/apis"""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g, v) for g, v in catalog.versions().items()]}


def group(catalog: Catalog, name: str) -> Object | None:
    """/apis/NAME, None if there is no such group."""
    versions = catalog.versions().get(name)
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def _group(name: str, versions: list[str]) -> Object:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resources(catalog: Catalog, group: str, version: str) -> Object | None:
    """/api/v1 or /apis/GROUP/VERSION, None if it is not served."""
    served = catalog.kinds.get((group, version))
    if served is None:
        return None
    listed: list[Object] = []
    for kind in served.values():
        listed.append(_resource(kind))
        listed += [_subresource(kind, part) for part in kind.subresources]
    named = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": named, "resources": listed}


def _resource(kind: Kind) -> Object:
    more = {"shortNames": list(kind.short)} if kind.short else {}
    if kind.categories:
        more["categories"] = list(kind.categories)
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(VERBS),
        **more,
    }


def _subresource(kind: Kind, part: str) -> Object:
    verbs = {"binding": ["create"], "finalize": ["update"]}.get(part, ["get", "patch", "update"])
    name = {"binding": "Binding"}.get(part, kind.kind)
    path = f"{kind.plural}/{part}"
    return {"name": path, "singularName": "", "namespaced": kind.namespaced, "kind": name, "verbs": verbs}


def openapi_index(catalog: Catalog) -> Object:
    """/openapi/v3: where each group's document is."""
    return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in map(_place, catalog.kinds)}}


def openapi_group(catalog: Catalog, place: str) -> Object | None:
    """/openapi/v3/api/v1 or /openapi/v3/apis/GROUP/VERSION."""
    key = next((key for key in catalog.kinds if _place(key) == place), None)
    if key is None:
        return None
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": {_path(kind): {"patch": _patch(kind)} for kind in catalog.kinds[key].values()},
        "components": {"schemas": {}},
    }


_INFO: Final = {"title": "ipamd lab", "version": VERSION["gitVersion"]}
_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation", "force")


def _place(key: tuple[str, str]) -> str:
    group, version = key
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _path(kind: Kind) -> str:
    space = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"/{_place((kind.group, kind.version))}{space}/{kind.plural}/{{name}}"


def _patch(kind: Kind) -> dict[str, Any]:
    return {
        "operationId": f"patch{kind.kind}",
        "parameters": [{"name": n, "in": "query", "schema": {"type": "string"}} for n in _PARAMETERS],
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }


def openapi_v2() -> Object:
    """/openapi/v2 as JSON."""
    return {"swagger": "2.0", "info": _INFO, "paths": {}, "definitions": {}}


OPENAPI_V2_PROTOBUF: Final = b"".join(
    (
        b"\x0a\x032.0",  # field 1: swagger
        b"\x12\x1e",  # field 2: info, 30 bytes: title and version
        b"\x0a\x09ipamd lab",
        b"\x12\x11v1.34.0-ipamd-lab",
        b"\x42\x00",  # field 8: paths, none
    )
)
"""/openapi/v2 as the protobuf message that kubectl asks for; without schemas it skips validation of its own."""
