"""A lasting fault is logged once for each cause, and once when it ends."""

from receiver.logs.outage import Outage


def test_a_fault_is_logged_when_it_begins_and_when_it_is_over() -> None:
    outage = Outage()
    assert not outage.end()
    assert [outage.begin("away"), outage.begin("away"), outage.lasts] == [True, False, True]
    assert [outage.end(), outage.end(), outage.lasts] == [True, False, False]
    assert outage.begin("away"), "the next one is another fault"


def test_each_cause_is_logged_once_although_they_take_turns() -> None:
    outage = Outage()
    assert [outage.begin(cause) for cause in ("away", "full", "away", "full")] == [True, True, False, False]


def test_causes_that_are_never_the_same_do_not_fill_the_log() -> None:
    outage = Outage()
    assert sum(outage.begin(f"no answer at port {port}") for port in range(1000)) < 50
