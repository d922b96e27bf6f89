"""Create, update, patch, delete, bind: one write each, whole or refused.

`Writes` knows no HTTP: it takes and returns objects, and raises `Refusal`. Time and chance are given, so that the
same requests make the same objects.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from ipamd.core.types import SECOND, Instant

from . import patches, rules, server_side_apply, shapes, typed
from .catalog import DEFINITIONS, NAMESPACES, PODS, Catalog, Kind, Object, of_definition
from .refusal import (
    Refusal,
    already_exists,
    bad_request,
    barred,
    conflict,
    forbidden,
    invalid,
    media_type,
    not_found,
    wrong,
)
from .storage import Storage

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
_SYSTEM: Final = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink",
)  # fmt: skip
_UNCOUNTED: Final = ("metadata", "status")


class Asked(msgspec.Struct, frozen=True):
    """How a write is to be done."""

    dry_run: bool = False
    manager: str = ""
    force: bool = False


class Deletion(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a delete."""

    grace_period_seconds: int | None = None
    preconditions: dict[str, str] = {}


class Writes:
    """The writing half of the API."""

    def __init__(self, storage: Storage, catalog: Catalog, clock: Callable[[], Instant], seed: int) -> None:
        self._storage = storage
        self._catalog = catalog
        self._clock = clock
        self._random = random.Random(seed)

    # ---- one object ----

    def find(self, kind: Kind, namespace: str, name: str) -> Object:
        """The stored object. Raises Refusal (404)."""
        found = self._storage.get(kind.key, (namespace, name))
        if found is None:
            raise not_found(kind, name)
        return found

    def create(
        self, kind: Kind, namespace: str, body: Object, asked: Asked, owned: list[Object] | None = None
    ) -> Object:
        """A new object, as stored; `owned` is its metadata.managedFields, which clients cannot write."""
        obj = self._received(kind, namespace, "", body)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise Refusal(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata = {**metadata, "name": self._generated(kind, namespace, metadata["generateName"])}
        kept = {key: value for key, value in metadata.items() if key not in _SYSTEM and key != "resourceVersion"}
        stamped = {
            **kept,
            **({"namespace": namespace} if kind.namespaced else {}),
            "uid": str(UUID(int=self._random.getrandbits(128), version=4)),
            "creationTimestamp": self.now_text(),
            **({"generation": 1} if kind.generation or kind.custom else {}),
            **({"managedFields": owned} if owned else {}),
        }
        obj = rules.completed(kind, {**obj, "metadata": stamped}, new=True)
        rules.check(kind, obj, *rules.event_findings(kind, obj))
        self._check_namespace(kind, namespace, stamped["name"])
        if self._storage.get(kind.key, (namespace, stamped["name"])) is not None:
            raise already_exists(kind, stamped["name"])
        obj = self._addressed(kind, obj)
        return obj if asked.dry_run else self._put(kind, obj)

    def update(
        self, kind: Kind, namespace: str, name: str, body: Object, part: str, asked: Asked
    ) -> tuple[Object, bool]:
        """The object after a PUT, and whether it is new. `part` is the subresource or ""."""
        obj = self._received(kind, namespace, name, body)
        before = self._storage.get(kind.key, (namespace, name))
        if before is None:
            if not kind.upsert or part:
                raise not_found(kind, name)
            return self.create(kind, namespace, body, asked), True
        if not obj["metadata"].get("resourceVersion") and kind.conditional:
            raise invalid(kind, name, wrong("metadata.resourceVersion", 0, "must be specified for an update"))
        return self._replace(kind, before, obj, part, asked), False

    def patch(
        self, kind: Kind, namespace: str, name: str, content_type: str, body: Any, part: str, asked: Asked
    ) -> tuple[Object, bool]:
        """The object after a PATCH, and whether it is new (by server-side apply)."""
        accepted = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH) if kind.custom else (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH,
                                                                                APPLY_PATCH)  # fmt: skip
        if content_type not in accepted:
            raise media_type(accepted)
        before = self._storage.get(kind.key, (namespace, name))
        if content_type == APPLY_PATCH:
            return self._apply(kind, namespace, name, before, body, part, asked)
        if before is None:
            raise not_found(kind, name)
        seen = shapes.served(kind, before)
        try:
            if content_type == JSON_PATCH:
                patched = patches.apply_operations(seen, body)
            elif not isinstance(body, dict):
                raise bad_request("a merge patch must be an object")
            else:
                patched = patches.merge(seen, body) if content_type == MERGE_PATCH else patches.strategic(seen, body)
        except patches.PatchError as error:
            text = "the server rejected our request due to an error in our request"
            raise Refusal(422, "Invalid", f"{text}: {error}") from None
        obj = self._received(kind, namespace, name, patched)
        return self._replace(kind, before, obj, part, asked), False

    def bind(self, namespace: str, name: str, body: Object) -> None:
        """A pod gets its node, once."""
        kind = self._catalog.named(PODS)
        pod = self.find(kind, namespace, name)
        node = (body.get("target") or {}).get("name")
        if not node or not isinstance(node, str):
            raise invalid(kind, name, ("FieldValueRequired", "target.name", "Required value"))
        if pod["spec"].get("nodeName"):
            raise conflict(kind, name, f'pod {name} is already assigned to node "{pod["spec"]["nodeName"]}"')
        if pod["metadata"].get("deletionTimestamp"):
            raise conflict(kind, name, f"pod {name} is being deleted, cannot be assigned to a host")
        scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None,
                     "lastTransitionTime": self.now_text()}  # fmt: skip
        conditions = [c for c in pod["status"].get("conditions") or () if c.get("type") != "PodScheduled"]
        self._put(kind, {
            **pod,
            "spec": {**pod["spec"], "nodeName": node},
            "status": {**pod["status"], "conditions": [*conditions, scheduled]},
        })  # fmt: skip

    # ---- deletion ----

    def delete(self, kind: Kind, namespace: str, name: str, wanted: Deletion, asked: Asked) -> tuple[Object, bool]:
        """The object as it then is, and whether it is gone. One with finalizers, or a pod on a node, stays a while."""
        obj = self.find(kind, namespace, name)
        metadata = obj["metadata"]
        for part, text, fate in (
            ("uid", "UID", "deleted and then recreated"), ("resourceVersion", "ResourceVersion", "modified"),
        ):  # fmt: skip
            given = wanted.preconditions.get(part)
            if given and given != metadata[part]:
                why = f"the {text} in the precondition ({given}) does not match the {text} in record ({metadata[part]})"
                raise conflict(kind, name, f"{why}. The object might have been {fate}")
        grace = _grace(kind, obj, wanted)
        content = kind.key == NAMESPACES and any(self._storage.living_in(name))
        if asked.dry_run:
            return obj, not (grace or metadata.get("finalizers"))
        if not grace and not metadata.get("finalizers") and not content:
            return self._remove(kind, namespace, name), True
        already = metadata.get("deletionGracePeriodSeconds")
        if already is None or grace < already:
            obj = self._put(kind, self._ending(kind, obj, grace))
        if kind.key == NAMESPACES:
            self._empty(name)
            left = self._storage.get(kind.key, ("", name))
            return left or obj, left is None
        return obj, False

    def _ending(self, kind: Kind, obj: Object, grace: int) -> Object:
        metadata = obj["metadata"]
        ends = {
            "deletionTimestamp": _text_of(self._clock() + grace * SECOND),
            "deletionGracePeriodSeconds": grace,
            **({"generation": metadata["generation"] + 1} if "generation" in metadata else {}),
        }
        ending = {**obj, "metadata": {**metadata, **ends}}
        if kind.key == NAMESPACES:
            return {**ending, "status": {**obj["status"], "phase": "Terminating"}}
        return ending

    def _empty(self, namespace: str) -> None:
        """What the namespace controller does: everything in it goes, and then the namespace."""
        for key, (space, name) in list(self._storage.living_in(namespace)):
            if self._storage.get(key, (space, name)) is not None:
                self.delete(self._catalog.named(key), space, name, Deletion(0), Asked())
        self._finish_namespace(namespace)

    def _finish_namespace(self, namespace: str) -> None:
        found = self._storage.get(NAMESPACES, ("", namespace))
        if found and found["metadata"].get("deletionTimestamp") and not any(self._storage.living_in(namespace)):
            self._storage.remove(NAMESPACES, ("", namespace))

    def _remove(self, kind: Kind, namespace: str, name: str) -> Object:
        gone = self._storage.remove(kind.key, (namespace, name))
        if kind.key == DEFINITIONS:
            for defined in of_definition(gone):
                self._storage.drop_kind(defined.key)
                self._catalog.drop(defined)
        if namespace:
            self._finish_namespace(namespace)
        return gone

    # ---- what writes share ----

    def now_text(self) -> str:
        """The clock as Kubernetes writes times: UTC, whole seconds."""
        return _text_of(self._clock())

    def _received(self, kind: Kind, namespace: str, name: str, body: Any) -> Object:
        """A body in the stored shape, its names agreeing with the path."""
        if not isinstance(body, dict):
            raise bad_request("the body must be a JSON object")
        typed.check(kind, body)
        obj = shapes.stored(kind, body)
        metadata = obj.get("metadata") or {}
        if name and metadata.get("name") and metadata["name"] != name:
            raise bad_request(
                f"the name of the object ({metadata['name'][:253]}) does not match the name on the URL ({name})"
            )
        given = metadata.get("namespace")
        if given and given != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        kept = {key: value for key, value in metadata.items() if key != "managedFields"}
        return {**obj, "metadata": {**kept, **({"name": name} if name else {})}}

    def _replace(
        self, kind: Kind, before: Object, obj: Object, part: str, asked: Asked, owned: list[Object] | None = None
    ) -> Object:
        """The new state of an object that is there, stored unless nothing changed."""
        old, new = before["metadata"], obj["metadata"]
        name = old["name"]
        if new.get("resourceVersion") not in (None, "", old["resourceVersion"]):
            raise conflict(kind, name)
        if new.get("uid") not in (None, "", old["uid"]):
            raise conflict(kind, name, f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: "
                           f"{old['uid']}")  # fmt: skip
        added = [f for f in new.get("finalizers") or () if f not in (old.get("finalizers") or ())]
        if old.get("deletionTimestamp") and added:
            raise invalid(kind, name, barred("metadata.finalizers", "no new finalizers can be added if the object is "
                          f"being deleted, found new finalizers {msgspec.json.encode(added).decode()}"))  # fmt: skip
        after = rules.completed(kind, _parts_of(kind, before, obj, part), new=False)
        if owned:
            after = {**after, "metadata": {**after["metadata"], "managedFields": owned}}
        counted = {k: v for k, v in after.items() if k not in _UNCOUNTED}
        if kind.generation and counted != {k: v for k, v in before.items() if k not in _UNCOUNTED}:
            after = {**after, "metadata": {**after["metadata"], "generation": old.get("generation", 1) + 1}}
        rules.check(kind, after, *(rules.changed_findings(kind, before, after) if not part else ()))
        if after == before or asked.dry_run:
            return after
        return self._put(kind, after)

    def _put(self, kind: Kind, obj: Object) -> Object:
        """Store; what was only waiting for its finalizers is gone when the last one is."""
        metadata = obj["metadata"]
        where = (metadata.get("namespace", ""), metadata["name"])
        ending = metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds", 0) == 0
        if ending and not metadata.get("finalizers") and kind.key != NAMESPACES:
            return self._remove(kind, *where)
        stored = self._storage.put(kind.key, where, obj)
        if kind.key == DEFINITIONS:
            for defined in of_definition(stored):
                self._catalog.add(defined)
        return stored

    def _apply(
        self, kind: Kind, namespace: str, name: str, before: Object | None, body: Any, part: str, asked: Asked
    ) -> tuple[Object, bool]:
        config = self._received(kind, namespace, name, body)
        at = self.now_text()
        applied = server_side_apply.apply(kind, before or {}, config, asked.manager, force=asked.force, at=at)
        owned = applied["metadata"]["managedFields"]
        if before is None:
            if part:
                raise not_found(kind, name)
            return self.create(kind, namespace, applied, asked, owned), True
        return self._replace(kind, before, applied, part, asked, owned), False

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        space = self._storage.get(NAMESPACES, ("", namespace))
        if space is None:
            raise not_found(self._catalog.named(NAMESPACES), namespace)
        if space["metadata"].get("deletionTimestamp"):
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated",
                     "field": "metadata.namespace"}  # fmt: skip
            raise forbidden(kind, name, text, [cause])

    def _generated(self, kind: Kind, namespace: str, base: str) -> str:
        for _ in range(8):
            name = base[:58] + "".join(self._random.choices(_SUFFIX, k=5))
            if self._storage.get(kind.key, (namespace, name)) is None:
                break
        return name

    def _addressed(self, kind: Kind, obj: Object) -> Object:
        """A Service of type ClusterIP gets an address of its own."""
        if kind.key != "/services" or obj["spec"].get("clusterIP") or obj["spec"]["type"] == "ExternalName":
            return obj
        taken = {self._storage.get(kind.key, n)["spec"].get("clusterIP") for n in self._storage.names(kind.key)}  # type: ignore[index]
        free = next(f"10.100.{n >> 8}.{n & 255}" for n in range(2, 65_535) if f"10.100.{n >> 8}.{n & 255}" not in taken)
        spec = {**obj["spec"], "clusterIP": free, "clusterIPs": [free], "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack"}  # fmt: skip
        return {**obj, "spec": spec}


