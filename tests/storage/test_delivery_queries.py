"""Lists of deliveries, messages and quarantine, with every filter, on every database."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.clock import from_micros, new_id, to_micros
from receiver.domain.records import Submission
from receiver.errors import (
    AddressNotAllowed,
    BodyTooLarge,
    InvalidJson,
    NotFound,
    ReceiverError,
    StorageUnavailable,
    Unauthorized,
    UnexpectedShape,
)
from receiver.monitoring.explain import explain
from receiver.sources import NAMES, ship24
from receiver.storage import queries
from receiver.storage.queries import DeliveryFilter, MessageFilter, QuarantineFilter, TrackerFilter
from receiver.storage.queries.pages import SORTS, write_cursor
from receiver.storage.tables.ledger import QuarantineTable
from receiver.storage.tables.metadata import table_of
from tests.harness.archive import Archive, walk
from tests.harness.rows import table_rows
from tests.harness.ship24 import Item, body, event, item
from tests.harness.store import NOW, delivery
from tests.harness.table import each_row

_START = to_micros(NOW)
_ERRORS: dict[str, ReceiverError] = {
    error.code: error
    for error in (
        Unauthorized("No."),
        AddressNotAllowed("No."),
        BodyTooLarge("No."),
        InvalidJson("No."),
        StorageUnavailable("No."),
    )
}
_EVENTS: dict[str, list[Item]] = {"event": [event("e")], "nothing": [], "bad": [event("f", "yesterday")]}


class KnownDelivery(NamedTuple):
    """A delivery as the tests know it: after so many milliseconds; `items` are numbers of message and parcel, and the status."""

    source: str
    client: str | None
    millis: int
    error: str | None
    items: tuple[tuple[int, int, str], ...]
    test_run: str | None = None  # of one without items: the messages of others have real ids
    origin: str = "webhook"

    def status(self) -> int:
        return _ERRORS[self.error].status if self.error else 200

    def outcome(self) -> str:
        return _ERRORS[self.error].outcome if self.error else "accepted"


class RebuildCounts(NamedTuple):
    """Deliveries by id, and the parcel of each message (source and number) at its first arrival."""

    calls: dict[str, KnownDelivery]
    parcels: dict[tuple[str, int], int]

    def carries(self, call: KnownDelivery, message: int) -> bool:
        return call.error is None and any(number == message for number, _, _ in call.items)

    def tells_of(self, call: KnownDelivery, parcel: int) -> bool:
        return call.error is None and any(self.parcels[call.source, number] == parcel for number, _, _ in call.items)

    def holds(self, call: KnownDelivery, wanted: DeliveryFilter) -> bool:
        at = _START + call.millis * 1000
        return (
            wanted.source in {None, call.source}
            and wanted.status in {None, call.status()}
            and wanted.outcome in {None, call.outcome()}
            and wanted.client in {None, call.client}
            and wanted.test in {None, call.test_run is not None}
            and wanted.origin in {None, call.origin}
            and (wanted.since is None or at >= wanted.since)
            and (wanted.until is None or at < wanted.until)
            and (wanted.message_id is None or self.carries(call, int(wanted.message_id)))
            and (wanted.tracking_number is None or self.tells_of(call, int(wanted.tracking_number[-1])))
        )


_clients = st.sampled_from([None, "203.0.113.1", "2001:db8::1"])
# A message is about one parcel: a mended one would otherwise move to the parcel of its later copy.
_items = st.tuples(st.integers(0, 3), st.sampled_from(list(_EVENTS))).map(lambda told: (told[0], told[0] % 3, told[1]))
_calls = st.lists(
    st.builds(
        KnownDelivery,
        st.sampled_from(NAMES),
        _clients,
        st.integers(0, 3),
        st.sampled_from([None, None, None, *_ERRORS]),
        st.lists(_items, max_size=3).map(tuple),
        st.none(),
        st.sampled_from(["webhook", "webhook", "import", "reconcile"]),
    )
    | st.builds(
        KnownDelivery,
        st.sampled_from(NAMES),
        _clients,
        st.integers(0, 3),
        st.none(),
        st.just(()),
        st.just("a1b2c3d4"),
        st.just("webhook"),
    ),
    max_size=16,
)
_edge = st.sampled_from([None] * 12 + [*(_START + millis * 1000 for millis in range(5)), -5, 0, 2**80])
_filters = st.builds(
    DeliveryFilter,
    st.sampled_from([None] * 5 + [*NAMES, "nobody"]),
    st.sampled_from([None] * 9 + [200, 400, 401, 403, 413, 503, 204, -1, 2**40]),
    st.sampled_from([None] * 7 + ["accepted", "refused", "unreadable", "failed", "other"]),
    st.none() | _clients,
    _edge,
    _edge,
    st.sampled_from([None, None, None, "0", "1", "9"]),
    st.sampled_from([None, None, None, "TN-t-0", "tn-T-1", "TN-t-9"]),
    st.sampled_from([None] * 5 + [True, False]),
    st.sampled_from([None] * 5 + ["webhook", "import", "reconcile"]),
    st.sampled_from(SORTS),
)


def keep(archive: Archive, calls: list[KnownDelivery]) -> RebuildCounts:
    """Store deliveries as the writing process does."""
    archive.clear()
    kept: dict[str, KnownDelivery] = {}
    submissions = []
    parcels: dict[tuple[str, int], int] = {}
    for call in calls:
        at = NOW + timedelta(milliseconds=call.millis)
        came = delivery(b"")._replace(id=new_id(at), source=call.source, client=call.client, received_at=to_micros(at))
        came = came._replace(test_run=call.test_run, origin=call.origin)
        kept[came.id] = call
        told = [item(str(number), f"t-{parcel}", _EVENTS[kind]) for number, parcel, kind in call.items]
        if call.error is not None:
            submissions.append(Submission(came, error=_ERRORS[call.error]))
            continue
        submissions.append(Submission(came, tuple(ship24.split(body(*told)))))
        for number, parcel, _ in call.items:
            parcels.setdefault((call.source, number), parcel)
    assert None not in archive.store.inbox.keep(submissions, NOW)
    return RebuildCounts(kept, parcels)


@settings(max_examples=24)
@given(calls=_calls, wanted=st.lists(_filters, min_size=6, max_size=6), limit=st.integers(1, 4))
def test_every_filter_of_deliveries_returns_each_match_once_in_its_order(
    archive: Archive, calls: list[KnownDelivery], wanted: list[DeliveryFilter], limit: int
) -> None:
    kept = keep(archive, calls)
    for filters in wanted:
        expected = sorted(
            (id_ for id_, call in kept.calls.items() if kept.holds(call, filters)), reverse=filters.sort == "newest"
        )
        assert [found["id"] for found in walk(asking(archive, filters), limit)] == expected
        assert [found["id"] for found in walk(asking(archive, filters), 200)] == expected


def asking(archive: Archive, wanted: DeliveryFilter, start: str | None = None) -> Callable[[int, str | None], queries.ResultPage]:
    return lambda limit, cursor: queries.list_deliveries(archive.database, wanted, NAMES, limit, cursor or start)


def chain(neighbours: Callable[[Any], queries.Neighbours], items: list[dict[str, Any]]) -> None:
    """Check that each item of a list has the items before and after it as its neighbours."""
    for before, one, after in zip([None, *items], items, [*items[1:], None], strict=False):
        assert neighbours(one) == (before, after)


def test_a_delivery_and_a_message_have_the_neighbours_of_their_list(archive: Archive) -> None:
    items = ((0, 0, "event"), (1, 1, "nothing"))
    keep(
        archive,
        [KnownDelivery("ship24", f"203.0.113.{n % 3}", n // 2, "unauthorized" if n % 4 == 0 else None, items) for n in range(12)],
    )
    base = archive.database
    for sort in SORTS:
        for wanted in (
            DeliveryFilter(sort=sort),
            DeliveryFilter(outcome="refused", sort=sort),
            DeliveryFilter(client="203.0.113.1", tracking_number="tn-t-0", sort=sort),
        ):
            listed = walk(asking(archive, wanted), 5)
            assert len(listed) > 2
            chain(lambda row, wanted=wanted: queries.find_delivery_neighbours(base, wanted, NAMES, row["id"]), listed)  # type: ignore[misc]
        for of in (MessageFilter(sort=sort), MessageFilter(outcome="duplicate", origin="webhook", sort=sort)):
            rows = walk(lambda limit, cursor, of=of: queries.list_messages(base, of, limit, cursor), 5)  # type: ignore[misc]
            assert len(rows) > 2

            def neighbours(row: dict[str, Any], of: MessageFilter = of) -> queries.Neighbours:
                return queries.find_message_neighbours(base, of, write_cursor(row["delivery_id"], row["position"]))

            chain(neighbours, rows)


def test_a_message_that_came_again_and_again_is_found_with_every_copy(archive: Archive) -> None:
    calls = [
        KnownDelivery("ship24", f"203.0.113.{n % 5}", n // 3, None, ((1, n % 2, "event"), (2, 0, "nothing"))) for n in range(40)
    ]
    kept = keep(archive, calls)
    of_parcel = DeliveryFilter(tracking_number="TN-t-0")
    of_client = of_parcel._replace(client="203.0.113.3")
    for wanted in (DeliveryFilter(message_id="1"), of_parcel, of_client, of_client._replace(message_id="1")):
        expected = sorted((id_ for id_, call in kept.calls.items() if kept.holds(call, wanted)), reverse=True)
        for limit in (1, 2, 5):
            assert [row["id"] for row in walk(asking(archive, wanted), limit)] == expected


def test_new_deliveries_neither_hide_nor_double_older_ones(archive: Archive) -> None:
    first = keep(archive, [KnownDelivery("ship24", None, n, "unauthorized" if n % 3 else None, ()) for n in range(12)])
    for wanted in (DeliveryFilter(), DeliveryFilter(outcome="refused"), DeliveryFilter(source="ship24", status=200)):
        page = queries.list_deliveries(archive.database, wanted, NAMES, 2)
        at = NOW + timedelta(seconds=1)
        came = delivery(b"")._replace(id=new_id(at), received_at=to_micros(at))
        archive.store.inbox.keep([Submission(came), Submission(came._replace(id=new_id(at)), error=_ERRORS["unauthorized"])], NOW)
        found = [row["id"] for row in [*page.items, *walk(asking(archive, wanted, page.next), 2)]]
        expected = sorted((id_ for id_, call in first.calls.items() if first.holds(call, wanted)), reverse=True)
        assert [id_ for id_ in found if id_ in first.calls] == expected


# Messages


_verdict_filters = st.builds(
    MessageFilter,
    source=st.sampled_from([None, None, "ship24", "shiipp"]),
    outcome=st.sampled_from([None, "not_applied", "applied", "duplicate", "stale"]),
    reason=st.sampled_from([None, None, "content_differs", "older"]),
    since=_edge,
    until=_edge,
    tracking_number=st.sampled_from([None, None, "tn-t-0", "TN-t-1"]),
    test=st.sampled_from([None, False, True]),
    origin=st.sampled_from([None, None, "webhook", "import", "reconcile"]),
    sort=st.sampled_from(SORTS),
)


@settings(max_examples=24)
@given(calls=_calls, wanted=st.lists(_verdict_filters, min_size=6, max_size=6), limit=st.integers(1, 4))
def test_every_filter_of_messages_returns_each_match_once_in_its_order(
    archive: Archive, calls: list[KnownDelivery], wanted: list[MessageFilter], limit: int
) -> None:
    kept = keep(archive, calls)
    whole = read_all(archive)
    of_message = {(row["source"], row["message_id"]): row["tracker_id"] for row in whole if row["tracker_id"]}
    for filters in wanted:

        def ask(size: int, cursor: str | None, filters: MessageFilter = filters) -> queries.ResultPage:
            return queries.list_messages(archive.database, filters, size, cursor)

        expected = [
            (row["delivery_id"], row["position"])
            for row in sorted(whole, key=lambda row: (row["delivery_id"], row["position"]), reverse=filters.sort == "newest")
            if holds(filters, row, of_message.get((row["source"], row["message_id"])))
            and filters.origin in {None, kept.calls[row["delivery_id"]].origin}
        ]
        for size in (limit, 200):
            assert [(item["delivery_id"], item["position"]) for item in walk(ask, size)] == expected


def read_all(archive: Archive) -> list[dict[str, Any]]:
    """Return the rows of all items: first arrivals, and further copies (without a tracker)."""
    return [{"tracker_id": None, **row} for table in ("messages", "sightings") for row in table_rows(archive.url, table)]


def holds(wanted: MessageFilter, row: dict[str, Any], tracker_id: str | None) -> bool:
    """Tell whether a message matches; a deliberately plain version of the rules."""
    if wanted.outcome == "not_applied":
        fits = row["outcome"] in {"stale", "recorded", "quarantined"} or row["reason"] == "content_differs"
    else:
        fits = wanted.outcome in {None, row["outcome"]}
    return (
        fits
        and wanted.source in {None, row["source"]}
        and wanted.reason in {None, row["reason"]}
        and (wanted.since is None or row["received_at"] >= wanted.since)
        and (wanted.until is None or row["received_at"] < wanted.until)
        and (wanted.tracking_number is None or f"tn-{tracker_id}" == wanted.tracking_number.lower())
        and not wanted.test
    )


def test_a_page_of_messages_ends_within_a_large_delivery(archive: Archive) -> None:
    keep(archive, [KnownDelivery("ship24", None, 0, None, tuple((n, 0, "event") for n in range(9))) for _ in range(2)])
    for wanted in (MessageFilter(), MessageFilter(source="ship24"), MessageFilter(tracking_number="tn-t-0")):

        def ask(size: int, cursor: str | None, wanted: MessageFilter = wanted) -> queries.ResultPage:
            return queries.list_messages(archive.database, wanted, size, cursor)

        positions = [item["position"] for item in walk(ask, 4)]
        assert positions == [*range(8, -1, -1)] * 2


# Quarantine


def test_the_quarantine_is_listed_by_source_and_reason_with_the_beginning_of_what_came(archive: Archive) -> None:
    raws = {"cut": "é".encode() * 4000, "binary": b"\xff\x00\xfe", "empty": b"", "text": b'{"a": "<b>"}'}
    rows = [
        {"id": new_id(from_micros(_START + n)), "source": NAMES[n % 2], "reason": reason, "raw": raw, "received_at": _START + n}
        for n, (reason, raw) in enumerate([*raws.items()] * 5)
    ]
    archive.add(table_of(QuarantineTable), rows)
    for source, reason in ((None, None), ("ship24", None), (None, "cut"), ("shiipp", "binary"), ("ship24", "binary"), ("x", "y")):

        def ask(limit: int, cursor: str | None, by: tuple[str | None, str | None] = (source, reason)) -> queries.ResultPage:
            return queries.list_quarantine(archive.database, QuarantineFilter(*by), limit, cursor)

        wanted = [row for row in rows if source in {None, row["source"]} and reason in {None, row["reason"]}]
        assert [found["id"] for found in walk(ask, 2)] == sorted((str(row["id"]) for row in wanted), reverse=True)
    first = {found["reason"]: found for found in queries.list_quarantine(archive.database).items}
    assert {reason: found["raw_bytes"] for reason, found in first.items()} == {reason: len(raw) for reason, raw in raws.items()}
    assert (first["cut"]["raw"], first["binary"]["raw"]) == ("é" * 2000, "\ufffd\0\ufffd")
    assert (first["empty"]["raw"], first["text"]["raw"]) == ("", '{"a": "<b>"}')


# What is asked may be anything


@each_row("text", ["\0", "a\0", "\ud800", "\udfff.", "%", "_", "'", '"', "\\", "\U0010ffff", "\u202e", "x" * 5000])
def test_any_text_can_be_searched_for(archive: Archive, text: str) -> None:
    keep(archive, [KnownDelivery("ship24", None, 0, None, ((1, 1, "event"),))])
    base = archive.database
    for tracker in (
        TrackerFilter(text),
        TrackerFilter(text, exact=True),
        TrackerFilter(source=text),
        TrackerFilter(milestone=text),
    ):
        assert queries.list_trackers(base, tracker) == queries.ResultPage([], None)
    for call in (
        DeliveryFilter(source=text),
        DeliveryFilter(outcome=text),
        DeliveryFilter(client=text),
        DeliveryFilter(message_id=text),
        DeliveryFilter(tracking_number=text),
    ):
        assert queries.list_deliveries(base, call, NAMES) == queries.ResultPage([], None)
    for message in (MessageFilter(source=text), MessageFilter(reason=text), MessageFilter(tracking_number=text)):
        assert queries.list_messages(base, message).items == []
    for apart in (QuarantineFilter(text), QuarantineFilter(None, text), QuarantineFilter(search=text)):
        assert queries.list_quarantine(base, apart).items == []
    shows: list[Callable[[], object]] = [
        lambda: queries.show_tracker(base, "ship24", text),
        lambda: queries.show_tracker(base, text, "t-1"),
        lambda: queries.show_delivery(base, text),
        lambda: queries.show_message(base, text, NAMES),
        lambda: explain(base, (), text),
    ]
    for show in shows:
        with pytest.raises(NotFound):
            show()


_BAD_KEYS: list[tuple[Any, ...]] = [(1,), ("\0",), (2**63, "a", "b", "c"), (-1, "a", "b", "c"), ("a", 1.5, None), ()]


@each_row("cursor", ["", "x", "é", "=", "bnVsbA", "\ud800", *(write_cursor(*key) for key in _BAD_KEYS)])
def test_a_foreign_cursor_is_refused(archive: Archive, cursor: str) -> None:
    base = archive.database
    asks: list[Callable[[], object]] = [
        lambda: queries.list_trackers(base, TrackerFilter(), cursor=cursor),
        lambda: queries.list_trackers(base, TrackerFilter("a"), cursor=cursor),
        lambda: queries.list_deliveries(base, DeliveryFilter(), NAMES, cursor=cursor),
        lambda: queries.list_messages(base, MessageFilter(), cursor=cursor),
        lambda: queries.list_quarantine(base, cursor=cursor),
        lambda: queries.list_audit(base, cursor=cursor),
    ]
    for ask in asks:
        with pytest.raises(UnexpectedShape):
            ask()


def test_a_forged_cursor_only_begins_elsewhere(archive: Archive) -> None:
    keep(archive, [KnownDelivery("ship24", None, n, None, ((n % 4, n % 3, "event"),)) for n in range(6)])
    base = archive.database

    def found(wanted: TrackerFilter, *key: Any) -> list[str]:
        return [item["tracker_id"] for item in queries.list_trackers(base, wanted, cursor=write_cursor(*key)).items]

    assert found(TrackerFilter(), 0, "", "", "") == []
    assert len(found(TrackerFilter(), 2**63 - 1, "z", "=z", "z")) == 3
    assert found(TrackerFilter("t-1"), "", "", "") == found(TrackerFilter("t-1"), "t", "z", "z") == ["t-1"]
    assert found(TrackerFilter("t-1"), "z", "", "") == []
    last = write_cursor("ffffffff-ffff-ffff-ffff-ffffffffffff")
    assert len(queries.list_deliveries(base, DeliveryFilter(), NAMES, cursor=last).items) == 6
    assert queries.list_deliveries(base, DeliveryFilter(message_id="1"), NAMES, cursor=write_cursor("0")).items == []
