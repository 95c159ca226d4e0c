"""The rules of the alarms; the time is a parameter."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.clock import to_micros
from receiver.domain.alarms import LEARNING_WINDOW, AlarmFacts, AlarmKey, AlarmThresholds, Disk, find_alarms, learn_gap
from receiver.domain.traffic import (
    HOUR,
    MINUTE,
    DeliveryResult,
    Streak,
    Traffic,
    find_quarantined_streak,
    find_refused_streak,
)
from tests.harness.table import each_row

NOON = to_micros(datetime(2026, 11, 20, 12, tzinfo=UTC))  # a Friday
GIB = 2**30


def rules(**given: Any) -> AlarmThresholds:
    """Return rules for the given alarms only."""
    off: dict[str, Any] = {
        "silence_hours": {},
        "refused": 0,
        "quarantined": 0,
        "stale_percent": 0,
        "disk_percent": 0,
        "token_days": 0,
        "target_minutes": 0,
    }
    return AlarmThresholds(**(off | given))


def names(
    traffic: Traffic, wanted: AlarmThresholds, on: set[AlarmKey] | None = None, started_at: int = 0, disk: Disk | None = None
) -> list[str]:
    """Return the alarms of ship24 by name."""
    return [alarm.name for alarm in find_alarms(AlarmFacts(started_at, {"ship24": traffic}, disk), wanted, NOON, on or set())]


def on(name: str, subject: str = "ship24") -> set[AlarmKey]:
    return {AlarmKey(name, subject)}


def make_traffic(**given: Any) -> Traffic:
    return Traffic(**given)


def hours_ago(hours: float) -> int:
    return NOON - round(hours * HOUR)


WATCHED = rules(silence_hours={"ship24": 24})
LEARNED = rules(silence_hours={"ship24": None})


@each_row(
    ("quiet_hours", "is_on", "silent"),
    [
        pytest.param(24, False, False, id="as long as set"),
        pytest.param(24.01, False, True, id="longer"),
        pytest.param(1000, False, True, id="much longer"),
        pytest.param(20, True, True, id="on, and no call since"),
        pytest.param(12, True, True, id="on, half of it"),
        pytest.param(11.9, True, False, id="on, and a call came"),
        pytest.param(-3, False, False, id="the clock went back"),
    ],
)
def test_a_source_is_silent_after_the_set_time(quiet_hours: float, is_on: bool, silent: bool) -> None:
    found = names(Traffic(last_delivery_at=hours_ago(quiet_hours)), WATCHED, on("silence") if is_on else None)
    assert found == (["silence"] if silent else [])


@each_row(
    ("quiet_hours", "gap_hours", "is_on", "silent"),
    [
        pytest.param(1000, None, False, False, id="nothing is learned yet"),
        pytest.param(2, 1, False, False, id="twice its longest pause"),
        pytest.param(2.1, 1, False, True, id="longer than that"),
        pytest.param(61, 61, False, False, id="a weekend, as ever"),
        pytest.param(123, 61, False, True, id="two weekends in one"),
        pytest.param(400, None, True, True, id="on, and what was learned is forgotten"),
        pytest.param(0.2, None, True, False, id="on, forgotten, and a call came"),
    ],
)
def test_without_a_set_time_it_is_silent_after_twice_its_longest_pause(
    quiet_hours: float, gap_hours: int | None, is_on: bool, silent: bool
) -> None:
    traffic = Traffic(hours_ago(quiet_hours), None if gap_hours is None else gap_hours * HOUR)
    assert names(traffic, LEARNED, on("silence") if is_on else None) == (["silence"] if silent else [])


def test_zero_hours_and_a_source_without_a_token_are_never_silent() -> None:
    forgotten = Traffic(last_delivery_at=hours_ago(9999), longest_gap=HOUR)
    assert names(forgotten, rules(silence_hours={"ship24": 0}), on("silence")) == []
    assert names(forgotten, rules(silence_hours={"shiipp": 1}), on("silence")) == []


@each_row(
    ("started_hours_ago", "hours", "is_on", "silent"),
    [
        pytest.param(24.1, 24, False, True, id="it never called since the start"),
        pytest.param(23, 24, False, False, id="the start is not long ago"),
        pytest.param(0.1, 24, True, True, id="known to be silent before a restart"),
        pytest.param(9999, None, False, False, id="there is nothing to learn from"),
    ],
)
def test_a_source_that_never_called_counts_from_the_start(
    started_hours_ago: float, hours: float | None, is_on: bool, silent: bool
) -> None:
    wanted = rules(silence_hours={"ship24": hours})
    found = names(Traffic(), wanted, on("silence") if is_on else None, hours_ago(started_hours_ago))
    assert found == (["silence"] if silent else [])


@each_row(
    ("up_minutes", "hours", "silent"),
    [
        pytest.param(59, 24, False, id="nobody could call while it was down"),
        pytest.param(60, 24, True, id="an hour was time enough"),
        pytest.param(29, 0.5, False, id="a short time"),
        pytest.param(30, 0.5, True, id="a short time is over"),
    ],
)
def test_in_the_first_hour_after_a_start_no_source_becomes_silent(up_minutes: int, hours: float, silent: bool) -> None:
    wanted = rules(silence_hours={"ship24": hours})
    found = names(Traffic(last_delivery_at=hours_ago(100)), wanted, started_at=NOON - up_minutes * MINUTE)
    assert found == (["silence"] if silent else [])


def hours_of(*weeks: int, days: range = range(5), opening: range = range(9, 18)) -> list[int]:
    """Return the hours of deliveries of a source with office hours, weeks before the Monday of NOON's week."""
    monday = datetime(2026, 11, 16, tzinfo=UTC)
    at = [monday + timedelta(weeks=-week, days=day, hours=hour) for week in weeks for day in days for hour in opening]
    return [to_micros(moment) for moment in at if to_micros(moment) < NOON]


