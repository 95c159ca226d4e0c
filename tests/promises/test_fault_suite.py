"""Every fault of `make faults` for about a second: what was answered 2xx is stored, and once."""

from pathlib import Path

import pytest

from tests.conftest import StartService, lacking
from tests.faults.scenario import SHORT, Lacking
from tests.faults.suite import LONG_SCENARIOS, SCENARIOS
from tests.faults.verification import EVENTS, judge
from tests.harness.storage import delete_rows, update_rows
from tests.harness.traffic import Senders

_MAX_NAME = 34  # the column of the table


@pytest.mark.parametrize("fault", SCENARIOS)
def test_nothing_is_lost_or_doubled_by(fault: str, tmp_path: Path) -> None:
    try:
        result = SCENARIOS[fault](tmp_path, SHORT)
    except Lacking as reason:
        lacking(str(reason))
    assert (result.fault, result.lost, result.doubled) == (fault, 0, 0), result
    assert result.answered > 0
    assert result.recovery_seconds is None or result.recovery_seconds > 0


def test_every_fault_has_a_name_that_fits_the_table() -> None:
    assert [name for name in SCENARIOS | LONG_SCENARIOS if len(name) > _MAX_NAME] == []


def test_the_judgement_sees_what_is_gone_and_what_is_doubled(service: StartService, sqlite_url: str) -> None:
    with Senders(service(sqlite_url), senders=2) as traffic:
        traffic.wait_for_answers(50)
        traffic.stop()
        gone, doubled = list(traffic.kept.values())[:2]
        traffic.effects.update(doubled.names)
        delete_rows(sqlite_url, "messages", message_id=gone.names[0])
        update_rows(sqlite_url, "events", {"move": 1, "tracker_id": "t-1"}, move=7777)
        result = judge(
            "none",
            traffic,
            sqlite_url,
            None,
            without=[*EVENTS, "event without its message", "delivery without all of its messages"],
        )
    assert result.lost == 1
    assert result.doubled == len(doubled.names) + 1
    assert not result.is_good
