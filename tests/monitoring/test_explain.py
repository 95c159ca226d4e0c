"""Explanations: each verdict and each rejection in sentences."""

from collections.abc import Iterator
from typing import Any

import pytest

from receiver.clock import new_id
from receiver.domain.records import Submission
from receiver.errors import AddressNotAllowed, Ambiguous, BodyTooLarge, NotFound, ReceiverError, Unauthorized
from receiver.monitoring import explain as explanations
from receiver.sources import make_sources
from receiver.storage import queries
from tests.harness.ship24 import body, event, item, single
from tests.harness.storage import Plus, delete_rows, make_tables, update_rows
from tests.harness.store import NOW, Store, delivery, opened

_SOURCES = make_sources({}, {})


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    """Storage as the writing process has it."""
    make_tables(sqlite_url)
    with opened(sqlite_url) as opened_store:
        yield opened_store


def explain(store: Store, some_id: str) -> dict[str, Any]:
    return explanations.explain(store.database, _SOURCES, some_id)


def told(store: Store, some_id: str) -> str:
    return "\n".join(explain(store, some_id)["explanation"])


def refuse(store: Store, error: ReceiverError, **fields: object) -> str:
    """Record a rejected delivery and return its id."""
    call = delivery(b"")._replace(token=None, **fields)  # type: ignore[arg-type]
    assert None not in store.inbox.keep([Submission(call, error=error)], NOW)
    return call.id


def test_an_applied_message_is_explained_with_its_delivery_its_token_and_its_tracker(store: Store) -> None:
    store.keep(single("m", tracker_id="t", events=[event("e", "2025-03-01T10:00:00")]))
    found = explain(store, "m")
    assert (found["about"], found["outcome"], found["against"]) == ("message", "applied", None)
    text = told(store, "m")
    assert "Message m (Ship24) for tracker t (tracking number TN-t)." in text
    assert f"First received at 2025-06-01T12:00:00.000Z in delivery {found['delivery_id']}, message 1, from 127.0.0.1" in text
    assert "with token token-1. Applied." in text
    assert "Event e, “Arrived at the sorting centre” of 2025-03-01T10:00:00: Applied." in text


@pytest.mark.parametrize(
    ("occurrence", "reason", "why"), [("2025-03-01", "older", "is newer"), ("2025-03-02", "tie", "has the same time as")]
)
def test_a_stale_message_names_the_event_that_it_lost_against(store: Store, occurrence: str, reason: str, why: str) -> None:
    store.keep(single("first", tracker_id="t", events=[event("winner", "2025-03-02", status="Out for delivery")]))
    store.keep(single("late", tracker_id="t", events=[event("loser", occurrence)]))
    found = explain(store, "late")
    assert (found["outcome"], found["reason"]) == ("stale", reason)
    assert (found["against"]["event_id"], found["against"]["occurrence"]) == ("winner", "2025-03-02")
    assert found["against"]["message_id"] == "first"
    text = told(store, "late")
    assert "Not applied." in text
    assert "“Out for delivery” of 2025-03-02 (event winner)" in text
    assert why in text


def test_a_corrected_event_names_the_message_whose_version_counts(store: Store) -> None:
    for message_id, generated_at, status in (("m1", "2025-03-01T10:00:00Z", "Delivered"), ("m2", "2025-03-02T10:00:00Z", "Lost")):
        corrected = item(message_id, "t", [event("e", "2025-03-01", status=status)])
        corrected["metadata"]["generatedAt"] = generated_at
        store.keep(body(corrected))
    assert "Event e was corrected: the version of message m2 counts." in told(store, "m1")
    assert "was corrected" not in told(store, "m2")


def test_a_repeated_message_is_explained_with_every_delivery_oldest_first(store: Store) -> None:
    store.keep(single("m", tracker_id="t", events=[event("e")]))
    store.keep(single("m", tracker_id="t", events=[event("e")]), single("m", tracker_id="other"))
    found = explain(store, "m")
    verdicts = {(call["outcome"], call["reason"]) for call in found["deliveries"]}
    assert verdicts == {("applied", None), ("duplicate", None), ("duplicate", "content_differs")}
    assert [call["delivery_id"] for call in found["deliveries"]] == sorted(call["delivery_id"] for call in found["deliveries"])
    assert told(store, "m").count("Received again at") == 2