@each_row(
    ("hours", "gap_hours"),
    [
        pytest.param([], None, id="no call ever"),
        pytest.param([hours_ago(1), hours_ago(2)], None, id="a day"),
        pytest.param(hours_of(0), None, id="a week that is not over: its weekend is not known"),
        pytest.param([hours_ago(n) for n in range(1, 8 * 24)], None, id="every hour, for not quite a week and a day"),
        pytest.param([hours_ago(n) for n in range(1, 8 * 24 + 1)], 1, id="every hour"),
        pytest.param([hours_ago(8 * 24)], 1, id="one hour, a week and a day ago"),
        pytest.param([hours_ago(n) for n in [1, 5, 6, 200]], 194, id="a long pause"),
        pytest.param([hours_ago(n) for n in [200, 6, 1, 5, 6]], 194, id="in any order, twice"),
        pytest.param(hours_of(0, 1), 64, id="office hours: the weekend"),
        pytest.param(hours_of(0, 1, days=range(7)), 16, id="office hours, every day: the night"),
    ],
)
def test_the_longest_pause_is_learned_once_a_week_is_known(hours: list[int], gap_hours: int | None) -> None:
    assert learn_gap(hours, NOON) == (None if gap_hours is None else gap_hours * HOUR)


@each_row("first_day", range(5), ids=["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"])
def test_a_source_that_keeps_office_hours_is_never_silent_from_its_first_day_on(first_day: int) -> None:
    calls = [hour for hour in hours_of(6, 5, 4, 3, 2, 1) if hour >= hours_of(6)[9 * first_day]]
    for now in range(calls[0] + HOUR, calls[-1], HOUR):
        known = [at for at in calls if now - LEARNING_WINDOW <= at < now]
        facts = AlarmFacts(0, {"ship24": Traffic(known[-1], learn_gap(known, now))})
        assert find_alarms(facts, LEARNED, now, set()) == []


@each_row(
    ("name", "traffic", "wanted"),
    [
        ("refused", "refused", "refused"),
        ("quarantine", "quarantined", "quarantined"),
    ],
)
@each_row(
    ("number", "is_on", "expected"),
    [
        *[(0, False, False), (9, False, False), (10, False, True), (9999, False, True)],
        *[(9, True, True), (5, True, True), (4, True, False), (0, True, False)],
    ],
)
def test_a_count_alarm_begins_at_its_limit_and_ends_below_half(
    name: str, traffic: str, wanted: str, number: int, is_on: bool, expected: bool
) -> None:
    found = names(make_traffic(**{traffic: number}), rules(**{wanted: 10}), on(name) if is_on else None)
    assert found == ([name] if expected else [])


@each_row("limit", [1, 2])
def test_a_small_limit_still_ends(limit: int) -> None:
    assert names(Traffic(refused=0), rules(refused=limit), on("refused")) == []
    assert names(Traffic(refused=1), rules(refused=limit), on("refused")) == ["refused"]


