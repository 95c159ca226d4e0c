"""The versions of an event: which one is current, and by which message."""

from receiver.domain.batch import BatchState
from receiver.domain.timelines import Version, version_of
from tests.domain.test_batch import KEY, T1, T2, T3, deliver, event, make_batch_state, message, rows, state, words


def test_the_version_in_a_row_is_that_of_the_latest_message_with_this_content() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", event("a"), at=1))
    (row,) = rows(batch_state)
    assert version_of(row) == Version(row.digest, 1, "m1")
    assert version_of(row._replace(generated_at=5, stands_by="m3")) == Version(row.digest, 5, "m3")
    assert version_of(row._replace(generated_at=None)) == Version(row.digest, 0, "m1")


def test_an_event_that_a_message_names_twice_stays_at_its_revision() -> None:
    batch_state, old, new = make_batch_state(), event("a", T1), event("a", T2)
    deliver(batch_state, message("m1", old, at=1))
    assert words(deliver(batch_state, message("m2", new, old, at=2), number=2)) == ["applied revised"]
    assert state(batch_state).latest_occurrence == T2
    assert batch_state.timelines.current[*KEY, "a"].digest == new.digest


def test_versions_of_one_batch_are_known_to_each_other() -> None:
    batch_state, first, second, third = make_batch_state(), event("a", T1), event("a", T2), event("a", T3)
    versions = [(first, 1), (second, 2), (second, 3), (first, 0), (first, 5), (third, 4), (third, 4), (second, 6)]
    verdicts = deliver(batch_state, *(message(f"m{number}", each, at=at) for number, (each, at) in enumerate(versions)))
    assert words(verdicts) == [
        *("applied", "applied revised", "duplicate", "duplicate", "applied revised", "stale superseded", "duplicate"),
        "applied revised",
    ]
    assert (state(batch_state).latest_occurrence, state(batch_state).moves) == (T2, 4)
    assert {row.digest for row in batch_state.timelines.superseded} == {first.digest, second.digest, third.digest}
    assert len({row.change_id for row in batch_state.changes}) == 4
    assert ([row.occurrence for row in rows(batch_state)], batch_state.timelines.revised) == ([T2], {})


def test_a_content_that_came_again_is_written_with_its_latest_message() -> None:
    batch_state = make_batch_state()
    deliver(batch_state, message("m1", event("a"), event("b"), at=1), message("m2", event("a"), at=3))
    batch_state.timelines.refresh_rows()
    assert [(row.event_id, row.generated_at, row.stands_by) for row in rows(batch_state)] == [("a", 3, "m2"), ("b", 1, None)]
    assert batch_state.timelines.refreshed == {}


def stored(*, at: int) -> BatchState:
    """Return a batch that found one event of a tracker in storage."""
    before, found = make_batch_state(), make_batch_state()
    deliver(before, message("m1", event("a"), at=at))
    (row,) = rows(before)
    found.trackers[KEY], found.timelines.rows[KEY] = state(before), {"a": row}
    found.timelines.current[*KEY, "a"] = version_of(row)
    return found


def test_a_stored_content_that_came_again_is_refreshed_unless_it_is_superseded_then() -> None:
    batch_state = stored(at=1)
    deliver(batch_state, message("m2", event("a"), at=3))
    batch_state.timelines.refresh_rows()
    assert {identity: version[1:] for identity, version in batch_state.timelines.refreshed.items()} == {(*KEY, "a"): (3, "m2")}
    deliver(batch_state, message("m3", event("a", T2), at=4), number=2)
    assert (batch_state.timelines.new, batch_state.timelines.refreshed) == ({}, {})
    assert [row.occurrence for row in batch_state.timelines.revised.values()] == [T2]
    (old,) = batch_state.timelines.superseded
    assert (old.message_id, old.generated_at, old.stands_by) == ("m1", 3, "m2")


def test_a_superseded_version_stands_by_its_own_message() -> None:
    batch_state = stored(at=1)
    deliver(batch_state, message("m2", event("a", T2), at=2))
    assert [(row.message_id, row.stands_by) for row in batch_state.timelines.superseded] == [("m1", None)]


def test_the_newest_event_that_is_left_is_of_the_same_tracker_and_the_first_of_equals() -> None:
    batch_state = make_batch_state()
    others = message("m2", event("c", T2), event("b", T2), at=1), message("m3", event("d", T3), at=1, tracker_id="U")
    deliver(batch_state, message("m1", event("a", T3), at=1), *others, message("m4", event("a", T1), at=2))
    assert (state(batch_state).latest_event_id, state(batch_state).latest_occurrence) == ("b", T2)
    added = message("m5", event("e", "2024-05-16T10:30:00Z"), event("f", T3), at=1)
    deliver(batch_state, added, message("m6", event("f", T1), at=2), number=2)
    assert state(batch_state).latest_event_id == "e"
