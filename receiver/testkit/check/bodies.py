"""Cases: valid bodies, each unusual in one way, and invalid bodies."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from receiver.testkit.check import judging
from receiver.testkit.check.access import DELIVERY, RETRIED, SPECIFICATION
from receiver.testkit.check.parcels import Parcels, body
from receiver.testkit.check.records import Case, CheckRequest, Judge, Rule, Severity
from receiver.testkit.ship24 import Item

DATA_FORMAT = "docs.ship24.com/data-format"
PROOF = "docs.ship24.com/webhooks/proof-of-delivery"
STATUS = "docs.ship24.com/status"
TRACKERS = "docs.ship24.com/trackers"

_LOST = "takes a 2xx without `success: false` for success and never repeats it: a message that was not understood is lost"
_PUSHED_ON = "repeats the whole delivery, valid and invalid messages, until its attempts are used up"
_MANY_SCRIPTS = "Zugestellt, 配達済み \U0001f4e6 œuvre"

Make = Callable[[Parcels], Sequence[bytes]]


def body_cases() -> tuple[Case, ...]:
    """Return the cases."""
    return (*_groups(), *_nulls(), *_times(), *_words(), *_frames(), *_wrong())


def _groups() -> tuple[Case, ...]:
    return (
        _right(
            "two messages in one delivery",
            "two messages of one tracker, the newer one first",
            DELIVERY,
            lambda p: [
                body(
                    p.item("grouped", "2", [p.event("grouped", "2", 2)]),
                    p.item("grouped", "1", [p.event("grouped", "1", 5)]),
                )
            ],
            outcomes=("applied stale",),
        ),
        _right(
            "nine events in one message",
            "a message with nine events, newest first",
            SPECIFICATION,
            lambda p: [body(p.item("nine", events=p.journey("nine")))],
        ),
        _right(
            "no topic",
            "a message without `metadata.topic`, as older accounts get it",
            SPECIFICATION,
            lambda p: [body(_without(p.item("topicless"), "metadata", "topic"))],
        ),
        _right(
            "proof of delivery",
            "a message, then two with topic `tracking/pod`: no shipment, no events",
            PROOF,
            lambda p: [
                body(p.item("proved")),
                body(p.proof("proved", "found", _FOUND)),
                body(p.proof("proved", "unavailable", {"status": "unavailable", "courier": "fr-post", "content": None})),
            ],
            outcomes=("applied", "recorded", "recorded"),
        ),
    )


def _nulls() -> tuple[Case, ...]:
    return (
        _right(
            "shipment: null",
            "a message whose `shipment` is null, and one without it",
            SPECIFICATION,
            lambda p: [body(p.item("bare", shipment=None)), body(_without(p.item("barer"), "shipment"))],
        ),
        _right(
            "recipient: null",
            "a message whose `shipment.recipient` is null, and every field of `delivery`",
            SPECIFICATION,
            lambda p: [body(p.item("nobody", shipment=p.shipment("nobody", recipient=None, delivery=dict.fromkeys(_DELIVERY))))],
        ),
        _right(
            "no events",
            "messages whose `events` is null, empty and missing",
            SPECIFICATION,
            lambda p: [
                body(p.item("eventless", "1") | {"events": None}),
                body(p.item("eventless", "2") | {"events": []}),
                body(_without(p.item("eventless", "3"), "events")),
            ],
            severity="should",
            outcomes=("recorded", "recorded", "recorded"),
        ),
        _right(
            "nulls in an event",
            "status, order, location and codes null",
            SPECIFICATION,
            lambda p: [body(p.item("nulls", events=[p.event("nulls") | dict.fromkeys(_NULLABLE)]))],
        ),
    )


def _times() -> tuple[Case, ...]:
    def timed(name: str, tracker: str, does: str, time: Callable[[Parcels], str]) -> Case:
        return _right(
            name,
            does,
            DATA_FORMAT,
            lambda p: [body(p.item(tracker, events=[p.event(tracker, occurrenceDatetime=time(p))]))],
        )

    return (
        timed("time without a zone", "zoneless", "2022-10-23T15:13:37: the courier's clock, zone unknown", lambda p: p.local(30)),
        timed("time with an offset", "offset", "2022-12-21T17:01:12+02:00", lambda p: p.offset(30)),
        timed("time in UTC", "utc", "2022-09-03T23:58:12.000Z", lambda p: p.utc(30)),
        timed("a date alone", "dated", "2022-08-14: any time on that day", lambda p: p.day(30)),
        _right(
            "dates of delivery",
            "estimates without a zone, and as objects with `from` and `to`",
            SPECIFICATION,
            lambda p: [body(p.item("estimated", shipment=p.shipment("estimated", delivery=_estimate(p))))],
        ),
    )


def _words() -> tuple[Case, ...]:
    unknown: dict[str, Any] = {
        "statusMilestone": "waiting_for_drone",
        "statusCategory": "airborne",
        "statusCode": "airborne_drone_ready",
    }
    return (
        _right(
            "unknown words",
            "a milestone, a category and a code that are not documented",
            STATUS,
            lambda p: [body(p.item("words", events=[p.event("words", **unknown)], shipment=p.shipment("words", **unknown)))],
        ),
        _right(
            "IDs that are not UUIDs",
            "an opaque `eventId` and `messageId`",
            SPECIFICATION,
            lambda p: [body(_opaque(p))],
        ),
        _right(
            "letters and digits",
            "other scripts, an emoji, leading zeros, a number with 40 digits",
            TRACKERS,
            lambda p: [body(_many_characters(p))],
        ),
    )


def _frames() -> tuple[Case, ...]:
    return (
        _right(
            "unknown keys",
            "undocumented keys at every level",
            SPECIFICATION,
            lambda p: [orjson.dumps({"trackings": [_extended(p)], "version": 2, "new": {"key": [1, None]}})],
        ),
        _right(
            "charset in Content-Type",
            "`application/json; charset=utf-8`",
            SPECIFICATION,
            lambda p: [body(p.item("charset"))],
            severity="should",
            content_type="application/json; charset=utf-8",
        ),
        _right(
            "no messages",
            '{"trackings": []}',
            SPECIFICATION,
            lambda _p: [body()],
            severity="should",
            outcomes=("none",),
        ),
    )


def _wrong() -> tuple[Case, ...]:
    return (
        _refusal(
            "not JSON",
            "a truncated object, an empty body, text",
            lambda _p: [b'{"trackings": [{"meta', b"", b"hello"],
            "4xx, preferably 400: the fault is not in the receiver",
            judging.rejected_by_receiver,
        ),
        _refusal(
            "wrong root",
            "`trackings` as an object, as text and as null; a list as root; no `trackings`",
            lambda p: [
                *(orjson.dumps({"trackings": value}) for value in (p.item("rootless"), "none", None)),
                orjson.dumps([p.item("rootless")]),
                b"{}",
            ],
        ),
        _refusal(
            "the polling API's body",
            "`data.trackings`, as in responses of Ship24's polling API",
            lambda p: [orjson.dumps({"data": {"trackings": [p.item("polled")]}})],
        ),
        _right(
            "an invalid message among valid ones",
            "a message without an ID and a null, between two valid messages",
            SPECIFICATION,
            lambda p: [body(p.item("good", "1"), _unnamed(p), None, p.item("better", "1"))],
            severity="should",
            vendor=_PUSHED_ON,
            outcomes=("applied quarantined quarantined applied",),
        ),
    )


_DELIVERY = ("estimatedDeliveryDate", "courierEstimatedDeliveryDate", "service", "signedBy")
_NULLABLE = ("status", "order", "location", "sourceCode", "courierCode", "statusCode", "statusCategory")
_SPANS = ("courierEstimatedDeliveryDate", "aiPredictiveDeliveryDate")
_FOUND: Item = {
    "status": "found",
    "courier": "fr-post",
    "content": {"type": "text/plain", "text": "Received with thanks", "downloadUrl": None},
}


def _right(
    name: str,
    does: str,
    page: str,
    make: Make,
    severity: Severity = "must",
    vendor: str = RETRIED,
    content_type: str = "application/json",
    outcomes: tuple[str, ...] = (),
) -> Case:
    def make_requests(parcels: Parcels) -> list[CheckRequest]:
        return [CheckRequest(sent, content_type=content_type) for sent in make(parcels)]

    return Case(Rule("bodies", name, does, "2xx", vendor, page, severity), make_requests, judging.accepted, outcomes=outcomes)


def _refusal(
    name: str, does: str, make: Make, expected: str = "4xx or 5xx, preferably 422", judge: Judge = judging.not_accepted
) -> Case:
    rule = Rule("bodies", name, does, expected, _LOST, SPECIFICATION, "should")
    return Case(rule, lambda parcels: [CheckRequest(sent) for sent in make(parcels)], judge)


def _without(item: Item, *path: str) -> Item:
    """Return a message without the value at a path of one or two keys."""
    first, *rest = path
    if not rest:
        return {key: value for key, value in item.items() if key != first}
    return {**item, first: _without(item[first], *rest)}


def _estimate(parcels: Parcels) -> Item:
    """Return all dates of delivery that exist; two of them are objects."""
    days = {"from": parcels.local(-24), "to": parcels.local(-48)}
    return {**dict.fromkeys(_DELIVERY), "estimatedDeliveryDate": parcels.local(-36), **dict.fromkeys(_SPANS, days)}


def _opaque(parcels: Parcels) -> Item:
    item = parcels.item("opaque", events=[parcels.event("opaque", eventId=f"{parcels.prefix}:evt/0001?x=é")])
    item["metadata"]["messageId"] = f"{parcels.prefix}:msg/0001?x=é"
    return item


def _many_characters(parcels: Parcels) -> Item:
    item = parcels.item("letters", events=[parcels.event("letters", status=_MANY_SCRIPTS, location="東京")])
    item["tracker"] |= {"clientTrackerId": "000123", "shipmentReference": f"{'0123456789' * 4}"}
    item["shipment"]["recipient"] |= {"name": "Łukasz Ørsted", "postCode": "00042"}
    return item


def _extended(parcels: Parcels) -> Item:
    added: dict[str, Any] = {"brandNew": {"deep": [1, 2.5, None, {"er": True}]}}
    item = parcels.item("extended", events=[parcels.event("extended", **added)], shipment=parcels.shipment("extended", **added))
    return {**item, **added, "tracker": {**item["tracker"], **added}}


def _unnamed(parcels: Parcels) -> Item:
    """Return a message without an ID; its tracking number contains that of the run."""
    return _without(parcels.item("unnamed"), "metadata", "messageId")