@each_row(
    ("stale", "applied", "is_on", "expected"),
    [
        pytest.param(50, 50, False, True, id="half of a hundred"),
        pytest.param(49, 51, False, False, id="less"),
        pytest.param(99, 0, False, False, id="all of too few"),
        pytest.param(0, 0, False, False, id="nothing came"),
        pytest.param(0, 0, True, False, id="on, nothing came"),
        pytest.param(25, 75, True, True, id="on, half of the limit"),
        pytest.param(24, 76, True, False, id="on, less than that"),
        pytest.param(50, 0, True, True, id="on, half of the number"),
        pytest.param(49, 0, True, False, id="on, fewer than that"),
    ],
)
def test_a_share_of_stale_messages_counts_from_a_hundred_on(stale: int, applied: int, is_on: bool, expected: bool) -> None:
    found = names(Traffic(stale=stale, applied=applied), rules(stale_percent=50), on("stale") if is_on else None)
    assert found == (["stale"] if expected else [])


@each_row(
    ("stale", "applied", "busiest_hour", "is_on", "expected"),
    [
        pytest.param(5, 5, 3, False, True, id="half of ten"),
        pytest.param(4, 6, 3, False, False, id="less"),
        pytest.param(9, 0, 3, False, False, id="all of too few"),
        pytest.param(5, 15, 3, True, True, id="on, half of the limit"),
        pytest.param(4, 0, 3, True, False, id="on, too few are left of the day"),
        pytest.param(500, 0, 100, False, False, id="a large source is judged by its hour"),
    ],
)
def test_a_source_with_few_messages_is_judged_by_its_stale_ones_of_a_day(
    stale: int, applied: int, busiest_hour: int, is_on: bool, expected: bool
) -> None:
    traffic = Traffic(stale_daily=stale, applied_daily=applied, busiest_hour=busiest_hour)
    found = names(traffic, rules(stale_percent=50), on("stale") if is_on else None)
    assert found == (["stale"] if expected else [])


SHARES = rules(refused=100, refused_percent=20, quarantined=100, quarantined_percent=20)


@each_row(
    ("name", "field", "total"), [("refused", "refused_hourly", "deliveries_hourly"), ("quarantine", "quarantined", "messages")]
)
@each_row(
    ("number", "of", "is_on", "expected"),
    [
        pytest.param(3, 15, False, True, id="three, and a fifth"),
        pytest.param(3, 16, False, False, id="three, less than a fifth"),
        pytest.param(2, 2, False, False, id="all of two"),
        pytest.param(2, 20, True, True, id="on, half of both"),
        pytest.param(2, 21, True, False, id="on, less than half of the share"),
        pytest.param(1, 1, True, False, id="on, one is left"),
        pytest.param(0, 0, True, False, id="on, nothing came"),
    ],
)
def test_three_in_an_hour_are_an_alarm_if_they_are_a_fifth(
    name: str, field: str, total: str, number: int, of: int, is_on: bool, expected: bool
) -> None:
    found = names(make_traffic(**{field: number, total: of}), SHARES, on(name) if is_on else None)
    assert found == ([name] if expected else [])


@each_row(("name", "field"), [("refused", "refused_streak"), ("quarantine", "quarantined_streak")])
@each_row(
    ("number", "good_minutes_ago", "is_on", "expected"),
    [
        pytest.param(3, None, False, True, id="nothing ever got in"),
        pytest.param(3, 5, False, True, id="nothing for a while"),
        pytest.param(3, 4.9, False, False, id="a busy source: one got in just now"),
        pytest.param(2, None, False, False, id="only two"),
        pytest.param(3, 0, True, True, id="on"),
        pytest.param(0, 0, True, False, id="on, and one got in"),
    ],
)
def test_three_in_a_row_are_an_alarm_however_few_come(
    name: str, field: str, number: int, good_minutes_ago: float | None, is_on: bool, expected: bool
) -> None:
    good_at = None if good_minutes_ago is None else NOON - round(good_minutes_ago * MINUTE)
    traffic = make_traffic(**{field: Streak(number, hours_ago(20), good_at)})
    assert names(traffic, SHARES, on(name) if is_on else None) == ([name] if expected else [])
    assert names(traffic, rules(refused=100, quarantined=100)) == [], "a share of 0 leaves only the number"
    assert names(traffic, rules(refused_percent=20, quarantined_percent=20)) == [], "a number of 0 is off"


