"""End states: what the ops API of this service has to show after the cases. Pure."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from receiver.testkit.check.parcels import JOURNEY, Parcels
from receiver.testkit.check.records import Ending, Rule
from receiver.testkit.check.repeats import COPIES

_GROUP = "ops API"
_LOOKED_AT = 100  # messages in quarantine, newest first
_PAGE = "the documentation of this service"

FindFault = Callable[[Parcels, Any], str | None]
Expected = Callable[[Parcels], dict[str, object]]


def endings() -> tuple[Ending, ...]:
    """Return the end states."""
    return (
        _tracker("two messages in one delivery", "grouped", _is_at(lambda p: p.local(2), ["applied", "stale (older)"])),
        _tracker("nine events in one message", "nine", _has_whole_journey),
        _tracker("older after newer", "late", _is_at(lambda p: p.local(2), ["applied", "stale (older)"])),
        _tracker("the same delivery again", "again", _is_at(lambda p: p.local(24), ["applied"])),
        _tracker("the same delivery in parallel", "copies", _is_at(lambda p: p.local(24), ["applied"])),
        _tracker("a known event in a new message", "repeated", _is_at(lambda p: p.local(24), ["applied"])),
        _tracker("proof of delivery", "proved", _is_at(lambda p: p.local(24), ["applied"])),
        _tracker("time without a zone", "zoneless", _is_at(lambda p: p.local(30), ["applied"])),
        _tracker("time with an offset", "offset", _is_at(lambda p: p.offset(30), ["applied"])),
        _tracker("time in UTC", "utc", _is_at(lambda p: p.utc(30), ["applied"])),
        _tracker("a date alone", "dated", _is_at(lambda p: p.day(30), ["applied"])),
        _tracker("unknown words", "words", _keeps(lambda _p: {"status_milestone": "waiting_for_drone"})),
        _tracker(
            "letters and digits",
            "letters",
            _keeps(lambda p: {"client_tracker_id": "000123", "tracking_number": p.number("letters")}),
        ),
        _message("the same delivery again", "again", "applied", 3),
        _message("the same delivery in parallel", "copies", "applied", COPIES),
        _message("older after newer", "late", "stale", 1, "48"),
        _message("proof of delivery", "proved", "recorded", 1, "found"),
        _quarantined(),
    )


def _tracker(after: str, tracker: str, find_fault: FindFault) -> Ending:
    rule = _rule(f"{after}: the tracker", "read the tracker", "the state and the timeline that follow from the deliveries")
    return Ending(rule, after, lambda p: f"trackers/ship24/{quote(p.tracker_id(tracker), safe='')}", find_fault)


def _message(after: str, tracker: str, outcome: str, copies: int, message: str = "1") -> Ending:
    def find_fault(_parcels: Parcels, answer: Any) -> str | None:
        found = _describe(answer["outcome"], len(answer["deliveries"]))
        return None if found == _describe(outcome, copies) else found

    rule = _rule(f"{after}: the message", "read the message", _describe(outcome, copies))
    return Ending(rule, after, lambda p: f"messages/{quote(p.message_id(tracker, message), safe='')}", find_fault)


def _describe(outcome: str, copies: int) -> str:
    return f"{outcome}, in {copies} {'delivery' if copies == 1 else 'deliveries'}"


def _quarantined() -> Ending:
    after = "an invalid message among valid ones"
    rule = _rule(
        f"{after}: the quarantine", f"read the last {_LOOKED_AT} entries", "the invalid message, with its reason and its bytes"
    )
    return Ending(rule, after, lambda _p: f"quarantine?source=ship24&limit={_LOOKED_AT}", _find_unnamed)


def _find_unnamed(parcels: Parcels, answer: Any) -> str | None:
    mine = [part for part in answer["items"] if parcels.number("unnamed") in part["raw"]]
    reasons = {part["reason"] for part in mine}
    return None if reasons == {"missing_message_id"} else f"not among the last {len(answer['items'])}"


def _is_at(time: Callable[[Parcels], str], timeline: list[str]) -> FindFault:
    """Return a comparison of the tracker's latest event time, as written, and of its timeline."""

    def find_fault(parcels: Parcels, answer: Any) -> str | None:
        latest, wanted = answer["tracker"]["latest_occurrence"], time(parcels)
        if latest != wanted:
            return f"the latest event is at {latest} instead of {wanted}"
        found = [event["outcome"] + (f" ({event['reason']})" if event["reason"] else "") for event in answer["events"]]
        if found != timeline:
            return f"the timeline is {', '.join(found) or 'empty'} instead of {', '.join(timeline)}"
        changes = answer["tracker"]["changes"]
        return None if changes == timeline.count("applied") else f"it changed {changes} times"

    return find_fault


def _has_whole_journey(parcels: Parcels, answer: Any) -> str | None:
    statuses = [event["status"] for event in answer["events"]]
    if statuses != [status for status, _ in reversed(JOURNEY)]:
        return f"{len(statuses)} events instead of {len(JOURNEY)}, or another order"
    tracker = answer["tracker"]
    latest = (tracker["latest_occurrence"], tracker["status_milestone"])
    return None if latest == (parcels.local(1), "delivered") else f"the latest event is {latest[1]} at {latest[0]}"


def _keeps(expected: Expected) -> FindFault:
    """Return a comparison of fields of the tracker."""

    def find_fault(parcels: Parcels, answer: Any) -> str | None:
        wrong = {name: answer["tracker"][name] for name, value in expected(parcels).items() if answer["tracker"][name] != value}
        return ", ".join(f"{name} is {value}" for name, value in wrong.items()) or None

    return find_fault


def _rule(name: str, does: str, expected: str) -> Rule:
    return Rule(_GROUP, name, does, expected, "does not check it: this is a promise of this service", _PAGE)
