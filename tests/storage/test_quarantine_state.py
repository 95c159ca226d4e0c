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
from tests.harness import ship24
from tests.harness.storage import make_tables
from tests.harness.store import NOW, Store

SOURCES = make_sources({}, {})


class Worklist(Store):
    """A store whose quarantine is listed."""

    def items(self, state: str = "open") -> list[dict[str, Any]]:
        """Return the quarantined items with this state, oldest first."""
        return queries.list_quarantine(self.database, QuarantineFilter(state=state)).items[::-1]

    def reasons(self, state: str = "open") -> list[str]:
        return [item["reason"] for item in self.items(state)]

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
        ("m2", "missing_occurrence", None),
        ("m2", "bad_occurrence", None),
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
