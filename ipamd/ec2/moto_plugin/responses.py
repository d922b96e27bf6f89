"""moto's EC2 responses with the model's actions in front, and what is common to every EC2 request.

One request after the other, throttled and delayed as asked; what cannot be read or is not there is EC2's error
instead of moto's HTTP 500.
"""

from __future__ import annotations

import re
import socket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from botocore.model import OperationNotFoundError
from moto.core.common_types import TYPE_RESPONSE
from moto.core.request import Request
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores, get_service_model
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response as StockResponse

from ipamd.ec2 import answers, refusals, requests

from .actions import ModelActions
from .door import Refused, Unanswered

ItemT = TypeVar("ItemT")
PAGE: Final = range(5, 1001)
"""EC2's bounds of MaxResults for subnets and instances."""
QUOTED: Final = re.compile(r"'([^']*)'$")
"""The value that Python names at the end of an error of conversion."""
COMMON: Final = ("Action", "Version", "AWSAccessKeyId", "SecurityToken", "Signature", "SignatureMethod",
                 "SignatureVersion", "Timestamp", "Expires")  # fmt: skip
"""Parameters of every action of the query protocol."""
FILTER: Final = re.compile(r"(?i)\bfilter.*?'([^']*)'")
"""How moto names a filter that it does not know."""
STATUSES: Final = {
    refusals.throttled().code: 503,
    refusals.unauthorized().code: 403,
    refusals.dry_run().code: 412,
}
"""Codes that EC2 sends with another HTTP status than 400."""


