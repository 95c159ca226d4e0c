"""The versions of an event: which one is current, and by which message."""

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
