"""Messages that come again in the same batch: when another copy replaces the first one."""

from receiver.domain.records import Message
from tests.domain.test_batch import T1, T2, T3, deliver, event, make_batch_state, message, state, words
from tests.harness.table import each_row

GOOD, BAD = event("a", T1), event("b", "soon")


def test_a_message_with_a_part_in_quarantine_is_repaired_once_within_a_batch() -> None:
    batch_state = make_batch_state()
    repaired, again = message("m", GOOD, event("b", T2)), message("m", GOOD, event("b", T3))
    still_bad = message("m", GOOD, event("b", "later"))
    assert words(deliver(batch_state, message("m", GOOD, BAD), still_bad, repaired, again)) == [
        *("applied", "duplicate", "applied", "duplicate content_differs"),
    ]
    assert state(batch_state).latest_occurrence == T2
    (row,) = batch_state.messages.new.values()
    assert (row.digest, row.outcome, batch_state.messages.rewritten) == (repaired.digest, "applied", {})


@each_row("copy", [message("m", GOOD, quarantine_reason="events_not_a_list"), message("m", GOOD, event("b", T2), tracker_id="U")])
def test_a_copy_that_is_flawed_or_of_another_tracker_repairs_no_part(copy: Message) -> None:
    batch_state = make_batch_state()
    assert words(deliver(batch_state, message("m", GOOD, BAD), copy)) == ["applied", "duplicate content_differs"]
    assert set(batch_state.trackers) == {("ship24", "T")}
