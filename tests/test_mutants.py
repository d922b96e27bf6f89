"""How `make mutants` counts."""

from __future__ import annotations

import pytest

from .mutants import report

RESULTS = """
    ipamd.core.assign.x_add__mutmut_1: killed
    ipamd.core.assign.x_add__mutmut_2: timeout
    ipamd.core.assign.xǁTargetǁof__mutmut_1: killed
    ipamd.core.observe.x_condense__mutmut_1: killed
    ipamd.core.observe.x_condense__mutmut_2: {second}
    ipamd.core.pool_linux.x_stats__mutmut_1: not checked
"""


@pytest.mark.parametrize(("second", "code"), [("killed", 0), ("survived", 1), ("no tests", 1), ("suspicious", 1)])
def test_each_module_must_have_its_share(capsys: pytest.CaptureFixture[str], second: str, code: int) -> None:
    """What no test saw counts as not noticed, and stands in the list; what was not tried does not count."""
    assert report(RESULTS.format(second=second), []) == code

    said = capsys.readouterr().out
    assert "assign              3 of    3 noticed, 100.0%" in said and "pool_linux" not in said
    assert ("observe.x_condense__mutmut_2" in said) == bool(code)


def test_nothing_tried_is_not_enough() -> None:
    """A run that found no module proves nothing."""
    assert report("", []) == 1
    assert report(RESULTS.format(second="killed"), ["pool_windows"]) == 1
