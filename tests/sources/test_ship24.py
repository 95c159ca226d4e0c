"""Ship24's bodies, from files named for what is odd about them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.clock import to_micros
from receiver.domain.reading import MAX_ITEMS
from receiver.domain.records import Message
from receiver.errors import InvalidJson, UnexpectedShape, Unreadable
from receiver.sources.ship24 import split
from tests.harness.table import each_row

PAYLOADS = Path(__file__).parents[1] / "payloads" / "ship24"


def read(name: str) -> list[Message]:
    return split((PAYLOADS / f"{name}.json").read_bytes())


def read_item(**fields: Any) -> Message:
    item = {"metadata": {"messageId": "m"}, "tracker": {"trackerId": "t"}} | fields
    (message,) = split(orjson.dumps({"trackings": [item]}))
    return message


@each_row(
    ("name", "expected"),
    [
        pytest.param("single", [(None, 1)], id="one item, one event"),
        pytest.param("grouped", [(None, 1)] * 3, id="three items"),
        pytest.param("nine_events_newest_first", [(None, 9)], id="nine events in one item"),
        pytest.param("proof_of_delivery", [(None, 0)], id="proof of delivery"),
        pytest.param("recipient_null", [(None, 1)], id="null recipient"),
        pytest.param("shipment_null", [(None, 1)], id="null shipment"),
        pytest.param("date_only", [(None, 1)], id="bare date"),
        pytest.param("offsets_mixed", [(None, 4)], id="offsets of all sorts"),
        pytest.param("no_topic", [(None, 1)], id="no topic"),
        pytest.param("no_order", [(None, 2)], id="no order"),
        pytest.param("unknown_words", [(None, 1)], id="unknown words and keys"),
        pytest.param("courier_estimate_object", [(None, 1)], id="estimate that is an object"),
        pytest.param("emoji_cut_in_half", [(None, 1)], id="half a surrogate pair"),
        pytest.param("far_future", [(None, 2)], id="a time of the 23rd century"),
        pytest.param("missing_message_id", [(None, 1), ("missing_message_id", 0), (None, 1)], id="no message id"),
        pytest.param("missing_tracker_id", [("missing_tracker_id", 0), (None, 1)], id="no tracker id"),
        pytest.param("item_not_an_object", [(None, 1), *[("not_an_object", 0)] * 4, (None, 1)], id="items of other kinds"),
    ],
)
def test_every_item_and_every_event_is_read(name: str, expected: list[tuple[str | None, int]]) -> None:
    messages = read(name)
    assert [(message.quarantine_reason, len(message.events)) for message in messages] == expected
    assert [message.position for message in messages] == list(range(len(expected)))
    items = orjson.loads((PAYLOADS / f"{name}.json").read_bytes().replace(rb"\ud83d", "\ufffd".encode()))["trackings"]
    assert [orjson.loads(message.raw) for message in messages] == items


@each_row("name", sorted(path.stem for path in PAYLOADS.glob("*.json") if path.stem != "polled"))
def test_an_item_whose_events_are_read_has_no_reason_for_quarantine_and_an_event_one_only_for_its_time(name: str) -> None:
    for message in read(name):
        assert (message.detail is None) == (message.quarantine_reason is None)
        assert [event.quarantine_reason for event in message.events] == [None] * len(message.events)


def test_the_fields_of_an_item_and_its_event() -> None:
    (message,) = read("single")
    assert message.message_id == "3d5c1a70-0001-4c0d-9e1f-00003d5c395f"
    assert message.tracker_id == "81f2b6e4-0001-4c0d-9e1f-000081f2d5d3"
    assert (message.topic, message.subject) == ("tracking/events", "parcel")
    generated_at = to_micros(datetime(2024, 5, 17, 9, 31, 4, 118_000, tzinfo=UTC))
    assert message.snapshot is not None
    assert message.generated_at == generated_at
    assert message.snapshot[:3] == ("LZ482910375SE", "order-70001", "REF-2401")
    assert '"postCode":"01180"' in (message.snapshot.shipment or "")
    (event,) = message.events
    assert event.event_id == "e47b0f21-0001-4c0d-9e1f-0000e47b2e10"
    assert (event.occurrence, event.order) == ("2024-05-16T22:41:00+02:00", 4)
    words = (event.status, event.status_code, event.status_category, event.status_milestone)
    assert words == ("Sorterad vid terminal", None, None, "in_transit")
    assert (event.location, event.courier_code) == ("Rosersberg, SE", "se-nordpak")


@each_row(
    ("generated_at", "moment"),
    [
        ("2024-05-17T09:31:04.118Z", datetime(2024, 5, 17, 9, 31, 4, 118_000, tzinfo=UTC)),
        (" 2024-05-17T11:31:04+02:00 ", datetime(2024, 5, 17, 9, 31, 4, tzinfo=UTC)),
        ("2024-05-17T09:31:04", datetime(2024, 5, 17, 9, 31, 4, tzinfo=UTC)),
        ("2024-05-17t09:31:04z", datetime(2024, 5, 17, 9, 31, 4, tzinfo=UTC)),
        *((unknown, datetime(1970, 1, 1, tzinfo=UTC)) for unknown in ("1969-12-31T23:59:59Z", "soon", "", None, 1715938264)),
    ],
)
def test_the_time_of_building_is_read_with_its_zone_and_is_zero_if_unknown(generated_at: object, moment: datetime) -> None:
    message = read_item(metadata={"messageId": "m", "generatedAt": generated_at})
    assert message.generated_at == to_micros(moment)


@each_row(
    ("shipment", "milestone"),
    [
        ({"statusMilestone": " delivered "}, "delivered"),
        *((block, None) for block in ({"statusMilestone": " "}, {"statusMilestone": None}, {}, None, "delivered")),
    ],
)
def test_the_senders_own_view_is_the_milestone_of_the_block(shipment: object, milestone: str | None) -> None:
    snapshot = read_item(shipment=shipment).snapshot
    assert snapshot is not None
    assert snapshot.shipment_milestone == milestone


def test_events_stand_as_they_came_newest_first() -> None:
    (message,) = read("nine_events_newest_first")
    assert [event.order for event in message.events] == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert message.events[0].status_category == "delivery"


def test_a_proof_of_delivery_has_its_topic_and_nothing_to_replace() -> None:
    (message,) = read("proof_of_delivery")
    assert message.topic == "tracking/pod"
    assert message.snapshot is not None
    assert message.snapshot.shipment is None
    assert message.snapshot.shipment is None


def test_a_null_shipment_counts_as_absent() -> None:
    snapshots = [read("shipment_null")[0].snapshot, read_item(shipment=None).snapshot, read_item().snapshot]
    assert [snapshot and snapshot.shipment for snapshot in snapshots] == [None] * 3


def test_a_body_without_a_topic_tells_events() -> None:
    assert read("no_topic")[0].topic == "tracking/events"


def test_an_order_may_be_absent_or_null() -> None:
    assert [event.order for event in read("no_order")[0].events] == [None, None]


def test_a_time_is_kept_as_it_came() -> None:
    assert [event.occurrence for event in read("offsets_mixed")[0].events] == [
        "2024-05-17T08:40:00-05:00",
        "2024-05-17T15:10:00+0300",
        "2024-05-17T04:30:00.000Z",
        "2024-05-16T23:59:59",
    ]
    assert read("date_only")[0].events[0].occurrence == "2024-05-16"


def test_unknown_words_are_kept() -> None:
    (event,) = read("unknown_words")[0].events
    assert (event.status_code, event.status_category, event.status_milestone) == ("drone_launched", "drone", "airborne")


def test_a_polled_body_is_told_what_it_is() -> None:
    with pytest.raises(UnexpectedShape, match="polling API") as refusal:
        read("polled")
    assert refusal.value.status == 422


@each_row(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"trackings"',
        b'{"trackings":null}',
        b'{"trackings":{}}',
        b'{"data":[]}',
        b'[{"trackings":[]}]',
    ],
    ids=bytes.decode,
)
def test_another_root_is_told_what_is_expected(body: bytes) -> None:
    with pytest.raises(UnexpectedShape, match=r'Expected an object with a list under "trackings"'):
        split(body)


@each_row("body", [b"", b" ", b"trackings", b"{", b"\xff\xfe{}", b'{"trackings":[NaN]}', b"<xml/>", b"\0"], ids=repr)
def test_what_is_not_json_is_told_so(body: bytes) -> None:
    with pytest.raises(InvalidJson) as refusal:
        split(body)
    assert refusal.value.status == 400


def test_no_items_are_no_messages() -> None:
    assert split(b'{"trackings":[]}') == []


@each_row(
    ("fields", "reason"),
    [
        pytest.param({"metadata": None}, "missing_message_id", id="null metadata"),
        pytest.param({"metadata": []}, "missing_message_id", id="metadata that is a list"),
        pytest.param({"metadata": {"messageId": ""}}, "missing_message_id", id="empty message id"),
        pytest.param({"metadata": {"messageId": "  "}}, "missing_message_id", id="blank message id"),
        pytest.param({"metadata": {"messageId": None}}, "missing_message_id", id="null message id"),
        pytest.param({"metadata": {"messageId": {}}}, "missing_message_id", id="message id that is an object"),
        pytest.param({"tracker": None}, "missing_tracker_id", id="null tracker"),
        pytest.param({"tracker": {"trackerId": True}}, "missing_tracker_id", id="tracker id that is true"),
        pytest.param({"events": {}}, "events_not_a_list", id="events that are an object"),
        pytest.param({"events": "none"}, "events_not_a_list", id="events that are a word"),
        pytest.param({"events": None}, None, id="null events"),
        pytest.param({"metadata": {"messageId": 4711}}, None, id="message id that is a number"),
        pytest.param({"shipment": [], "statistics": 7}, None, id="blocks of other kinds"),
    ],
)
def test_the_reason_for_quarantine_is_named_and_the_item_kept(fields: dict[str, Any], reason: str | None) -> None:
    message = read_item(**fields)
    assert (message.quarantine_reason, message.events) == (reason, ())
    assert fields.items() <= orjson.loads(message.raw).items()


@each_row(
    ("event", "reason"),
    [
        pytest.param({"eventId": "e"}, "missing_occurrence", id="no time"),
        pytest.param({"eventId": "e", "occurrenceDatetime": None}, "missing_occurrence", id="null time"),
        pytest.param({"eventId": "e", "occurrenceDatetime": ""}, "missing_occurrence", id="empty time"),
        pytest.param({"eventId": "e", "datetime": "2022-08-14T10:00:00Z"}, "missing_occurrence", id="the deprecated time alone"),
        pytest.param("delivered", "not_an_object", id="a word"),
        pytest.param(None, "not_an_object", id="null"),
        pytest.param({"occurrenceDatetime": "soon"}, None, id="a time that is weighed later"),
    ],
)
def test_an_event_that_cannot_be_applied_says_why(event: object, reason: str | None) -> None:
    (read_event,) = read_item(events=[event]).events
    assert (read_event.quarantine_reason, orjson.loads(read_event.raw)) == (reason, event)


def test_a_missing_event_id_is_derived_from_the_content_whatever_the_order_of_keys() -> None:
    at = "2024-05-16T09:00:00Z"
    contents = {"occurrenceDatetime": at, "status": "A"}, {"status": "A", "occurrenceDatetime": at}, {"status": "B"}
    first, second, other = (read_item(events=[event]).events[0].event_id for event in contents)
    assert first == second != other
    assert first.startswith("blake2b:")


@each_row(
    ("order", "kept"),
    [(0, 0), (-1, -1), (2**63 - 1, 2**63 - 1), (-(2**63), -(2**63)), (2**63, None), (1.5, None), ("3", None), (True, None)],
)
def test_an_order_is_a_whole_number_that_a_database_can_keep(order: object, kept: int | None) -> None:
    (event,) = read_item(events=[{"occurrenceDatetime": "2024-05-16", "order": order}]).events
    assert event.order == kept


@each_row("digits", ["9" * 19, "9" * 20, "-" + "9" * 30, "1e300"])
def test_a_number_beyond_64_bits_harms_nobody(digits: str) -> None:
    event = f'{{"occurrenceDatetime":"2024-05-16","order":{digits}}}'
    item = f'{{"metadata":{{"messageId":"m"}},"tracker":{{"trackerId":"t"}},"events":[{event}]}}'
    (message,) = split(f'{{"trackings":[{item}]}}'.encode())
    assert (message.quarantine_reason, message.events[0].order, message.events[0].quarantine_reason) == (None, None, None)


def test_nul_and_length_of_texts_are_bounded_and_the_raw_event_is_whole() -> None:
    (event,) = read_item(events=[{"status": "a\0b" + "x" * 5000, "statusCode": "y" * 5000, "location": "\0"}]).events
    assert event.status == "a\N{SYMBOL FOR NULL}b" + "x" * 1997
    assert (event.status_code, event.location) == ("y" * 200, "\N{SYMBOL FOR NULL}")
    assert len(event.raw) > 10_000


def test_long_identities_are_replaced_by_their_hash() -> None:
    one, other = (read_item(metadata={"messageId": "m" * 500 + end}, tracker={"trackerId": "t\0"}) for end in "ab")
    assert (one.quarantine_reason, one.tracker_id) == (None, other.tracker_id)
    assert str(one.message_id).startswith("blake2b:")
    assert one.message_id != other.message_id


def test_white_space_around_a_build_time_is_no_part_of_it() -> None:
    plain, padded = (
        read_item(metadata={"messageId": "m", "generatedAt": f"{around}2024-05-17T09:31:04.118Z{around}"}).generated_at
        for around in ("", " \u00a0\n")
    )
    assert padded == plain != 0


@each_row("value", [None, "", "soon", 7, "2024-02-30T00:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_any_build_time_gives_a_moment_that_a_database_can_keep(value: object) -> None:
    generated_at = read_item(metadata={"messageId": "m", "generatedAt": value}, shipment={}).generated_at
    assert generated_at is not None
    assert abs(generated_at) < 2**63


def test_equal_items_have_equal_digests_whatever_the_order_of_keys() -> None:
    one = read_item(events=[], extra=1)
    other = read_item(extra=1, events=[])
    assert (one.digest, one.raw) == (other.digest, other.raw)
    assert read_item(events=[], extra=2).digest != one.digest


@each_row("events", [0, 4], ids=["items alone", "items with events"])
def test_items_and_events_of_one_body_are_bounded(events: int) -> None:
    def make(count: int) -> bytes:
        return orjson.dumps({"trackings": [{"events": [{}] * events}] * count})

    assert len(split(make(MAX_ITEMS // (1 + events)))) == MAX_ITEMS // (1 + events)
    with pytest.raises(UnexpectedShape, match=f"at most {MAX_ITEMS}"):
        split(make(MAX_ITEMS // (1 + events) + 1))


def test_an_item_nested_beyond_writing_is_set_apart_alone() -> None:
    deep = b'{"metadata":{"messageId":"m"},"x":' + b"[" * 600 + b"]" * 600 + b"}"
    first, second = split(b'{"trackings":[' + deep + b',{"metadata":{"messageId":"n"},"tracker":{"trackerId":"t"}}]}')
    assert (first.quarantine_reason, first.position) == ("too_deep", 0)
    assert (second.quarantine_reason, second.position) == (None, 1)


KEYS = st.sampled_from(["metadata", "messageId", "tracker", "trackerId", "shipment", "events", "eventId", "order"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.lists(VALUES, max_size=5))
def test_every_item_of_any_content_becomes_one_message(items: list[object]) -> None:
    messages = split(json.dumps({"trackings": items}).encode())
    assert [message.position for message in messages] == list(range(len(items)))
    assert all(message.quarantine_reason or message.message_id for message in messages)


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_any_bytes_are_read_or_refused_in_our_own_words(body: bytes) -> None:
    status = 200
    try:
        split(body)
    except Unreadable as error:
        status = error.status
    assert status in {200, 400, 422}
