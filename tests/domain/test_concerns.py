"""The concerns of an operator; the time is a parameter."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.clock import iso, to_micros
from receiver.domain.concerns import Rejections, ServiceFacts, SourceTraffic, find_concerns, read_status
from tests.harness.table import each_row

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = to_micros(NOON)


def ago(**given: float) -> int:
    return to_micros(NOON - timedelta(**given))


def judge(facts: ServiceFacts) -> list[tuple[str, str, str]]:
    return [(concern.weight, concern.kind, concern.subject) for concern in find_concerns(facts, NOW)]


def traffic(accepted: int = 0, rejected: int = 0, since: int = 0, code: str = "unauthorized", **given: Any) -> SourceTraffic:
    last = {"last_accepted_at": ago(minutes=5)} if accepted else {}
    parts = [Rejections(code, rejected)] if rejected else []
    return SourceTraffic(accepted + rejected, accepted, parts, since, **(last | given))


def target(**given: Any) -> dict[str, Any]:
    state = {
        "waiting": 3,
        "waiting_capped": False,
        "failing_since": None,
        "last_error": None,
        "stopped_at": None,
        "paused_at": None,
    }
    return state | {"stop_reason": None, "dead": 0, "dead_capped": False} | given


@each_row(
    ("found", "weight"),
    [
        (traffic(100), None),
        (traffic(0, 1), "alarm"),
        (traffic(0, 1, code="address_not_allowed"), "alarm"),
        (traffic(0, 1, last_accepted_at=ago(days=3)), "alarm"),
        (traffic(100, 3, since=3), "alarm"),
        (traffic(100, 3, since=2), "note"),
        (traffic(95, 5), "warning"),
        (traffic(96, 4), "note"),
    ],
)
def test_rejected_deliveries_are_an_alarm_once_nothing_gets_in(found: SourceTraffic, weight: str | None) -> None:
    expected = [] if weight is None else [(weight, "refused", "ship24")]
    assert judge(ServiceFacts({"ship24": found})) == expected


def test_rejected_deliveries_are_shown_with_share_cause_and_advice() -> None:
    parts = [Rejections("unauthorized", 1, "api_key"), Rejections("address_not_allowed", 9, None, "Open a setup window.")]
    found = SourceTraffic(40, 30, parts, 0, last_accepted_at=ago(minutes=1))
    (concern,) = find_concerns(ServiceFacts({"ship24": found}), NOW)
    assert concern.title == "10 deliveries from Ship24 rejected in the last 24 hours (25 % of all)"
    assert concern.text == "IP address not allowed: 9, API key of Ship24: 1. Open a setup window."
    assert set(concern.codes) == {"unauthorized", "address_not_allowed"}


@each_row(
    ("found", "expected"),
    [
        (traffic(1, failed=1), [("alarm", "failed", "ship24")]),
        (traffic(1, unreadable=1), [("warning", "unreadable", "ship24")]),
        (traffic(last_accepted_at=ago(hours=23)), []),
        (traffic(last_accepted_at=ago(hours=24)), [("note", "silence", "ship24")]),
        (traffic(last_accepted_at=ago(hours=72)), [("warning", "silence", "ship24")]),
        (traffic(), [("note", "no_delivery", "")]),
    ],
)
def test_the_traffic_of_a_source_is_judged(found: SourceTraffic, expected: list[tuple[str, str, str]]) -> None:
    assert judge(ServiceFacts({"ship24": found})) == expected


def test_a_source_without_deliveries_is_none_while_another_one_has_some() -> None:
    assert judge(ServiceFacts({"ship24": traffic(3), "shiipp": traffic()})) == []


@each_row(
    ("state", "expected"),
    [
        (target(), []),
        (target(failing_since=iso(ago(minutes=4)), last_error="500"), [("warning", "target", "shop")]),
        (target(failing_since=iso(ago(minutes=5)), last_error="500"), [("alarm", "target", "shop")]),
        (target(stopped_at=iso(ago(days=1)), stop_reason="410"), [("alarm", "target", "shop")]),
        (
            target(paused_at=iso(ago(days=1)), failing_since=iso(ago(days=2)), last_error="500"),
            [("note", "target", "shop")],
        ),
        (target(dead=2), [("warning", "dead", "shop")]),
    ],
)
def test_a_target_is_judged(state: dict[str, Any], expected: list[tuple[str, str, str]]) -> None:
    assert judge(ServiceFacts({}, targets={"shop": state})) == expected


@pytest.mark.parametrize(("accepted", "weight"), [(0, "alarm"), (9, "warning")])
def test_an_unknown_path_is_shown_with_the_nearest_one(accepted: int, weight: str) -> None:
    others = {"path": None, "nearest": None, "requests": 900, "last_at": iso(ago(hours=1))}
    use = {"path": "/webhook/ship24", "nearest": "/webhooks/ship24", "requests": 3, "last_at": iso(ago(hours=2))}
    facts = ServiceFacts({"ship24": traffic(accepted), "shiipp": traffic(9)}, unknown_paths=[others, use])
    (concern,) = find_concerns(facts, NOW)
    assert (concern.weight, concern.title, concern.at) == (
        weight,
        "3 requests to an unknown path: /webhook/ship24",
        use["last_at"],
    )
    assert "The right one is /webhooks/ship24" in concern.text


@each_row(("number", "title"), [(1, "1 message in quarantine"), (11, "More than 10 messages in quarantine")])
def test_the_size_of_the_quarantine_is_shown(number: int, title: str) -> None:
    (concern,) = find_concerns(ServiceFacts({}, quarantined=number, quarantined_limit=10), NOW)
    assert (concern.weight, concern.title) == ("warning", title)


def test_an_open_setup_window_is_a_note_until_it_closes() -> None:
    assert judge(ServiceFacts({}, windows={"ship24": NOW + 1, "shiipp": NOW})) == [("note", "setup_window", "ship24")]


def test_an_alarm_makes_the_concern_with_its_subject_an_alarm_and_stands_alone_otherwise() -> None:
    alarms = [
        {"name": name, "subject": subject, "message": "Too many.", "began_at": iso(ago(hours=1))}
        for name, subject in (("refused", "ship24"), ("refused", "shiipp"))
    ]
    facts = ServiceFacts({"ship24": traffic(100, 1)}, alarms, quarantined=1)
    assert judge(facts) == [("alarm", "refused", "ship24"), ("alarm", "refused", "shiipp"), ("warning", "quarantined", "")]
    (_, shiipp, _) = find_concerns(facts, NOW)
    assert (shiipp.title, shiipp.at) == ("Too many.", iso(ago(hours=1)))


def test_the_status_is_that_of_the_worst_concern() -> None:
    assert read_status(find_concerns(ServiceFacts({"ship24": traffic(9)}), NOW)) == "ok"
    facts = ServiceFacts({"ship24": traffic(9)}, quarantined=1, windows={"ship24": NOW + 1})
    assert [concern.weight for concern in find_concerns(facts, NOW)] == ["warning", "note"]
    assert read_status(find_concerns(facts, NOW)) == "warning"
