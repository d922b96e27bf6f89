"""Environment variables and `--set` -> `Settings` and `Options`; every complaint names the variable.

    config = load(os.environ, ["WARM_IP_TARGET=5"])       ConfigError where it cannot go on
    config.warnings                                       what was not taken as it stands
    config.settings(prefix_delegation_supported=True)     INIT-13 against the instance
    config.options                                        doors, logs, host networking
    verdicts(config, instance)                            does the pool starve or flap; what has no effect

The defaults are upstream's code defaults with two values of its stock manifest, ENABLE_IPv4=true and
WARM_PREFIX_TARGET=1; `UPSTREAM_PARITY=strict` takes both back and brings every quirk back.
"""

from .case import Instance, Verdict
from .errors import ConfigError, ConfigWarning, WrongSet
from .load import Config, Source, load
from .options import Options
from .shown import ipamd_env, network_env
from .validate import Checked, validate
from .variables import DEFAULT_METRICS, DEFAULT_SOCKET, VARIABLES, Variable
from .verdicts import verdicts

__all__ = [
    "DEFAULT_METRICS",
    "DEFAULT_SOCKET",
    "VARIABLES",
    "Checked",
    "Config",
    "ConfigError",
    "ConfigWarning",
    "Instance",
    "Options",
    "Source",
    "Variable",
    "Verdict",
    "WrongSet",
    "ipamd_env",
    "load",
    "network_env",
    "validate",
    "verdicts",
]
