"""Two HTTP servers on 127.0.0.1: EC2's API (with the rest of moto) and instance metadata, over one cloud.

What stands in moto's backend table is replaced before moto makes its first backend; nothing else of moto is touched.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2 import models as stock
from moto.ec2.exceptions import EC2ClientError
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import Client

from ipamd.core.types import SECOND
from ipamd.ec2 import answers, requests
from ipamd.ec2.faults import Fault
from ipamd.ec2.imds_server import ImdsApp, Tree, Unavailable
from ipamd.ec2.imds_tree import tree

from .door import Behaviour, Refused, Unanswered
from .models import EC2Backend

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST: Final = "127.0.0.1"
LINE_PATH: Final = "/ipamd/instance.json"
FAULTS_PATH: Final = "/ipamd/faults.json"
NO_SUCH_INSTANCE: Final = "InvalidInstanceID"
"""How the codes begin for an id that is no running instance's."""
SCRIPT_MAX: Final = 1 << 20
"""Bytes of a fault script."""
AGE: Final = 3600 * SECOND
"""How long ago the first instance was launched: longer than any lag."""
IMAGE: Final = "ami-12c6146b"
"""One that moto knows."""
WARM: Final = ("DescribeNetworkInterfaces", "DescribeInstances", "DescribeSubnets")
"""What is asked once before anyone is told of the server: moto's first answers take seconds."""


class ServeError(Exception):
    """The server cannot start: what, why, what to do."""


class Begin(msgspec.Struct, frozen=True):
    """What there is at the start, and where it is served; a port of 0 is chosen by the system."""

    instance_type: str
    subnet: str
    vpc: str
    region: str
    behaviour: Behaviour
    reserve: tuple[str, ...] = ()
    port: int = 0
    imds_port: int = 0


class ReadyLine(msgspec.Struct, frozen=True):
    """What is printed, and served at `LINE_PATH`."""

    endpoint: str
    imds: str
    region: str
    vpc_id: str
    subnet_id: str
    instance_id: str
    eni_id: str


class Server:
    """Both servers, listening. `serve` answers until `stop` is called."""

    def __init__(self, begin: Begin) -> None:
        """Raises `ServeError`."""
        backend = register(begin)
        ids = _first(backend, begin)
        with closing(_listener(begin.port)) as api, closing(_listener(begin.imds_port)) as imds:
            self.line = ReadyLine(
                endpoint=f"http://{HOST}:{api.getsockname()[1]}",
                imds=f"http://{HOST}:{imds.getsockname()[1]}",
                region=begin.region,
                **ids,
            )
            app = Application(self.line)
            app.warm()
            metadata = ImdsApp(Hosts(self.line), time.monotonic)
            self._servers = [_server(api, app, ApiHandler), _server(imds, metadata, MetadataHandler)]

    def start(self) -> None:
        """Answer, in threads that end with the process."""
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.1,), name=f"http {server.port}", daemon=True).start()

    def stop(self) -> None:
        """Answer no more; requests on their way are not waited for."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


def register(begin: Begin) -> EC2Backend:
    """Put our backend class where moto takes it from; the region's backend. Once in a process."""
    if stock.ec2_backends:
        raise ServeError("moto's EC2 has been used in this process already; start the server in a fresh one")
    EC2Backend.behaviour = begin.behaviour
    mock_random.seed(begin.behaviour.settings.seed)
    stock.ec2_backends.backend = EC2Backend
    try:
        backend = stock.ec2_backends[DEFAULT_ACCOUNT_ID][begin.region]
    except KeyError:
        raise ServeError(f"region {begin.region[:40]!a}: not one of AWS; want a name such as us-west-2") from None
    assert isinstance(backend, EC2Backend)
    return backend


def _first(backend: EC2Backend, begin: Begin) -> dict[str, str]:
    """The VPC, the subnet with its reservations, the instance: their ids by the names of the ready line."""
    try:
        with backend.door.earlier(AGE):
            return _made(backend, begin)
    except EC2ClientError as error:
        raise ServeError(f"{error.code}: {error.message}") from None


def _made(backend: EC2Backend, begin: Begin) -> dict[str, str]:
    vpc = backend.create_vpc(begin.vpc)
    subnet = backend.create_subnet(vpc.id, begin.subnet, availability_zone=f"{begin.region}a")
    for cidr in begin.reserve:
        asked = requests.CreateSubnetCidrReservation(subnet=subnet.id, cidr=cidr, reservation_type="prefix")
        backend.door.ask(asked, answers.CidrReservation)
    reservation = backend.run_instances(
        IMAGE,
        1,
        None,
        [],
        instance_type=begin.instance_type,
        is_instance_type_default=False,
        region_name=begin.region,
        subnet_id=subnet.id,
    )
    (instance,) = reservation.instances
    first: Any = instance.nics[0]
    return {"vpc_id": vpc.id, "subnet_id": subnet.id, "instance_id": instance.id, "eni_id": first.id}


