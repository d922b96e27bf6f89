"""How many branch interfaces an instance type carries (WIN-136), as data; more rows come from a file.

The published table has over a thousand rows; here stand those that the specification we follow pins. A file is JSON,
`{"m6i.large": 9}`, and beats the table; EKS documents the figures for each type.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

BRANCHES: Final[Mapping[str, int]] = {"c5.large": 9, "m5.xlarge": 18, "m5.4xlarge": 54, "c5.18xlarge": 107}
LIMIT_MAX: Final = 120
"""The largest in the published table; VLAN ids end there too."""


class BranchLimitsError(ValueError):
    """The file cannot be used: which, what is wrong, what is wanted."""


def read(path: Path) -> dict[str, int]:
    """The table with a file's rows. Raises BranchLimitsError."""
    want = 'want JSON such as {"m6i.large": 9}'
    try:
        rows = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except OSError as error:
        raise BranchLimitsError(f"{path}: {error.strerror or error}; {want}") from None
    except msgspec.MsgspecError as error:
        raise BranchLimitsError(f"{path}: {error}; {want}") from None
    for name, limit in rows.items():
        if not 0 <= limit <= LIMIT_MAX:
            raise BranchLimitsError(f"{path}: {name[:80]}: {limit}: want 0 to {LIMIT_MAX} branch interfaces")
    return {**BRANCHES, **rows}
