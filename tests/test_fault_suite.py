"""Every fault of `make faults`, for a second or so: what was answered 2xx is there, and once."""

from pathlib import Path

import pytest

from tests.conftest import lacking
from tests.faults import postgresql, single
from tests.faults.scenario import SHORT, Lacking

_SCENARIOS = single.SCENARIOS | postgresql.SCENARIOS
_MAX_NAME = 34  # the column of the table


@pytest.mark.parametrize("fault", _SCENARIOS)
def test_nothing_is_lost_or_doubled_by(fault: str, tmp_path: Path) -> None:
    try:
        result = _SCENARIOS[fault](tmp_path, SHORT)
    except Lacking as reason:
        lacking(str(reason))
    assert (result.lost, result.doubled) == (0, 0), result
    assert result.answered > 0
    assert result.recovery_seconds is None or result.recovery_seconds > 0


def test_every_fault_has_a_name_of_its_own_that_fits_the_table() -> None:
    assert len(_SCENARIOS) == len(single.SCENARIOS) + len(postgresql.SCENARIOS)
    assert [name for name in _SCENARIOS if len(name) > _MAX_NAME] == []
