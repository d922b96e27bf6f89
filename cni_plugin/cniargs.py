"""CNI_ARGS: `K=V;K=V`, the four facts about the pod that kubelet passes through the runtime."""

from __future__ import annotations

from typing import NamedTuple


class Pod(NamedTuple):
    """The pod that asks; every field is "" when CNI_ARGS did not name it."""

    name: str = ""
    namespace: str = ""
    infra_container_id: str = ""
    uid: str = ""


FIELDS = {
    "K8S_POD_NAME": "name",
    "K8S_POD_NAMESPACE": "namespace",
    "K8S_POD_INFRA_CONTAINER_ID": "infra_container_id",
    "K8S_POD_UID": "uid",
}
BOOLS = {"1": True, "true": True, "0": False, "false": False}


def parse(args: str) -> Pod:
    """The pod of `args`; key names count to the letter, a repeated key's last value wins.

    Raises ValueError for a pair without exactly one `=`, for IgnoreUnknown that is no boolean, and for
    unknown keys unless IgnoreUnknown is `1` or `true`.
    """
    if not args:
        return Pod()
    fields: dict[str, str] = {}
    unknown: list[str] = []
    ignore_unknown = False
    for pair in args.split(";"):
        parts = pair.split("=")
        if len(parts) != 2:
            raise ValueError(f"ARGS: invalid pair {quote(pair)}")
        key, value = parts
        if key in FIELDS:
            fields[FIELDS[key]] = value
        elif key == "IgnoreUnknown":
            if value.lower() not in BOOLS:
                raise ValueError(f"ARGS: error parsing value of pair {quote(pair)}: want 1, true, 0 or false")
            ignore_unknown = BOOLS[value.lower()]
        else:
            unknown.append(pair)
    if unknown and not ignore_unknown:
        raise ValueError(f"ARGS: unknown args [{' '.join(quote(pair) for pair in unknown)}]")
    return Pod(**fields)


def quote(text: str) -> str:
    """`text` in double quotes, with what is not printable escaped."""
    import json

    return json.dumps(text)
