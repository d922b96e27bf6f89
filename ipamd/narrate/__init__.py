"""Records to log lines, and where log lines go.

narrator = Narrator(recovered_state, version)         words each record as ipamd would
log = open_log(options.log_file, options.log_level)   JSON lines: level, ts, caller, msg
datastore.subscribe(narrator.subscriber(log.write))
"""

from .jsonlog import JsonLog, open_log
from .line import Level, Line
from .narrator import Narrator

__all__ = ["JsonLog", "Level", "Line", "Narrator", "open_log"]
