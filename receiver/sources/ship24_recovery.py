"""What Ship24's API tells of a tracker: its events ("results") and its messages ("webhook history"). Pure.

Source: docs.ship24.com, "Trackers" (results, webhook history, resend); its OpenAPI file of 2026-07. Results have no `metadata`,
so no `messageId`. In the examples of the history, messages lack `metadata` and `tracker` too.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from receiver.clock import iso, read_iso, to_micros
from receiver.domain.reading import digest, read_id, read_object, read_text
from receiver.errors import UnexpectedShape
from receiver.sources.ship24 import EVENTS_TOPIC

_FROM_HISTORY = "history:"
_FROM_RESULTS = "results:"

_EXPECTED = "Expected a webhook history of Ship24: an object with `metadata` and a list under `webhooks`."


class Results(NamedTuple):
    """A tracker as Ship24 knows it: its events by their ids, oldest first, and the item of the answer."""

    tracker_id: str
    events: Mapping[str, Any]
    item: Mapping[str, Any]

    @property
    def is_tracked(self) -> bool:
        """Whether Ship24 still asks the courier, unless it says that it does not."""
        return read_object(self.item.get("tracker")).get("isTracked") is not False


class HistoryEntry(NamedTuple):
    """A message in the history: its body, completed where the vendor leaves out ids, and how the vendor's last try ended.

    `message_ids` and `event_ids` are those of all items; `sent_at` is in microseconds, None if it is not known. `is_exact`: the
    body is as the vendor sent it.
    """

    body: bytes
    message_ids: frozenset[str]
    event_ids: frozenset[tuple[str, str]]
    is_delivered: bool
    sent_at: int | None
    is_exact: bool


@dataclass(frozen=True, slots=True)
class WebhookHistory:
    """The messages of a tracker, oldest first, and the URL to which the vendor sends them.

    `unreadable` is the number of further messages that are nested too deeply to be read.
    """

    tracker_id: str | None
    webhook_url: str | None
    entries: Sequence[HistoryEntry]
    unreadable: int = 0


def read_results(answer: object, tracker_id: str) -> Results:
    """Return the tracker in the answer to `GET /trackers/{id}/results`. Raises UnexpectedShape, also for another tracker."""
    trackings = read_object(read_object(answer).get("data")).get("trackings")
    item = trackings[0] if isinstance(trackings, list) and trackings else None
    if not isinstance(item, dict) or _read_tracker_id(item) != tracker_id:
        raise UnexpectedShape(f"Expected results of Ship24 for the tracker {tracker_id} under `data.trackings`.")
    events = item.get("events")
    try:
        named = {_name_event(event): event for event in reversed(events if isinstance(events, list) else [])}
    except orjson.JSONEncodeError:
        raise UnexpectedShape(f"An event of the tracker {tracker_id} is nested too deeply to be read.") from None
    return Results(tracker_id, named, item)


def read_history(root: object, erased: Collection[str] = ()) -> WebhookHistory:
    """Return a webhook history, as it is downloaded, without items of `erased` trackers. Raises UnexpectedShape."""
    webhooks = read_object(root).get("webhooks")
    if not isinstance(webhooks, list):
        raise UnexpectedShape(_EXPECTED)
    metadata = read_object(read_object(root).get("metadata"))
    entries, unreadable = [], 0
    for webhook in reversed(webhooks):
        try:
            entry = _read_entry(read_object(webhook), metadata, erased)
        except orjson.JSONEncodeError:  # nested too deeply
            unreadable += 1
            continue
        if entry is not None:
            entries.append(entry)
    return WebhookHistory(read_id(metadata.get("trackerId")), read_text(metadata.get("webhookUrl")), entries, unreadable)


def build_body(results: Results, event_ids: Collection[str], generated_at: int) -> bytes:
    """Return a body with an item for each of these events, oldest first, for messages that nothing else has.

    The id of each message is made of tracker and event, so it is the same each time. A later true message is a duplicate by its
    event. Raises UnexpectedShape for what is nested too deeply.
    """
    trackings = [
        {
            "metadata": {
                "messageId": name_built(results.tracker_id, event_id),
                "generatedAt": iso(generated_at),
                "topic": EVENTS_TOPIC,
            },
            "tracker": results.item["tracker"],
            "shipment": results.item.get("shipment"),
            "events": [event],
        }
        for event_id, event in results.events.items()
        if event_id in event_ids
    ]
    try:
        return orjson.dumps({"trackings": trackings})
    except orjson.JSONEncodeError:
        raise UnexpectedShape(f"The tracker {results.tracker_id} is nested too deeply to be read.") from None


def name_built(tracker_id: str, event_id: str) -> str:
    """Return the id of the message that is built for an event."""
    return f"{_FROM_RESULTS}{tracker_id}:{event_id}"


def read_moment(value: object) -> int | None:
    """Return a time of the API in microseconds, or None if it is none."""
    try:
        moment = read_iso(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else to_micros(moment)


def _read_entry(webhook: dict[str, Any], metadata: dict[str, Any], erased: Collection[str]) -> HistoryEntry | None:
    body = read_object(webhook.get("requestBody"))
    items = body.get("trackings")
    if not isinstance(items, list) or not items:
        return None
    pushed = webhook.get("pushTimestamp")
    sent_at = read_moment(pushed)
    completed = [_complete(item, metadata, pushed) if isinstance(item, dict) else item for item in items]
    completed = [item for item in completed if not isinstance(item, dict) or _read_tracker_id(item) not in erased]
    if not completed:
        return None
    named = [item for item in completed if isinstance(item, dict)]
    return HistoryEntry(
        orjson.dumps({**body, "trackings": completed}),
        frozenset(name for item in named if (name := _read_message_id(item)) is not None),
        frozenset(_read_events(named)),
        webhook.get("status") == "success",
        sent_at,
        completed == items,
    )


def _complete(item: dict[str, Any], history: dict[str, Any], pushed: object) -> dict[str, Any]:
    """Return an item with the tracker of its history, and with a message id of its content, where it has none."""
    if _read_tracker_id(item) is None:
        tracker = read_object(item.get("tracker"))
        known = ("trackerId", "trackingNumber", "clientTrackerId")
        tracker = {**{name: history.get(name) for name in known}, **tracker, "trackerId": history.get("trackerId")}
        item = {**item, "tracker": tracker}
    if _read_message_id(item) is None:
        content = orjson.dumps([item.get("tracker"), item.get("events"), item.get("data")], option=orjson.OPT_SORT_KEYS)
        metadata = {"generatedAt": pushed, **read_object(item.get("metadata")), "messageId": _FROM_HISTORY + digest(content)}
        item = {**item, "metadata": metadata}
    return item


def _read_tracker_id(item: dict[str, Any]) -> str | None:
    return read_id(read_object(item.get("tracker")).get("trackerId"))


def _read_message_id(item: dict[str, Any]) -> str | None:
    return read_id(read_object(item.get("metadata")).get("messageId"))


def _read_events(items: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for item in items:
        tracker_id = _read_tracker_id(item)
        events = item.get("events")
        for event in events if isinstance(events, list) else []:
            if tracker_id is not None:
                yield tracker_id, _name_event(event)


def _name_event(event: object) -> str:
    """Return the id of an event, as `ship24` reads it."""
    named = read_id(read_object(event).get("eventId"))
    return named or "blake2b:" + digest(orjson.dumps(event, option=orjson.OPT_SORT_KEYS))