def _parts_of(kind: Kind, before: Object, obj: Object, part: str) -> Object:
    """What a write to the resource, or to one of its parts, may change; the rest is as before."""
    old = before["metadata"]
    fixed = {key: old[key] for key in (*_SYSTEM, "resourceVersion", "namespace", "managedFields") if key in old}
    metadata = {**{k: v for k, v in obj["metadata"].items() if k not in _SYSTEM}, **fixed}
    if part == "status":
        kept = old if kind.custom else {**metadata, "ownerReferences": old.get("ownerReferences")}
        metadata = {key: value for key, value in kept.items() if value is not None}
        return {**before, "metadata": metadata, "status": obj.get("status") or {}}
    if part == "finalize":
        return {**before, "spec": {**(before.get("spec") or {}), **(obj.get("spec") or {})}}
    after = {**obj, "metadata": metadata}
    if kind.has_status:
        after.pop("status", None)
        if "status" in before:
            after["status"] = before["status"]
    return after


def _grace(kind: Kind, obj: Object, wanted: Deletion) -> int:
    """Seconds a deletion takes: only of a pod that a kubelet may be running."""
    if kind.key != PODS or not obj["spec"].get("nodeName") or obj["status"].get("phase") in ("Succeeded", "Failed"):
        return 0
    if wanted.grace_period_seconds is not None:
        return max(0, wanted.grace_period_seconds)
    default: int = obj["spec"]["terminationGracePeriodSeconds"]
    return default


def _text_of(at: Instant) -> str:
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