class Application:
    """moto's dispatcher, with the ready line and the fault script beside it."""

    def __init__(self, line: ReadyLine) -> None:
        self._region = line.region
        self._line = msgspec.json.encode(line) + b"\n"
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ.get("PATH_INFO"):
            case path if path == LINE_PATH:
                return _json(start_response, "200 OK", self._line)
            case path if path == FAULTS_PATH:
                return _json(start_response, *self._faults(environ))
        answered: Iterable[bytes] = self._moto(environ, start_response)
        return answered

    def _faults(self, environ: WSGIEnvironment) -> tuple[str, bytes]:
        """GET tells the rules that wait, POST adds a list of them, DELETE takes all away."""
        door = _backends()[self._region].door
        faults = door.cloud.faults
        with door.lock:
            match environ["REQUEST_METHOD"]:
                case "GET":
                    return "200 OK", msgspec.json.encode(faults.rules) + b"\n"
                case "DELETE":
                    faults.clear()
                    return "200 OK", b"[]\n"
                case "POST" if environ.get("CONTENT_TYPE", "").startswith("application/json"):
                    size = environ.get("CONTENT_LENGTH", "")
                    text = environ["wsgi.input"].read(min(int(size), SCRIPT_MAX) if size.isdigit() else 0)
                    try:
                        faults.add(msgspec.json.decode(text, type=list[Fault]))
                    except msgspec.MsgspecError as error:
                        problem = f"want a JSON list of faults: {error}"
                        return "400 Bad Request", msgspec.json.encode({"error": problem}) + b"\n"
                    return "200 OK", msgspec.json.encode(faults.rules) + b"\n"
                case "POST":
                    problem = "want Content-Type: application/json"
                    return "415 Unsupported Media Type", msgspec.json.encode({"error": problem}) + b"\n"
                case _:
                    return "405 Method Not Allowed", b'{"error":"want GET, POST or DELETE"}\n'

    def warm(self) -> None:
        """Have moto load what it loads at the first call."""
        client = Client(self)
        scope = f"AWS4-HMAC-SHA256 Credential=warm/20260101/{self._region}/ec2/aws4_request"
        for action in WARM:
            body = {"Action": action, "Version": "2016-11-15"}
            answer = client.post("/", data=body, headers={"Authorization": scope})
            assert answer.status_code == 200, answer.get_data(as_text=True)


def _json(start_response: StartResponse, status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Hosts:
    """Instance metadata of every instance, of other regions too; satisfies `Metadata`."""

    def __init__(self, line: ReadyLine) -> None:
        self._line = line

    def tree(self, instance: str) -> Tree | None:
        """None for an instance that is not there, or that is not running any more."""
        door = self._backend(instance).door
        for wait in door.waits("ReadInstanceMetadata"):
            door.pause(wait)
        try:
            asked = requests.ReadInstanceMetadata(instance=instance or self._line.instance_id)
            return tree(door.ask(asked, answers.InstanceMetadata), door.now())
        except Refused as refused:
            if refused.code.startswith(NO_SUCH_INSTANCE):
                return None
            raise Unavailable(refused.message) from None
        except Unanswered as lost:
            raise Unavailable(str(lost)) from None
        finally:
            door.pause(door.owed())

    def enabled(self, instance: str) -> bool:
        """As the instance's metadata options say, which ModifyInstanceMetadataOptions changes."""
        return self._option(instance, "http_endpoint") != "disabled"

    def token_required(self, instance: str) -> bool:
        return self._option(instance, "http_tokens") == "required"

    def _option(self, instance: str, name: str) -> str | None:
        found = self._backend(instance).get_instance_by_id(instance or self._line.instance_id)
        return getattr(found.metadata_options, name, None) if found is not None else None


    def _backend(self, instance: str) -> EC2Backend:
        backends = _backends()
        holding = (b for b in list(backends.values()) if instance in b.door.cloud.instances)
        return next(holding, None) or backends[self._line.region]


def _backends() -> dict[str, EC2Backend]:
    """By region, as they are now: moto's reset makes new ones."""
    backends: Any = stock.ec2_backends[DEFAULT_ACCOUNT_ID]
    return cast(dict[str, EC2Backend], backends)


class ApiHandler(MotoRequestHandler):
    """moto's handler, without a line for each request."""

    def log(self, type: str, message: str, *args: Any) -> None:
        if type == "error":
            super().log(type, message, *args)


class MetadataHandler(WSGIRequestHandler):
    """The same for instance metadata."""

    log = ApiHandler.log


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=128)
    except (OSError, OverflowError) as error:
        raise ServeError(f"{HOST}:{port}: cannot listen: {error}; choose another port, or 0 for any") from None


def _server(
    listener: socket.socket, app: Callable[..., Iterable[bytes]], handler: type[WSGIRequestHandler]
) -> BaseWSGIServer:
    """werkzeug's own server takes a copy of the socket; it would end the process where a port is taken."""
    port = listener.getsockname()[1]
    return make_server(HOST, port, app, threaded=True, request_handler=handler, fd=listener.fileno())
