"""`make mutants`: the rules of the core, changed one operator, constant or call at a time; its tests must notice.

    python -m tests.mutants            all modules of [tool.mutmut] in pyproject.toml
    python -m tests.mutants assign     one of them

Prints the share that was noticed by module and the changes that nobody noticed. Exit code 1 below the wanted share.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

WANTED: Final = 0.85
CHILDREN: Final = "2"
_RESULT: Final = re.compile(r"ipamd\.core\.(\w+)\.x\S*: ([a-z ]+)")
_NOTICED: Final = ("killed", "timeout", "segfault", "caught by type check")


def main(modules: list[str]) -> int:
    """Run mutmut over the modules, all by default."""
    names = [f"ipamd.core.{module}.*" for module in modules]
    tool = str(Path(sys.executable).with_name("mutmut"))
    ran = subprocess.run([tool, "run", "--max-children", CHILDREN, *names], check=False)
    if ran.returncode:
        return ran.returncode
    listed = subprocess.run([tool, "results", "--all", "true"], check=True, capture_output=True, text=True).stdout
    return report(listed, modules)


def report(listed: str, modules: list[str]) -> int:
    """Shares and survivors out of `mutmut results --all true`; 1 where too many survived or nothing was tried."""
    noticed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    survivors = []
    for line in listed.splitlines():
        found = _RESULT.match(line.strip())
        if found is None or (modules and found[1] not in modules) or found[2] == "not checked":
            continue
        tried[found[1]] += 1
        if found[2] in _NOTICED:
            noticed[found[1]] += 1
        else:
            survivors.append(line.strip())
    print()
    for module, count in sorted(tried.items()):
        print(f"{module:16} {noticed[module]:4} of {count:4} noticed, {noticed[module] / count:.1%}")
    print("\nNot noticed (`mutmut show NAME` shows the change):", *survivors, sep="\n  ")
    enough = bool(tried) and all(noticed[module] >= WANTED * count for module, count in tried.items())
    print(f"\nwanted: {WANTED:.0%} of each module; {'met' if enough else 'not met'}")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
