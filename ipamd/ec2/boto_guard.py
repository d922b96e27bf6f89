"""Which ENIs of an account a door may change: those that upstream's rules give to this node, and no other.

    the instance's primary ENI         everything but detach and delete
    attached to the instance           unless its tags say that it is not managed (DM-48)
    attached to another instance       nothing
    made through this door             everything
    unattached                         if it was ours while it was attached, or carries the tag of a node's ENI:
                                       this node's, or any node's with a description of `aws-K8S-`, which may be
                                       tagged with createdAt and deleted (EC2-42, EC2-43)

What is not known is described first; what is described on the way anyway is remembered.
"""

from __future__ import annotations

from collections.abc import Callable

from ipamd.core.adopt import CREATED_AT, DESCRIPTION
from ipamd.core.calls import (
    ENI_NOT_FOUND,
    CreatedEni,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeNetworkInterfaces,
    DetachNetworkInterface,
    Ec2Call,
    Ec2Eni,
    EnisView,
    Result,
    View,
)
from ipamd.core.cards import INSTANCE_TAG, NO_MANAGE_TAG
from ipamd.core.settings import Node
from ipamd.core.types import CallId, EniId

from .port import Ec2, Ec2Error, Ec2Look, Feature, operation


class Guarded:
    """A door that refuses, without asking, to change what is not this node's; satisfies `Ec2`."""

    def __init__(
        self, cloud: Ec2, node: Node, *, manage_untagged: bool = True, at_end: Callable[[], None] | None = None
    ) -> None:
        """`manage_untagged` is MANAGE_UNTAGGED_ENI (ENV-19); `at_end` is called once the door behind is closed."""
        self._cloud = cloud
        self._node = node
        self._manage_untagged = manage_untagged
        self._at_end = at_end
        self._ours: set[EniId] = {node.primary_eni}
        self._foreign: dict[EniId, str] = {}
        """ENIs that are not ours, and why; asked again each time, for tags change."""
        self._leaked: set[EniId] = set()

    @property
    def features(self) -> frozenset[Feature]:
        """As the door behind."""
        return self._cloud.features

    async def call(self, call: Ec2Call, call_id: CallId | None = None) -> Result:
        """As the door behind, for what is this node's. Raises `Ec2Error` (code "") for what is not."""
        if not isinstance(call, CreateNetworkInterface):
            why = await self._objection(call)
            if why:
                remedy = "it is left alone; see docs/aws.md for the tags that decide"
                raise Ec2Error(operation(call), "", f"{call.eni}: {why}; {remedy}")
        made = await self._cloud.call(call, call_id)
        if isinstance(made, CreatedEni):
            self._ours.add(made.eni)
        elif isinstance(call, DeleteNetworkInterface):
            self._ours.discard(call.eni)
        return made

    async def look(self, look: Ec2Look) -> View:
        """As the door behind; ENIs that are seen are remembered."""
        seen = await self._cloud.look(look)
        if isinstance(seen, EnisView):
            for eni in seen.enis:
                self._learn(eni)
        return seen

    async def node(self) -> Node:
        """As the door behind."""
        return await self._cloud.node()

    async def close(self) -> None:
        """As the door behind, and then whatever belongs to it."""
        try:
            await self._cloud.close()
        finally:
            if self._at_end is not None:
                self._at_end()

    async def _objection(self, call: Ec2Call) -> str:
        """Why the call must not be made; "" if it may. An ENI that does not exist needs no guard: EC2 refuses it."""
        assert not isinstance(call, CreateNetworkInterface), "a new ENI is nobody's"
        eni = call.eni
        if eni == self._node.primary_eni:
            stays = isinstance(call, DetachNetworkInterface | DeleteNetworkInterface)
            return "the instance's primary ENI is never detached or deleted" if stays else ""
        if eni not in self._ours:
            try:
                await self.look(DescribeNetworkInterfaces((eni,)))
            except Ec2Error as error:
                if error.code == ENI_NOT_FOUND or error.code.endswith(".Malformed"):
                    return ""
                raise Ec2Error(operation(call), error.code, error.message) from None
        if eni in self._leaked and (
            isinstance(call, DeleteNetworkInterface)
            or (isinstance(call, CreateTags) and set(call.tags) == {CREATED_AT})
        ):
            return ""
        return self._foreign.get(eni, "")

    def _learn(self, seen: Ec2Eni) -> None:
        """Whose it is, by what EC2 shows now."""
        eni = seen.eni
        why = self._not_ours(seen)
        self._leaked.discard(eni)
        if why:
            self._ours.discard(eni)
            self._foreign[eni] = why
            if not seen.attachment and INSTANCE_TAG in seen.tags and seen.description.startswith(DESCRIPTION):
                self._leaked.add(eni)
        else:
            self._ours.add(eni)
            self._foreign.pop(eni, None)

    def _not_ours(self, seen: Ec2Eni) -> str:
        """Why it is not this node's; "" if it is."""
        me, owner = self._node.instance, seen.tags.get(INSTANCE_TAG)
        if seen.eni == self._node.primary_eni:
            return ""
        if seen.attachment and seen.instance != me:
            return f"attached to {seen.instance or 'a service of AWS'}, not to this instance ({me})"
        marked = seen.tags.get(NO_MANAGE_TAG)
        if marked is not None:
            if marked == "true":
                return f"tagged {NO_MANAGE_TAG}=true"
            return "" if seen.attachment or seen.eni in self._ours or owner == me else "unattached, and not ours"
        if owner == me or (seen.eni in self._ours and not seen.attachment):
            return ""
        if not seen.attachment:
            return f"unattached, and not tagged {INSTANCE_TAG}={me}"
        if not self._manage_untagged:
            return f"not tagged {INSTANCE_TAG}={me}, and MANAGE_UNTAGGED_ENI is false"
        return ""