GOOD, REJECTED = ("accepted", None, 1, 0), ("refused", "unauthorized", 0, 0)
ELSEWHERE, NOT_FOUND = ("refused", "address_not_allowed", 0, 0), ("refused", "not_found", 0, 0)
SET_ASIDE, EMPTY = ("accepted", None, 2, 2), ("accepted", None, 0, 0)


@each_row(
    ("results", "rejected", "quarantined"),
    [
        pytest.param([], Streak(), Streak(), id="nothing"),
        pytest.param([GOOD, REJECTED], Streak(0, 0, 9), Streak(0, 0, 9), id="the newest one got in"),
        pytest.param([REJECTED, ELSEWHERE, GOOD, REJECTED], Streak(2, 8, 7), Streak(0, 0, 7), id="the newest two did not"),
        pytest.param([REJECTED, REJECTED], Streak(2, 8), Streak(), id="none ever did"),
        pytest.param([NOT_FOUND, REJECTED, NOT_FOUND], Streak(1, 8), Streak(), id="a wrong path says nothing"),
        pytest.param([SET_ASIDE, EMPTY, REJECTED, SET_ASIDE, GOOD], Streak(0, 0, 9), Streak(4, 6, 5), id="four messages"),
        pytest.param([("accepted", None, 2, 1)], Streak(0, 0, 9), Streak(0, 0, 9), id="one of two is in order"),
        pytest.param([("unreadable", "invalid_json", 0, 0)], Streak(0, 0, 9), Streak(), id="an invalid body got in"),
    ],
)
def test_a_streak_ends_at_the_newest_delivery_that_is_good(
    results: list[tuple[Any, ...]], rejected: Streak, quarantined: Streak
) -> None:
    newest_first = [DeliveryResult(9 - place, *result) for place, result in enumerate(results)]
    assert (find_refused_streak(newest_first), find_quarantined_streak(newest_first)) == (rejected, quarantined)


STREAK = Streak(3, hours_ago(20))


@each_row(
    ("traffic", "message"),
    [
        (
            Traffic(refused_streak=STREAK),
            "The last 3 deliveries for Ship24 were all rejected (401/403), since 2026-11-19T16:00Z.",
        ),
        (Traffic(quarantined_streak=STREAK), "The last 3 messages of Ship24 were all quarantined, since 2026-11-19T16:00Z."),
        (
            Traffic(refused_hourly=3, deliveries_hourly=9),
            "3 of 9 deliveries for Ship24 were rejected in the last hour (401/403, limit 20 %).",
        ),
        (Traffic(quarantined=3, messages=9), "3 of 9 messages of Ship24 quarantined in the last hour (limit 20 %)."),
        (
            Traffic(stale_daily=6, applied_daily=4),
            "60 % of 10 messages of Ship24 arrived out of date in the last 24 hours (limit 50 %).",
        ),
    ],
)
def test_the_alarms_of_a_small_source_say_which_figures_they_are_about(traffic: Traffic, message: str) -> None:
    wanted = rules(refused=100, refused_percent=20, quarantined=100, quarantined_percent=20, stale_percent=50)
    (alarm,) = find_alarms(AlarmFacts(0, {"ship24": traffic}), wanted, NOON, set())
    assert alarm.message.startswith(message)


def test_an_active_alarm_names_the_limit_that_is_reached() -> None:
    """And not the other one, of which half keeps it active."""
    wanted = rules(quarantined=10, quarantined_percent=20)
    active = {AlarmKey("quarantine", "ship24")}
    (alarm,) = find_alarms(AlarmFacts(0, {"ship24": Traffic(quarantined=6, messages=12)}), wanted, NOON, active)
    assert alarm.message.startswith("6 of 12 messages of Ship24 quarantined in the last hour (limit 20 %).")
    (alarm,) = find_alarms(AlarmFacts(0, {"ship24": Traffic(quarantined=6, messages=600)}), wanted, NOON, active)
    assert alarm.message.startswith("6 messages of Ship24 quarantined in the last hour (limit 10).")


@each_row(("hours", "limit"), [(1, "1 hour"), (1.5, "1.5 hours"), (26, "26 hours")])
def test_a_limit_of_hours_has_its_grammar(hours: float, limit: str) -> None:
    wanted = AlarmThresholds({"ship24": hours}, 0, 0, 0, 0, 0)
    (alarm,) = find_alarms(AlarmFacts(0, {"ship24": Traffic(hours_ago(30))}), wanted, NOON, set())
    assert f"(limit {limit})" in alarm.message


