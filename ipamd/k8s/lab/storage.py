"""What the API server remembers: objects by kind and name, one counter of versions, and each kind's recent changes.

The counter is etcd's revision: every change of anything takes the next one. The changes are what watches read and
what older lists are rebuilt from; of each kind only the last `window` ones are kept, and an older version is
`Expired`. A stored object is never changed in place, so answers and history may share it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from .catalog import Object
from .refusal import expired, too_large

ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]
Name: TypeAlias = tuple[str, str]
"""(namespace, name); namespace "" for what belongs to the cluster."""

WINDOW: Final = 4096


class Change(msgspec.Struct, frozen=True):
    """One change of one object; `after` of a deletion is the last state with the deletion's version."""

    version: int
    name: Name
    type: ChangeType
    before: Object | None
    after: Object


class History:
    """The recent changes of one kind, oldest first."""

    def __init__(self, window: int, floor: int) -> None:
        self._window = window
        self._changes: list[Change] = []
        self._versions: list[int] = []
        self.floor = floor
        """Changes up to this version are forgotten, or were before this kind's time."""

    def append(self, change: Change) -> None:
        """Remember one more; forget many at once when twice too many are kept."""
        self._changes.append(change)
        self._versions.append(change.version)
        if len(self._changes) > 2 * self._window:
            self.forget(self._versions[-self._window - 1])

    def forget(self, version: int) -> None:
        """Drop what happened up to this version."""
        cut = bisect_right(self._versions, version)
        del self._changes[:cut], self._versions[:cut]
        self.floor = max(self.floor, version)

    def since(self, version: int) -> list[Change]:
        """The changes after a version. Raises Refusal (410) if some of them are forgotten."""
        if version < self.floor:
            raise expired(f"too old resource version: {version} ({self.floor})")
        return self._changes[bisect_right(self._versions, version) :]


class Storage:
    """Objects and their history. `notify` is called after each change, with the kind's key."""

    def __init__(self, window: int = WINDOW) -> None:
        self.version = 1
        self._window = window
        self._objects: dict[str, dict[Name, Object]] = {}
        self._histories: dict[str, History] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._floor = 0

    def listen(self, heard: Callable[[str], None]) -> Callable[[], None]:
        """Call `heard` with the kind's key after each change; the answer ends that."""
        self._listeners.append(heard)
        return lambda: self._listeners.remove(heard)

    def get(self, key: str, name: Name) -> Object | None:
        """The object as it is now."""
        return self._objects.get(key, {}).get(name)

    def names(self, key: str) -> list[Name]:
        """Every name of a kind, in the order of lists."""
        return sorted(self._objects.get(key, {}))

    def put(self, key: str, name: Name, obj: Object) -> Object:
        """Store it under the next version; what was stored is returned."""
        before = self.get(key, name)
        stored = self._versioned(obj)
        self._objects.setdefault(key, {})[name] = stored
        self._changed(key, Change(self.version, name, "MODIFIED" if before else "ADDED", before, stored))
        return stored

    def remove(self, key: str, name: Name) -> Object:
        """Take it out under the next version; its last state, with that version."""
        before = self._objects[key].pop(name)
        after = self._versioned(before)
        self._changed(key, Change(self.version, name, "DELETED", before, after))
        return after

    def at(self, key: str, version: int) -> dict[Name, Object]:
        """All objects of a kind as they were. Raises Refusal: 410 if forgotten, 504 if that is yet to come."""
        if version > self.version:
            raise too_large(version, self.version)
        objects = dict(self._objects.get(key, {}))
        for change in reversed(self.history(key).since(version)):
            if change.before is None:
                objects.pop(change.name, None)
            else:
                objects[change.name] = change.before
        return objects

    def history(self, key: str) -> History:
        """The changes of one kind."""
        if key not in self._histories:
            self._histories[key] = History(self._window, self._floor)
        return self._histories[key]

    def compact(self) -> int:
        """Forget every change so far, as etcd does in intervals; the version up to which."""
        self._floor = self.version
        for history in self._histories.values():
            history.forget(self.version)
        return self.version

    def drop_kind(self, key: str) -> None:
        """Remove every object of a kind that is no longer served."""
        for name in self.names(key):
            self.remove(key, name)

    def living_in(self, namespace: str) -> Iterator[tuple[str, Name]]:
        """(key, name) of everything in a namespace."""
        for key in list(self._objects):
            for name in self.names(key):
                if name[0] == namespace:
                    yield key, name

    def _versioned(self, obj: Object) -> Object:
        self.version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}

    def _changed(self, key: str, change: Change) -> None:
        self.history(key).append(change)
        for heard in tuple(self._listeners):
            heard(key)
