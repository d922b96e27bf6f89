"""Watches: where they begin, what they show, how they end, as a real API server was seen to treat them."""

from __future__ import annotations

from typing import Any

import pytest

from .apiserver import Api


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"suite": "watch", **labels}}}


def short(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(type, name) of each event but bookmarks."""
    return [(e["type"], e["object"]["metadata"]["name"]) for e in events if e["type"] != "BOOKMARK"]


MINE = {"labelSelector": "suite=watch"}


@pytest.mark.parametrize("spelling", ["1", "true", "True"])
def test_watch_can_be_asked_for_in_three_ways(api: Api, space: str, spelling: str) -> None:
    """client-go says true, kubernetes_asyncio says True."""
    api.create(f"{space}/configmaps", config_map("a"))

    events = api.watched(f"{space}/configmaps", watch=spelling, timeoutSeconds=1, **MINE)

    assert short(events) == [("ADDED", "a")]


def test_watch_without_version_begins_with_what_there_is(api: Api, space: str) -> None:
    """Synthetic ADDED events; objects say their kind here. timeoutSeconds ends it cleanly."""
    api.create(f"{space}/configmaps", config_map("a"))
    api.create(f"{space}/configmaps", config_map("b"))

    events = api.watched(f"{space}/configmaps", timeoutSeconds=1, **MINE)

    assert short(events) == [("ADDED", "a"), ("ADDED", "b")]
    assert events[0]["object"]["kind"] == "ConfigMap"


def test_watch_from_a_version_shows_what_came_later(api: Api, space: str) -> None:
    """Each change is one event with the object's new version, the deletion too."""
    path = f"{space}/configmaps"
    api.create(path, config_map("old"))
    version = api.get(path)["metadata"]["resourceVersion"]
    made = api.create(path, config_map("a"))
    api.patch(f"{path}/a", {"data": {"k": "v"}})
    api.call("DELETE", f"{path}/a")

    events = api.watched(path, resourceVersion=version, timeoutSeconds=1, **MINE)

    assert short(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions)) and versions[0] == int(made["metadata"]["resourceVersion"])
    assert events[2]["object"]["data"] == {"k": "v"}


def test_change_is_seen_while_it_happens(api: Api, space: str) -> None:
    """An open watch gets the event without asking."""
    path = f"{space}/configmaps"
    version = api.get(path)["metadata"]["resourceVersion"]

    with api.watching(path, resourceVersion=version, timeoutSeconds=20, **MINE) as events:
        api.create(path, config_map("live"))
        event = next(events)

    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "live")


def test_object_that_enters_or_leaves_a_selection_is_added_or_deleted(api: Api, space: str) -> None:
    """A watch with a selector shows the selection, not the objects."""
    path = f"{space}/configmaps"
    api.create(path, config_map("a", zone="x"))
    version = api.get(path)["metadata"]["resourceVersion"]
    for zone in ("y", "z", "x"):
        api.patch(f"{path}/a", {"metadata": {"labels": {"zone": zone}}})

    events = api.watched(path, resourceVersion=version, timeoutSeconds=1, labelSelector="zone in (y,z)")

    assert short(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert events[2]["object"]["metadata"]["labels"]["zone"] == "z"


def test_streamed_list_ends_with_a_bookmark(api: Api, space: str) -> None:
    """sendInitialEvents: ADDED for each object, then a bookmark that says so."""
    path = f"{space}/configmaps"
    api.create(path, config_map("a"))

    with api.watching(path, sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true",
                      timeoutSeconds=20, **MINE) as events:  # fmt: skip
        first, second = next(events), next(events)

    assert (first["type"], second["type"]) == ("ADDED", "BOOKMARK")
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(second["object"]["metadata"]["resourceVersion"]) >= int(first["object"]["metadata"]["resourceVersion"])


def test_streamed_list_needs_its_match(api: Api, space: str) -> None:
    """sendInitialEvents without resourceVersionMatch is 422."""
    code, status = api.call("GET", f"{space}/configmaps", watch="1", sendInitialEvents="true", timeoutSeconds=1)

    assert (code, status["reason"]) == (422, "Invalid")


def test_version_too_old_is_one_error_line(api: Api) -> None:
    """HTTP 200, and one ERROR event with a Status of 410 Expired; then the stream ends."""
    events = api.watched("/api/v1/configmaps", resourceVersion="1")

    (event,) = events
    assert event["type"] == "ERROR"
    status = event["object"]
    assert (status["kind"], status["reason"], status["code"]) == ("Status", "Expired", 410)
    assert status["message"].startswith("too old resource version: 1 (")


def test_version_to_come_shows_nothing(api: Api, space: str) -> None:
    """A watch from the future is silent until its time is up."""
    path = f"{space}/configmaps"

    with api.watching(path, resourceVersion="900000000000", timeoutSeconds=1) as events:
        api.create(path, config_map("a"))
        seen = list(events)

    assert [event for event in seen if event["type"] != "ERROR"] == []


def test_quiet_watch_gets_a_bookmark_when_others_change(api: Api, space: str) -> None:
    """Its version moves on although nothing of its selection changed: what saves a reflector from 410."""
    path = f"{space}/configmaps"
    version = api.get(path)["metadata"]["resourceVersion"]
    api.create(path, config_map("other"))

    events = api.watched(path, resourceVersion=version, allowWatchBookmarks="true", labelSelector="none=such",
                         timeoutSeconds=3)  # fmt: skip

    marks = [event["object"] for event in events if event["type"] == "BOOKMARK"]
    assert short(events) == []
    assert marks and int(marks[-1]["metadata"]["resourceVersion"]) > int(version)
    assert marks[-1]["kind"] == "ConfigMap"
