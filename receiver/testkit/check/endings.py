"""What our own service has to tell afterwards, read from its ops API: the end states of the cases. Pure."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from receiver.testkit.check.parcels import JOURNEY, Parcels
from receiver.testkit.check.records import Ending, Rule
from receiver.testkit.check.repeats import COPIES

_GROUP = "ops API"
_LOOKED_AT = 100  # parts in quarantine, newest first
_PAGE = "the README of this service"

FindFault = Callable[[Parcels, Any], str | None]
Expected = Callable[[Parcels], dict[str, object]]


def endings() -> tuple[Ending, ...]:
    """Return all of them."""
    return (
        _tracker("two updates in one call", "grouped", _stands_at(lambda p: p.local(2), ["applied", "stale (older)"])),
        _tracker("nine events in an item", "nine", _has_whole_journey),
        _tracker("older after newer", "late", _stands_at(lambda p: p.local(2), ["applied", "stale (older)"])),
        _tracker("the same call again", "again", _stands_at(lambda p: p.local(24), ["applied"])),
        _tracker("the same call at once", "copies", _stands_at(lambda p: p.local(24), ["applied"])),
        _tracker("a known event in a new message", "told", _stands_at(lambda p: p.local(24), ["applied"])),
        _tracker("proof of delivery", "proved", _stands_at(lambda p: p.local(24), ["applied"])),
        _tracker("time without a zone", "zoneless", _stands_at(lambda p: p.local(30), ["applied"])),
        _tracker("time with an offset", "offset", _stands_at(lambda p: p.offset(30), ["applied"])),
        _tracker("time in UTC", "utc", _stands_at(lambda p: p.utc(30), ["applied"])),
        _tracker("a date alone", "dated", _stands_at(lambda p: p.day(30), ["applied"])),
        _tracker("unknown words", "words", _keeps(lambda _p: {"status_milestone": "waiting_for_drone"})),
        _tracker(
            "letters and digits",
            "letters",
            _keeps(lambda p: {"client_tracker_id": "000123", "tracking_number": p.number("letters")}),
        ),
        _message("the same call again", "again", "applied", 3),
        _message("the same call at once", "copies", "applied", COPIES),
        _message("older after newer", "late", "stale", 1, "48"),
        _message("proof of delivery", "proved", "recorded", 1, "found"),
        _quarantined(),
    )


def _tracker(after: str, tracker: str, find_fault: FindFault) -> Ending:
    rule = _rule(f"{after}: the tracker", "read the tracker", "the state and the timeline that follow from the calls")
    return Ending(rule, after, lambda p: f"trackers/ship24/{quote(p.tracker_id(tracker), safe='')}", find_fault)


def _message(after: str, tracker: str, outcome: str, copies: int, message: str = "1") -> Ending:
    def find_fault(_parcels: Parcels, answer: Any) -> str | None:
        found = _tell(answer["outcome"], len(answer["deliveries"]))
        return None if found == _tell(outcome, copies) else found

    rule = _rule(f"{after}: the message", "read the message", _tell(outcome, copies))
    return Ending(rule, after, lambda p: f"messages/{quote(p.message_id(tracker, message), safe='')}", find_fault)


def _tell(outcome: str, copies: int) -> str:
    return f"{outcome}, brought by {copies} call{'' if copies == 1 else 's'}"


def _quarantined() -> Ending:
    after = "a bad item among good ones"
    rule = _rule(f"{after}: the quarantine", f"read the last {_LOOKED_AT} parts", "the bad item, with its reason and its bytes")
    return Ending(rule, after, lambda _p: f"quarantine?source=ship24&limit={_LOOKED_AT}", _find_unnamed)


def _find_unnamed(parcels: Parcels, answer: Any) -> str | None:
    mine = [part for part in answer["items"] if parcels.number("unnamed") in part["raw"]]
    reasons = {part["reason"] for part in mine}
    return None if reasons == {"missing_message_id"} else f"it is not among the last {len(answer['items'])}"


def _stands_at(time: Callable[[Parcels], str], timeline: list[str]) -> FindFault:
    """Return what compares the tracker's latest time, as written, and its timeline with what they have to be."""

    def find_fault(parcels: Parcels, answer: Any) -> str | None:
        stands, wanted = answer["tracker"]["latest_occurrence"], time(parcels)
        if stands != wanted:
            return f"it stands at {stands} instead of {wanted}"
        found = [event["outcome"] + (f" ({event['reason']})" if event["reason"] else "") for event in answer["events"]]
        if found != timeline:
            return f"its timeline is {', '.join(found) or 'empty'} instead of {', '.join(timeline)}"
        moves = answer["tracker"]["moves"]
        return None if moves == timeline.count("applied") else f"it moved {moves} times"

    return find_fault


def _has_whole_journey(parcels: Parcels, answer: Any) -> str | None:
    told = [event["status"] for event in answer["events"]]
    if told != [status for status, _ in reversed(JOURNEY)]:
        return f"it has {len(told)} events instead of {len(JOURNEY)}, or another order"
    tracker = answer["tracker"]
    stands = (tracker["latest_occurrence"], tracker["status_milestone"])
    return None if stands == (parcels.local(1), "delivered") else f"it stands at {stands[1]}, {stands[0]}"


def _keeps(expected: Expected) -> FindFault:
    """Return what compares fields of a tracker with what was sent."""

    def find_fault(parcels: Parcels, answer: Any) -> str | None:
        wrong = {name: answer["tracker"][name] for name, value in expected(parcels).items() if answer["tracker"][name] != value}
        return ", ".join(f"{name} is {value}" for name, value in wrong.items()) or None

    return find_fault


def _rule(name: str, does: str, expected: str) -> Rule:
    return Rule(_GROUP, name, does, expected, "does not know of it: the promise is this service's own", _PAGE)