@each_row(
    ("free", "limit", "is_on", "expected"),
    [
        pytest.param(10, 10, False, False, id="just enough"),
        pytest.param(9.9, 10, False, True, id="less"),
        pytest.param(0, 10, False, True, id="full"),
        pytest.param(14.9, 10, True, True, id="on, not yet half as much again"),
        pytest.param(15, 10, True, False, id="on, half as much again"),
        pytest.param(95.1, 90, True, False, id="on, a limit that has no half as much again"),
        pytest.param(94.9, 90, True, True, id="on, the same, not yet"),
        pytest.param(0, 0, True, False, id="off"),
    ],
)
def test_a_disk_alarm_is_about_the_free_share(free: float, limit: float, is_on: bool, expected: bool) -> None:
    disk = Disk(round(free * GIB), 100 * GIB)
    found = names(Traffic(), rules(disk_percent=limit), on("disk", "database") if is_on else None, disk=disk)
    assert found == (["disk"] if expected else [])


def test_the_disk_of_a_server_is_the_servers() -> None:
    assert names(Traffic(), rules(disk_percent=99), on("disk", "database"), disk=None) == []


@each_row(
    ("ends", "days", "expected"),
    [
        pytest.param(date(2026, 12, 5), 14, False, id="in fifteen days"),
        pytest.param(date(2026, 12, 4), 14, True, id="in fourteen days"),
        pytest.param(date(2026, 11, 20), 14, True, id="today"),
        pytest.param(date(2020, 1, 1), 14, True, id="long ago"),
        pytest.param(date(2026, 11, 21), 0, False, id="tomorrow, said on the day"),
        pytest.param(date(2026, 11, 20), 0, True, id="today, said on the day"),
        pytest.param(date.max, 36500, False, id="never"),
    ],
)
def test_a_token_near_its_last_day_is_said(ends: date, days: int, expected: bool) -> None:
    found = find_alarms(AlarmFacts(0, {}), rules(token_days=days, token_ends=(("ship24:old", ends),)), NOON, set())
    assert [alarm.key for alarm in found] == ([AlarmKey("token", "ship24:old")] if expected else [])


def test_everything_off_says_nothing_whatever_happens() -> None:
    worst = Traffic(0, HOUR, 10**9, 10**9, 0, 10**9)
    every = {AlarmKey(name, "ship24") for name in ("silence", "refused", "quarantine", "stale")} | on("disk", "database")
    assert names(worst, rules(), every, disk=Disk(0, 0)) == []


def test_each_alarm_is_a_sentence_with_the_figures_and_what_to_look_at() -> None:
    traffic = Traffic(hours_ago(30), None, 1312, 12, 29, 71)
    wanted = AlarmThresholds({"ship24": 26}, 100, 10, 50, 10, 14, (("ship24:old", date(2026, 11, 30)),))
    found = find_alarms(AlarmFacts(0, {"ship24": traffic}, Disk(4 * GIB, 100 * GIB)), wanted, NOON, set())
    assert {alarm.name: alarm.message for alarm in found} == {
        "silence": "No accepted delivery from Ship24 since 2026-11-19T06:00Z (limit 26 hours). "
        "Check the webhook URL in Ship24 and the rejected deliveries.",
        "refused": "1,312 rejected deliveries for Ship24 in 5 minutes (401/403, limit 100). "
        "Check the tokens and client addresses of the rejected deliveries.",
        "quarantine": "12 messages of Ship24 quarantined in the last hour (limit 10). Open the quarantine to see why.",
        "stale": "71 % of 100 messages of Ship24 arrived out of date in the last hour (limit 50 %). "
        "Check whether Ship24 sends messages late or repeats them.",
        "disk": "4.0 % of the database disk is free (4.0 of 100.0 GiB, limit 10 %). "
        "Free disk space now; requests will fail with 503 when it is full.",
        "token": "Token old of Ship24 ends on 2026-11-30. Add a new token, switch the sender, then remove this one.",
    }


def test_a_learned_silence_says_where_its_time_is_from() -> None:
    (alarm,) = find_alarms(AlarmFacts(0, {"ship24": Traffic(hours_ago(30), 13 * HOUR)}), LEARNED, NOON, set())
    assert "(limit 26 hours, twice its longest pause of the last 14 days). Check" in alarm.message


