"""What went wrong between us and EC2, in the port's words: the thing, the fact, the remedy.

    EC2 refused                     Ec2Error with EC2's code; for some codes the message ends with a remedy
    it was never sent               Ec2Error with code "": no effect
    the answer was lost             Ec2Lost: the effect is unknown
    EC2 failed inside (HTTP 5xx)    Ec2Lost for a call, Ec2Error for a read
"""

from __future__ import annotations

from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from .boto_client import NO_EFFECT, THROTTLED, AnswerLost, GaveUp, Request
from .port import Ec2Error, Ec2Lost

LENGTH_MAX: Final = 400
"""Of EC2's part of a message; an authorization failure comes with a kilobyte of cipher."""

EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
REJECTED: Final = frozenset(
    {"AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"}
    | {"IncompleteSignature", "MissingAuthenticationToken", "InvalidAccessKeyId"}
)
DENIED: Final = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
CLOSED: Final = frozenset({"OptInRequired", "Blocked", "PendingVerification"})
NOT_HERE: Final = frozenset({"InvalidInstanceID.NotFound", "InvalidVpcID.NotFound", "InvalidSubnetID.NotFound"})

_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    TokenRetrievalError,
    SSOError,
)
_LOST = (HTTPClientError, IncompleteReadError, ResponseParserError, AnswerLost)


class Place:
    """Where EC2 is asked, for messages."""

    def __init__(self, url: str, region: str) -> None:
        self.url = url
        self.region = region


def translated(error: Exception, request: Request, place: Place) -> Ec2Error | Ec2Lost | None:
    """The port's error for what a client raised; None for what no edge can raise (a bug)."""
    if isinstance(error, ClientError):
        return refused(error, request, place)
    if isinstance(error, _LOST):
        why = " ".join(str(error).split()) or type(error).__name__
        return Ec2Lost(request.action, f"{place.url}: {why[:LENGTH_MAX]}{_tries(request)}")
    if request.unsure and not request.read:
        return Ec2Lost(request.action, f"{place.url}: an answer was lost, then: {_first_line(error)}")
    if isinstance(error, GaveUp):
        return unsent(request, place)
    if isinstance(error, ConnectionError):
        remedy = "check the endpoint, the route to it and its security group; trying again by itself"
        return Ec2Error(request.action, "", f"{place.url}: cannot be reached ({_first_line(error)}); {remedy}")
    if isinstance(error, _CREDENTIALS):
        remedy = "give the instance a role (or the pod one), or set AWS_PROFILE or AWS_ACCESS_KEY_ID"
        return Ec2Error(request.action, "", f"no AWS credentials ({_first_line(error)}); {remedy}")
    if isinstance(error, BotoCoreError):
        return Ec2Error(request.action, "", f"{place.url}: {_first_line(error)}")
    return None


def refused(error: ClientError, request: Request, place: Place) -> Ec2Error | Ec2Lost:
    """EC2's own refusal."""
    said = error.response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    inside = status >= 500 and code not in NO_EFFECT
    if not request.read and (request.unsure or inside):
        return Ec2Lost(request.action, f"{place.url}: HTTP {status} {code}: {_short(message)}")
    return refusal(request, place, code, message)


def refusal(request: Request, place: Place, code: str, message: str) -> Ec2Error:
    """A refusal with its remedy, where one is known."""
    text = _short(message)
    remedy = _remedy(request, place, code)
    return Ec2Error(request.action, code, f"{text.rstrip('.')}; {remedy}" if remedy else text)


def unsent(request: Request, place: Place) -> Ec2Error:
    """Its time was over while it waited for its turn, or between two tries that had no effect."""
    if request.refused is not None:
        return refusal(request, place, *request.refused)
    return Ec2Error(request.action, "", f"{place.url}: not sent in time{_tries(request)}; trying again by itself")


def _remedy(request: Request, place: Place, code: str) -> str:
    """What whoever reads the message can do."""
    if code in EXPIRED:
        return "the credentials have expired or the clock is wrong: renew them; asked again with the new ones"
    if code in REJECTED:
        return f"check the credentials, and that the account may use region {place.region}"
    if code in DENIED:
        return f"allow ec2:{request.action}: `ipamd ec2 preflight` prints the least policy"
    if code in CLOSED:
        return f"the account may not use EC2 in region {place.region}: opt in, or use another"
    if code in NOT_HERE:
        return f"asked in region {place.region}: check the region and the account of the credentials"
    if code in THROTTLED:
        return f"the account is throttled in {place.region}{_tries(request)}: slowing down and trying again by itself"
    return ""


def _tries(request: Request) -> str:
    return f" (tried {request.tries} times)" if request.tries > 1 else ""


def _first_line(error: BaseException) -> str:
    return _short(str(error).strip().split("\n")[0])


def _short(text: str) -> str:
    text = " ".join(text.split())
    blob = text.find("Encoded authorization failure message")
    text = text[:blob].rstrip(" .") if blob > 0 else text
    return text if len(text) <= LENGTH_MAX else f"{text[:LENGTH_MAX]}..."