class EC2Response(ModelActions, StockResponse):
    """One request to EC2."""

    _wrong: EC2ClientError | None = None

    # ---- every action ------------------------------------------------------------------------------------------

    def parse_parameters(self, request: Request) -> None:
        """moto's; parameters that are not of their type, and actions that EC2 does not have, are EC2's errors."""
        try:
            super().parse_parameters(request)
            self._wrong = self._unknown(request)
        except OperationNotFoundError:
            name = ascii(str(self._get_action())[:80])[1:-1]
            self._wrong = EC2ClientError("InvalidAction", f"The action {name} is not valid for this web service.")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            self.params = {}
            value = QUOTED.search(str(error))
            thing = f"Value ({value[1][:80]})" if value else "A parameter"
            told = f"{thing} is not of its parameter's type"
            self._wrong = EC2ClientError("InvalidParameterValue", told)

    def _unknown(self, request: Request) -> EC2ClientError | None:
        """EC2's refusal of a parameter that the action does not have; those of signatures belong to all actions."""
        model = get_service_model(self.boto3_service_name).operation_model(str(self._get_action()))
        members: Mapping[str, Any] = model.input_shape.members if model.input_shape is not None else {}
        known = {name.lower() for name in COMMON}
        for name, shape in members.items():
            said = shape.serialization
            known |= {str(said[key]).lower() for key in ("name", "queryName") if key in said} | {name.lower()}
        for name in request.values:
            if name.split(".")[0].lower() not in known and not name.lower().startswith("x-amz-"):
                return EC2ClientError("UnknownParameter", f"The parameter {ascii(name[:80])[1:-1]} is not recognized")
        return None

    def call_action(self) -> TYPE_RESPONSE:
        """Wait, act under the lock, wait, answer."""
        action = self._get_action() or ""
        door = self.door
        there, back = door.waits(action)
        door.pause(there)
        with door.lock:
            try:
                reply = self._reply(action)
            except Unanswered:
                reply = None
        door.pause(back + door.owed())
        return self._hang_up() if reply is None else reply

    def _reply(self, action: str) -> TYPE_RESPONSE:
        try:
            if self._wrong is not None:
                raise self._wrong
            self.door.admit(action)
            self._rehearse(action)
            return super().call_action()
        except EC2ClientError as error:
            return self.serialized(ActionResult(error))
        except RuntimeError as error:  # of which moto raises one kind for what it lacks
            if named := FILTER.search(str(error)):
                return self.serialized(ActionResult(Refused(refusals.bad_filter(named[1]))))
            refused = EC2ClientError("UnsupportedOperation", f"{action}: not in this emulator ({error})")
            return self.serialized(ActionResult(refused))

    def _rehearse(self, action: str) -> None:
        """A dry run ends here for actions of moto's own, of which many would take it for a request."""
        said = self.normalized_request.values.get("DryRun", "false")
        if said.lower() not in ("true", "false"):
            raise Refused(refusals.invalid("DryRun", said, "want true or false"))
        if said.lower() == "true" and not hasattr(ModelActions, camelcase_to_underscores(action)):
            raise Refused(refusals.dry_run())

    def serialized(self, action_result: ActionResult) -> TYPE_RESPONSE:
        """moto's, with EC2's status for errors."""
        status, headers, body = super().serialized(action_result)
        result = action_result.result
        return STATUSES.get(result.code, status) if isinstance(result, EC2ClientError) else status, headers, body

    def _hang_up(self) -> TYPE_RESPONSE:
        """End the connection without a reply, as far as the server lets us; else a gateway's timeout."""
        connection = self.normalized_request.environ.get("werkzeug.socket")
        if isinstance(connection, socket.socket):
            connection.shutdown(socket.SHUT_RDWR)
        return 504, {"connection": "close"}, ""

    # ---- actions of moto, with the model's facts -----------------------------------------------------------------

    def describe_subnets(self) -> ActionResult:
        """moto's subnets with the model's free counts, which may lag, page by page where asked."""
        page = self.ask(requests.DescribeSubnets(), answers.Page)
        seen = {s.subnet: s for s in page.items if isinstance(s, answers.Subnet)}
        found = self.ec2_backend.describe_subnets(
            self.params.get("SubnetIds", []), self._filters_from_querystring()
        )
        shown, token = self._page(found, self.params.get("SubnetIds"))
        known = [Seen(s, available_ip_address_count=seen[s.id].free) for s in shown if s.id in seen]
        return ActionResult({"Subnets": known, "NextToken": token})

    def describe_instances(self) -> ActionResult:
        """moto's instances; their ENIs as the model describes them, which may lag.

        One that the model does not show yet is not there; one that it has forgotten is moto's alone.
        """
        asked = tuple(name for name in self.params.get("InstanceIds", ()) if name in self.door.cloud.instances)
        page = self.ask(requests.DescribeInstances(ids=asked), answers.Page)
        seen = {i.instance: i.interfaces for i in page.items if isinstance(i, answers.Instance)}
        if self.params.get("NextToken") not in (None, *self.ec2_backend.reservations):
            raise bad_token()
        result: Any = super().describe_instances().result
        shown = [self._reservation(r, seen) for r in result["Reservations"]]
        result["Reservations"] = [reservation for reservation in shown if reservation["Instances"]]
        return ActionResult(result)

    def _reservation(self, reservation: Any, seen: Mapping[str, Iterable[answers.NetworkInterface]]) -> dict[str, Any]:
        instances = [
            Seen(i, network_interfaces=[self._eni(eni) for eni in seen.get(i.id, ())])
            for i in reservation.instances
            if i.id in seen or i.id not in self.door.cloud.instances
        ]
        return {
            "ReservationId": reservation.id,
            "OwnerId": reservation.owner_id,
            "Groups": reservation.groups,
            "Instances": instances,
        }

    def describe_instance_types(self) -> ActionResult:
        """moto's, page by page where asked."""
        found: Any = super().describe_instance_types().result
        shown, token = self._page(found["InstanceTypes"], self.params.get("InstanceTypes"))
        return ActionResult({"InstanceTypes": shown, "NextToken": token})

    def run_instances(self) -> ActionResult:
        """As many as there is room for, up to MaxCount."""
        with self.ec2_backend.at_most(self.params.get("MaxCount", 1)):
            made: Any = super().run_instances().result
        attached = self.door.cloud.attached
        seen = {i.id: [self.door.interface(eni) for eni in attached.get(i.id, ())] for i in made.instances}
        return ActionResult(self._reservation(made, seen))

    def _page(self, items: list[ItemT], ids: object) -> tuple[list[ItemT], str | None]:
        size, token = self.params.get("MaxResults"), self.params.get("NextToken")
        if size is None and not token:
            return items, None
        if ids:
            raise Refused(refusals.either("MaxResults", "the list of ids"))
        if size is not None and size not in PAGE:
            raise Refused(refusals.invalid("MaxResults", size, f"want {PAGE.start} to {PAGE.stop - 1}"))
        start = _start_of(token) if token else 0
        stop = start + (size or len(PAGE))
        return items[start:stop], _token_of(stop) if stop < len(items) else None


class Seen:
    """A thing of moto's, some of whose attributes are as a Describe saw them."""

    def __init__(self, thing: Any, **seen: Any) -> None:
        self._thing = thing
        self.__dict__ |= seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def _token_of(position: int) -> str:
    return urlsafe_b64encode(f"from {position}".encode()).decode()


def _start_of(token: str) -> int:
    try:
        word, _, position = urlsafe_b64decode(token.encode("ascii")).decode("ascii").partition(" ")
        if word == "from" and position.isdigit() and len(position) < 10:
            return int(position)
    except ValueError:
        pass
    raise bad_token()


def bad_token() -> EC2ClientError:
    return EC2ClientError("InvalidPaginationToken", "The specified pagination token is not valid or is expired.")