def test_a_source_that_never_called_is_said_to_be_silent_since_the_start() -> None:
    (alarm,) = find_alarms(AlarmFacts(hours_ago(30), {"ship24": Traffic()}), WATCHED, NOON, set())
    assert alarm.message.startswith("No accepted delivery from Ship24 since the start of the service (limit 24 hours). Check")


def test_sources_are_judged_apart() -> None:
    facts = AlarmFacts(0, {"ship24": Traffic(refused=10), "shiipp": Traffic(refused=9)})
    assert [alarm.subject for alarm in find_alarms(facts, rules(refused=10), NOON, set())] == ["ship24"]
    assert [alarm.subject for alarm in find_alarms(facts, rules(refused=10), NOON, on("refused", "shiipp"))] == [
        "shiipp",
        "ship24",
    ]


@each_row(
    ("failed", "is_on", "expected"),
    [
        pytest.param(True, False, True, id="the last notice failed"),
        pytest.param(None, False, False, id="nothing is known"),
        pytest.param(None, True, True, id="on, and nothing new is known"),
        pytest.param(False, True, False, id="on, and one was sent"),
    ],
)
def test_a_channel_that_fails_is_an_alarm_until_a_notice_is_sent(failed: bool | None, is_on: bool, expected: bool) -> None:
    facts = AlarmFacts(0, {}, channels={"url": failed, "mail": None})
    found = find_alarms(facts, rules(), NOON, on("notices", "url") if is_on else set())
    assert [alarm.key for alarm in found] == ([AlarmKey("notices", "url")] if expected else [])


COUNTS = st.integers(0, 300)
STREAKS = st.builds(Streak, st.integers(0, 5), st.just(0), st.none() | st.integers(NOON - 10 * MINUTE, NOON))
TRAFFIC = st.builds(
    Traffic,
    st.none() | st.integers(0, NOON),
    st.none() | st.integers(1, 100).map(HOUR.__mul__),
    *[COUNTS] * 11,
    STREAKS,
    STREAKS,
)
DISK = st.none() | st.builds(Disk, st.integers(0, 100), st.integers(100, 200))


@given(
    TRAFFIC, DISK, st.integers(0, NOON), st.none() | st.integers(0, 100), COUNTS, COUNTS, st.integers(0, 99), st.integers(0, 99)
)
def test_what_begins_does_not_end_while_nothing_changes(
    traffic: Traffic, disk: Disk | None, started_at: int, hours: int | None, refused: int, quarantined: int, stale: int, free: int
) -> None:
    wanted = AlarmThresholds({"ship24": hours}, refused, quarantined, stale, free, 0, (), 0, 20, 20)
    facts = AlarmFacts(started_at, {"ship24": traffic}, disk)
    begun = {alarm.key for alarm in find_alarms(facts, wanted, NOON, set())}
    assert {alarm.key for alarm in find_alarms(facts, wanted, NOON, begun)} == begun


@each_row(
    ("minutes", "limit", "is_on", "begun"),
    [
        pytest.param(59.9, 60, False, False, id="not for long"),
        pytest.param(60, 60, False, True, id="long enough"),
        pytest.param(30, 60, True, True, id="on, and half of it"),
        pytest.param(29.9, 60, True, False, id="on, and the backlog is nearly gone"),
        pytest.param(9999, 0, True, False, id="switched off"),
        pytest.param(-5, 60, False, False, id="the clock went back"),
    ],
)
def test_a_target_whose_oldest_change_waits_for_too_long_is_an_alarm(
    minutes: float, limit: float, is_on: bool, begun: bool
) -> None:
    facts = AlarmFacts(0, {}, None, {"shop": NOON - round(minutes * MINUTE)})
    found = find_alarms(facts, rules(target_minutes=limit), NOON, on("target", "shop") if is_on else set())
    assert [alarm.key for alarm in found] == ([AlarmKey("target", "shop")] if begun else [])


def test_the_alarm_of_a_target_says_since_when_and_where_to_look() -> None:
    facts = AlarmFacts(0, {}, None, {"shop": NOON - 2 * HOUR})
    (alarm,) = find_alarms(facts, rules(target_minutes=60), NOON, set())
    waits = "Changes for shop have been waiting since 2026-11-20T10:00Z (limit 60 minutes)"
    assert alarm.message == f"{waits}. Run `receiver targets list` to see the last error."
