"""What can go wrong, once: the CNI error codes, the fixed first words of each stage, the JSON on stdout.

A failure inside the body of ADD or DEL always has code 999, so the first words of its message are all that a
reader of kubelet's log has to tell one stage from another. They are upstream's; what follows them is ours.
"""

from __future__ import annotations

INCOMPATIBLE_VERSION = 1  # also: the configuration's cniVersion does not know the verb
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5  # stdin cannot be read
DECODING_FAILURE = 6  # stdin is not the JSON it should be
INVALID_CONFIG = 7
INVALID_NETNS = 8  # the plugin runs in the pod's own network namespace
UNAVAILABLE = 50  # STATUS: an ADD would not succeed
INTERNAL = 999  # everything that the body of ADD or DEL reports

# Loading the configuration. The loader itself uses the ADD wording, so on DEL both stand in the message.
ADD_CONFIG = "add cmd: error loading config from args"
DEL_CONFIG = "del cmd: error loading config from args"
LOADER = ADD_CONFIG
PREV_RESULT = "could not parse prevResult"
VETH_PREFIX = "conf.VethPrefix can be at most 4 characters long"
# CNI_ARGS: "arg" on ADD, "args" on DEL.
ADD_ARGS = "add cmd: failed to load k8s config from arg"
DEL_ARGS = "del cmd: failed to load k8s config from args"
# ipamd. The dial is lazy, so its failure shows as the RPC's and the first of these is never seen.
ADD_DIAL = "add cmd: failed to connect to backend server"
ADD_RPC = "add cmd: Error received from AddNetwork gRPC call"
ADD_NO_ADDRESS = "add cmd: failed to assign an IP address to container"
DEL_REFUSED = "del cmd: failed to process delete request"
# The host. Note "command": this one stage is spelt out upstream.
ADD_HOST = "add command: failed to setup network"
DEL_HOST = "del cmd: failed on tear down pod network"
DEL_PREV_RESULT = "del cmd: failed to delete with prevResult"
# Ours: upstream has nothing behind these verbs.
CHECK = "check cmd: pod network is not as ADD made it"
GC = "gc cmd: failed to collect"
# The network policy agent.
ADD_POLICY = "add cmd: failed to setup network policy"
DEL_POLICY_DIAL = "del cmd: failed to connect to network policy agent"


class CniError(Exception):
    """What the runtime is told: `code`, one line `msg`, and `details` ("" leaves the key out)."""

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.details = details

    def to_json(self) -> str:
        """The error object of the CNI protocol: four blanks of indent, no `cniVersion`, no final newline."""
        import json

        fields: dict[str, object] = {"code": self.code, "msg": self.msg}
        if self.details:
            fields["details"] = self.details
        return json.dumps(fields, indent=4)


def failed(stage: str, cause: object = "", details: str = "") -> CniError:
    """The body's error for `stage` (one of the fixed first words above) and what caused it."""
    text = str(cause)
    return CniError(INTERNAL, f"{stage}: {text}" if text else stage, details)


def unexpected(error: BaseException) -> CniError:
    """A bug or an interruption, as JSON too: its class and the place, never a traceback nor its values."""
    place = "unknown place"
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return CniError(
        INTERNAL,
        f"aws-cni: unexpected {type(error).__name__} at {place}; please report it with the plugin's log",
    )
