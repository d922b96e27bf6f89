"""Other people's incidents: support bundles, logs and dumps of any ipamd, read into records that fold.

found = imports.listen(inputs, heard, bounds)   # files and bundles, once, in any order: facts and lines
for record in imports.records(found, heard): ... # lines in order of time, what they mean for the pool
found.report                                    # coverage, what is assumed, contradictions
"""

from .archive import Bounds, Refused
from .gather import Gathered, listen
from .rebuild import records
from .report import Report

__all__ = ["Bounds", "Gathered", "Refused", "Report", "listen", "records"]
