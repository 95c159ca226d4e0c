"""The state of quarantined items: open, resolved by a corrected copy, dismissed by an operator."""

from collections.abc import Iterator
from typing import Any

import pytest

from receiver.clock import to_micros
from receiver.domain.replays import ReplayOptions
from receiver.sources import make_sources
from receiver.sources.intake import parse_stored
from receiver.storage import queries
from receiver.storage.queries import QuarantineFilter
from receiver.storage.stored_deliveries import read_delivery
from receiver.writer.commands.deliveries import Replay
from receiver.writer.commands.quarantine import DismissItems, ReopenItems
from tests.harness import ship24
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import NOW, Store

FAR_AHEAD = "2027-01-01T10:00:00"
SOURCES = make_sources({}, {})


class Worklist(Store):
    """A store whose quarantine is listed."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def items(self, state: str = "open") -> list[dict[str, Any]]:
        """Return the quarantined items with this state, by message and event."""
        found = queries.list_quarantine(self.database, QuarantineFilter(state=state)).items
        return sorted(found, key=lambda item: (item["message_id"] or "none", item["event_position"] or 0, item["reason"]))

    def reasons(self, state: str = "open") -> list[str]:
        return [item["reason"] for item in self.items(state)]

    def dismiss(self, *ids: str, note: str | None = None) -> int:
        return self.executor.do(DismissItems(ids, "anna", note, to_micros(NOW)))

    def replay(self, delivery_id: str, **options: Any) -> None:
        submission = parse_stored(SOURCES, read_delivery(self.database, delivery_id))
        self.executor.do(Replay(submission, ReplayOptions(to_micros(NOW), **options)))


@pytest.fixture
def worklist(database_url: str) -> Iterator[Worklist]:
    make_tables(database_url)
    opened = Worklist(database_url)
    yield opened
    opened.close()


def test_a_corrected_copy_resolves_an_item(worklist: Worklist) -> None:
    """Also within one batch, and where only an event of the message is quarantined."""
    whole, part = ship24.event("e1", "no time"), [ship24.event("e2"), ship24.event("e3", None)]
    worklist.keep(ship24.body(ship24.item("m1", "t", [whole]), ship24.item("m2", "u", part), "neither"))
    assert worklist.reasons() == ["bad_occurrence", "missing_occurrence", "not_an_object"]
    assert queries.count_quarantined(worklist.database) == 3
    worklist.keep(
        ship24.body(ship24.item("m1", "t", [ship24.event("e1")])),
        ship24.body(ship24.item("m2", "u", [ship24.event("e2"), ship24.event("e3", "tomorrow")])),
        ship24.body(ship24.item("m2", "u", [ship24.event("e2"), ship24.event("e3")])),
    )
    assert worklist.reasons() == ["not_an_object"]
    resolved = worklist.items("resolved")
    assert [(item["message_id"], item["reason"], item["closed_by"]) for item in resolved] == [
        ("m1", "bad_occurrence", None),
        ("m2", "bad_occurrence", None),
        ("m2", "missing_occurrence", None),
    ]
    assert all(item["closed_at"] is not None for item in resolved)
    assert queries.count_quarantined(worklist.database) == 1
    assert len(worklist.items("all")) == 4


def test_another_copy_that_cannot_be_read_either_takes_the_place_of_the_first(worklist: Worklist) -> None:
    for occurrence in ("no time", "tomorrow"):
        worklist.keep(ship24.body(ship24.item("m1", "t", [ship24.event("e1", occurrence)])))
    (item,) = worklist.items()
    assert '"tomorrow"' in item["raw"]
    assert len(worklist.items("resolved")) == 1


def test_a_dismissed_item_is_not_open_and_stays_dismissed(worklist: Worklist) -> None:
    """Whatever is replayed: a stored row of the same content stays, with its id, its state and its note."""
    events = [ship24.event("e1", "no time"), ship24.event("e2", FAR_AHEAD)]
    worklist.keep(ship24.body(ship24.item("m1", "t", events), "neither"))
    first, second, third = worklist.items()
    assert worklist.dismiss(first["id"], third["id"], "unknown", note="as agreed") == 2
    assert worklist.dismiss(first["id"]) == 0
    (closed, whole) = before = worklist.items("dismissed")
    assert (closed["id"], closed["closed_by"], closed["note"]) == (first["id"], "anna", "as agreed")
    assert whole["reason"] == "not_an_object"
    worklist.replay(first["delivery_id"])
    assert worklist.items("dismissed") == before
    assert [item["id"] for item in worklist.items()] == [second["id"]]
    worklist.replay(first["delivery_id"], force=True)  # of the same message, the other event is applied
    assert worklist.items("dismissed") == before
    assert worklist.items() == []
    worklist.replay(first["delivery_id"], undo=True)
    assert worklist.items("dismissed") == before
    assert worklist.reasons() == ["implausible_future"]


def test_a_corrected_copy_does_not_change_a_dismissal(worklist: Worklist) -> None:
    worklist.keep(ship24.body(ship24.item("m1", "t", [ship24.event("e1", "no time")])))
    (item,) = worklist.items()
    worklist.dismiss(item["id"])
    worklist.keep(ship24.body(ship24.item("m1", "t", [ship24.event("e1")])))
    assert [each["id"] for each in worklist.items("dismissed")] == [item["id"]]
    assert worklist.items("resolved") == []


def test_a_dismissed_item_is_reopened_unless_a_corrected_copy_has_replaced_it(worklist: Worklist) -> None:
    worklist.keep(
        ship24.body(*(ship24.item(name, name, [ship24.event("e1", "no time")]) for name in ("m1", "m2", "m3")), "no object")
    )
    before = worklist.items()
    replaced, first, second, whole = before
    worklist.dismiss(*(item["id"] for item in before), note="by mistake")
    worklist.keep(ship24.body(ship24.item("m1", "m1", [ship24.event("e1")])))
    assert worklist.executor.do(ReopenItems([replaced["id"], first["id"], "unknown"])) == 1
    assert worklist.items() == [first]
    assert worklist.executor.do(ReopenItems([first["id"], whole["id"]])) == 1
    assert worklist.items() == [first, whole]
    assert [item["id"] for item in worklist.items("dismissed")] == [replaced["id"], second["id"]]


def test_a_retry_decides_within_the_limits(worklist: Worklist) -> None:
    """It applies what was undecidable, and neither accepts a date in the future nor lets a replaced copy replace a later one."""
    worklist.keep(ship24.body(ship24.item("m2", "u", [ship24.event("e2", FAR_AHEAD)])))
    worklist.keep(ship24.body(ship24.item("m3", "v", [ship24.event("e3", "no time")])))
    worklist.keep(ship24.body(ship24.item("m3", "v", [ship24.event("e3", "tomorrow")])))
    before = worklist.items("all")
    for delivery_id in {item["delivery_id"] for item in before}:
        worklist.replay(delivery_id, retry=True)
    assert worklist.items("all") == before
    for table in ("quarantine", "messages"):
        update_rows(worklist.url, table, {"message_id": "m2"}, reason="undecidable")
    (failed,) = [item for item in worklist.items() if item["reason"] == "undecidable"]
    worklist.replay(failed["delivery_id"])
    assert "undecidable" in worklist.reasons()  # a plain replay keeps the verdict of a message with an id
    worklist.replay(failed["delivery_id"], retry=True)
    assert "undecidable" not in worklist.reasons()
    assert "implausible_future" in worklist.reasons()
