"""The patch functions on the examples of their RFCs, and the rules of strategic merge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipamd.k8s.lab.patches import PatchError, apply_operations, merge, strategic

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "original, patch, result",
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_is_as_in_the_appendix_of_rfc_7386(original: Any, patch: Any, result: Any) -> None:
    """All examples of its Appendix A."""
    assert merge(original, patch) == result


@given(JSON, JSON)
def test_merge_patch_twice_is_once_and_changes_nothing_in_place(original: Any, patch: Any) -> None:
    """A patch that was lost and is sent again does no harm; what is stored is never changed in place."""
    before = repr(original)

    once = merge(original, patch)

    assert merge(once, patch) == once
    assert repr(original) == before


@pytest.mark.parametrize(
    "original, operations, result",
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "replace", "path": "/baz", "value": "b"}], {"baz": "b", "foo": "bar"}),
        ({"foo": {"bar": "baz", "w": "f"}, "qux": {"c": "g"}}, [{"op": "move", "from": "/foo/w", "path": "/qux/t"}],
         {"foo": {"bar": "baz"}, "qux": {"c": "g", "t": "f"}}),
        ({"foo": ["all", "grass", "cows", "eat"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
         {"foo": ["all", "cows", "eat", "grass"]}),
        ({"foo": "bar"}, [{"op": "add", "path": "/child", "value": {"g": {}}}], {"foo": "bar", "child": {"g": {}}}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": []}], []),
    ],
)  # fmt: skip
def test_json_patch_is_as_in_the_appendix_of_rfc_6902(original: Any, operations: Any, result: Any) -> None:
    """Examples of its Appendix A."""
    assert apply_operations(original, operations) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/baz/bat", "value": "qux"},
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "test", "path": "/foo", "value": "x"},
        {"op": "add", "path": "/list/9", "value": 1},
        {"op": "add", "path": "/list/1x", "value": 1},
        {"op": "add", "path": "foo", "value": 1},
        {"op": "add", "path": "/foo"},
        {"op": "copy", "path": "/foo"},
        {"op": "spin", "path": "/foo"},
        {"path": "/foo"},
        "add",
    ],
)
def test_json_patch_that_does_not_fit_is_refused(operation: Any) -> None:
    """Nothing is applied."""
    with pytest.raises(PatchError):
        apply_operations({"foo": "bar", "list": [1]}, [operation])


def test_strategic_merge_follows_its_directives() -> None:
    """Replace, delete, retain, order, and deleting from a list of plain values."""
    containers = [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]

    assert strategic({"containers": containers}, {"containers": [{"name": "b", "image": "3"}, {"name": "c"}]}) == {
        "containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "3"}, {"name": "c"}]
    }
    assert strategic({"containers": containers}, {"containers": [{"name": "a", "$patch": "delete"}]}) == {
        "containers": [containers[1]]
    }
    assert strategic({"containers": containers}, {"containers": [{"$patch": "replace"}, {"name": "c"}]}) == {
        "containers": [{"name": "c"}]
    }
    assert strategic({"m": {"a": 1, "b": 2}}, {"m": {"$patch": "replace", "c": 3}}) == {"m": {"c": 3}}
    assert strategic({"s": {"a": 1, "b": 2}}, {"s": {"$retainKeys": ["b"], "b": 3}}) == {"s": {"b": 3}}
    assert strategic({"finalizers": ["x", "y"]}, {"$deleteFromPrimitiveList/finalizers": ["x"]}) == {
        "finalizers": ["y"]
    }
    assert strategic(
        {"containers": containers}, {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}
    ) == {"containers": containers[::-1]}  # fmt: skip
    assert strategic({"ports": [{"port": 1, "n": "a"}]}, {"ports": [{"port": 1, "n": "b"}]}) == {
        "ports": [{"port": 1, "n": "b"}]
    }
    assert strategic({"taints": [{"key": "a"}]}, {"taints": [{"key": "b"}]}) == {"taints": [{"key": "b"}]}


def test_strategic_merge_needs_the_key() -> None:
    """An element without its merge key belongs nowhere."""
    with pytest.raises(PatchError, match="does not contain declared merge key: name"):
        strategic({"containers": [{"name": "a"}]}, {"containers": [{"image": "x"}]})