def test_a_message_that_was_repeated_very_often_is_explained_with_its_first_deliveries(store: Store) -> None:
    store.keep(*[body(*[item("m", "t", [])] * 300)])
    assert len(explain(store, "m")["deliveries"]) == 201


def test_a_correction_is_explained_with_its_earlier_version(store: Store) -> None:
    store.keep(single("first", tracker_id="t", events=[event("e", order=1)]))
    store.keep(single("second", tracker_id="t", events=[event("e", order=1, status="Something else")]))
    store.keep(single("a-third", tracker_id="t", events=[event("e", order=1, status="Yet another")]))
    assert "Applied. This became the current status. It corrects an earlier version." in told(store, "second")
    assert explain(store, "first")["events"][0]["superseded"] is True
    assert "Not applied. It is an earlier version of a corrected event." in told(store, "a-third")


def test_a_known_event_is_explained_with_the_message_that_brought_it_first(store: Store) -> None:
    store.keep(single("first", tracker_id="t", events=[event("e", order=1)]))
    store.keep(single("second", tracker_id="t", events=[event("e", order=1), event("new", "2025-03-05")]))
    events = {found["event_id"]: found for found in explain(store, "second")["events"]}
    assert (events["e"]["outcome"], events["e"]["reason"], events["e"]["known_from"]) == ("duplicate", None, "first")
    assert (events["new"]["outcome"], events["new"]["known_from"]) == ("applied", None)
    assert "Duplicate. First received in message first." in told(store, "second")


def test_a_quarantined_event_is_no_duplicate_of_what_came_later(store: Store) -> None:
    store.keep(single("bad", tracker_id="t", events=[event("e", "yesterday"), event("good", "2025-03-01")]))
    store.keep(single("mended", tracker_id="t", events=[event("e", "2025-03-02")]))
    assert [found["event_id"] for found in explain(store, "bad")["events"]] == ["good"]
    text = told(store, "bad")
    assert "Event 1 quarantined: The event time is not one of the four forms" in text
    assert "Duplicate" not in text


def test_a_quarantined_message_is_explained_with_what_was_expected(store: Store) -> None:
    broken = item("m", "t")
    broken["tracker"] = {}
    store.keep(body(item(), broken))
    found = explain(store, "m")
    assert (found["outcome"], found["reason"], found["tracker_id"]) == ("quarantined", "missing_tracker_id", None)
    text = told(store, "m")
    assert ", message 2, from" in text
    assert "Message quarantined: Expected a string under `tracker.trackerId`." in text


def test_a_recorded_message_is_explained_as_carrying_no_event(store: Store) -> None:
    store.keep(single("m", tracker_id="t", events=[]))
    assert "Contains no event. Stored only." in told(store, "m")


def test_a_message_whose_body_was_deleted_is_explained_from_the_rows_that_stay(store: Store, sqlite_url: str) -> None:
    store.keep(single("first", tracker_id="t", events=[event("e")]), single("second", tracker_id="t", events=[event("e")]))
    whole = explain(store, "second")
    delete_rows(sqlite_url, "bodies")
    found = explain(store, "second")
    assert (found["outcome"], found["events"], len(whole["events"])) == ("duplicate", [], 1)
    assert found["explanation"][-1] == "The body was deleted, so repeated events cannot be shown."
    assert found["explanation"][:2] == whole["explanation"][:2]
    shown = explain(store, found["delivery_id"])
    assert (shown["body"], shown["answer"], shown["headers"]) == (None, None, ())
    assert "The bodies of request and response were deleted (retention)." in shown["explanation"]
    assert "Message 1, second: Duplicate." in shown["explanation"]


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        (Unauthorized("No such token."), ["Rejected: 401 unauthorized. No such token.", "RECEIVER_SHIP24_TOKENS"]),
        (AddressNotAllowed("Not on the list."), ["403 address_not_allowed. Not on the list.", "RECEIVER_SHIP24_ALLOWED_IPS"]),
        (BodyTooLarge("Too large."), ["Rejected: 413 body_too_large. Too large.", "RECEIVER_MAX_BODY_BYTES"]),
    ],
)
def test_a_rejected_delivery_is_explained_with_the_rule_that_rejected_it(
    store: Store, error: ReceiverError, sentences: list[str]
) -> None:
    call_id = refuse(store, error, client="203.0.113.9", peer="127.0.0.1")
    found = explain(store, call_id)
    assert (found["about"], found["outcome"], found["code"]) == ("delivery", "refused", error.code)
    text = "\n".join(found["explanation"])
    assert f"Delivery {call_id}: POST /webhooks/ship24 at" in text
    assert "from 203.0.113.9 via 127.0.0.1." in text
    assert [sentence for sentence in sentences if sentence not in text] == []
    assert "Authenticated" not in text


def test_a_delivery_is_explained_with_the_verdict_of_each_message(store: Store) -> None:
    store.keep(body(item("a", "t", [event("e", "2025-03-02")]), item("b", "t", [event("f", "2025-03-01")]), "nothing"))
    call_id = explain(store, "a")["delivery_id"]
    found = explain(store, call_id)
    assert found["about"] == "delivery"
    assert found["explanation"][-3:] == [
        "Message 1, a: Applied.",
        "Message 2, b: Out of date: older than current status.",
        "Message 3, without an ID: Quarantined: item is not an object.",
    ]
    assert "Authenticated with token token-1." in found["explanation"]


def test_two_sources_may_use_the_same_id(store: Store) -> None:
    store.keep(single("m", tracker_id="t", events=[event("e")]), single("m", tracker_id="t", events=[event("e")]))
    call = delivery(b"")._replace(id=new_id(NOW), source="shiipp", kind="new-package")
    store.inbox.keep([Submission(call, tuple(_SOURCES[0].split(single("m", tracker_id="u"))))], NOW)
    for source, tracker_id, calls in (("ship24", "t", 2), ("shiipp", "u", 1)):
        shown = queries.show_message(store.database, "m", [source])
        assert (shown["source"], shown["tracker_id"], len(shown["deliveries"])) == (source, tracker_id, calls)
    assert len(queries.show_message(store.database, "m", ["ship24", "shiipp"])["deliveries"]) in {1, 2}


def test_an_unknown_id_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="Nothing has the number, ID, reference or customer code nothing"):
        explain(store, "nothing")


def test_a_tracker_is_explained_by_each_of_its_names(store: Store, sqlite_url: str) -> None:
    store.keep(single("now", tracker_id="t-1", events=[event("e", "2025-03-02T10:00:00", status="Delivered")]))
    store.keep(single("late", tracker_id="t-1", events=[event("f", "2025-03-01T10:00:00")]))
    update_rows(sqlite_url, "events", {"event_id": "f"}, received_at=Plus(1_000_000))
    for name in ("t-1", "T-1", "tn-t-1", "TN-T-1"):
        found = explain(store, name)
        assert (found["about"], found["tracker"]["tracker_id"]) == ("tracker", "t-1")
    text = told(store, "tn-t-1")
    assert "Ship24 parcel t-1 (tracking number TN-t-1)." in text
    assert "Current status: “Delivered” of 2025-03-02T10:00:00" in text
    assert "in message late: Out of date: older than current status." in text


def test_a_text_that_several_things_match_is_ambiguous_and_names_them(store: Store) -> None:
    for tracker_id in ("twin-1", "twin-2"):
        store.keep(single(f"m-{tracker_id}", tracker_id=tracker_id))
    with pytest.raises(Ambiguous, match="twin matches 2 entries; use one of ship24/twin-1, ship24/twin-2"):
        explain(store, "twin")
    assert "parcel twin-2" in told(store, "ship24/twin-2")
