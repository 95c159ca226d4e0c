"""Why did it happen? The answers in sentences, for the API, the console and the command line.

Reads through the queries; what a message said is read again from its kept bytes, so that events that were known before are told
too.
"""

from collections.abc import Sequence
from typing import Any

from receiver.domain.records import Message
from receiver.errors import NotFound, ReceiverError
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.database import Database

_RULES = {
    "unauthorized": "The rule: a call needs a bearer token that is set for this source (RECEIVER_{source}_TOKENS).",
    "address_not_allowed": (
        "The rule: the token was right, but calls may only come from the listed addresses (RECEIVER_{source}_ALLOWED_IPS, "
        "RECEIVER_{source}_IP_POLICY); a setup window lets any address in for a while."
    ),
    "not_found": "The rule: a source without a token is off (RECEIVER_{source}_TOKENS).",
    "method_not_allowed": "The rule: this path takes only the methods that its `Allow` header named.",
    "body_too_large": "The rule: a body may not be larger than RECEIVER_MAX_BODY_BYTES; no more of it was read.",
    "body_incomplete": "The rule: a whole request must arrive within RECEIVER_BODY_TIMEOUT_SECONDS; this one did not.",
    "invalid_json": "The rule: a body must be JSON. All its bytes are kept.",
    "unexpected_shape": "The rule: the JSON must have the shape that this path takes. All its bytes are kept.",
    "busy": "The rule: at most RECEIVER_QUEUE_DELIVERIES calls may wait; the sender was asked to come again.",
    "storage_unavailable": "The database could not keep it in time; the sender was asked to come again.",
    "no_customer_list": "No customer list had been imported.",
    "caller_gone": "The caller hung up before it had the whole answer.",
}

_WHY_STALE = {
    "older": "which is newer",
    "superseded": "and this is an earlier version of an event that was corrected",
    "tie": "which is as new: neither the times nor an `order` on both say which came later",
}


def explain(database: Database, sources: Sequence[Source], some_id: str) -> dict[str, Any]:
    """Return the story of a message, or of the call with this id; `about` says which. Raises NotFound."""
    try:
        return {"about": "message", **explain_message(database, sources, some_id)}
    except NotFound:
        pass
    try:
        return {"about": "delivery", **explain_delivery(queries.show_delivery(database, some_id))}
    except NotFound:
        raise NotFound(f"No message and no delivery {some_id} is on record.") from None


def explain_message(database: Database, sources: Sequence[Source], message_id: str) -> dict[str, Any]:
    """Return what became of a message (`queries.show_message`), with all its events and its `story`. Raises NotFound."""
    found = queries.show_message(database, message_id, NAMES)
    found["events"] = [{**event, "known_from": None} for event in found["events"]]
    message = _read_again(database, sources, found)
    if message is not None and found["tracker_id"] is not None:
        found["events"] += _known_events(database, found, message)
    latest = next((event["against"] for event in found["events"] if event["outcome"] == "stale" and event["against"]), None)
    told = list(_tell_message(found))
    if message is None:
        told.append("What it said is no longer kept, so events that were known before cannot be told.")
    return {**found, "against": latest, "story": told}


def explain_delivery(stored: queries.StoredDelivery) -> dict[str, Any]:
    """Return a call as the API shows it, with its `story`."""
    return {**stored.as_json(), "story": list(_tell_delivery(stored))}


def _known_events(database: Database, found: dict[str, Any], message: Message) -> list[dict[str, Any]]:
    """Return the events that the message told and that the tracker knew from another one."""
    told_first = {event["event_id"] for event in found["events"]}
    apart = {part["event_position"] for part in found["quarantined"]}
    digests = {
        event.event_id: event.digest
        for position, event in enumerate(message.events)
        if event.event_id and event.event_id not in told_first and position not in apart
    }
    known = queries.find_events(database, found["source"], found["tracker_id"], digests)
    return [
        {
            **{name: value for name, value in event.items() if name != "differs"},
            "outcome": "duplicate",
            "reason": "content_differs" if event["differs"] else None,
            "against": None,
            "known_from": event["message_id"],
        }
        for event in known.values()
    ]


def _read_again(database: Database, sources: Sequence[Source], found: dict[str, Any]) -> Message | None:
    """Return the message as its bytes say it; None where they are not kept or no longer read that way."""
    try:
        stored = queries.show_delivery(database, found["delivery_id"])
    except NotFound:
        return None
    source = next((s for s in sources if (s.name, s.kind) == (found["source"], stored.row["kind"])), None)
    if source is None or stored.body is None:
        return None
    try:
        messages = source.split(stored.body)
    except ReceiverError:
        return None
    return next((message for message in messages if message.position == found["position"]), None)


def _tell_message(found: dict[str, Any]) -> list[str]:
    told = [f"Message {found['message_id']} is from {found['source']}{_of_tracker(found)}."]
    told += [_tell_call(number, carried) for number, carried in enumerate(found["deliveries"])]
    told += [_tell_event(event) for event in found["events"]]
    for part in found["quarantined"]:
        what = "The whole message" if part["event_position"] is None else f"Event {part['event_position'] + 1} of the message"
        told.append(f"{what} was set apart: {part['reason']}. {part['detail'] or ''}".strip())
    if found["outcome"] == "recorded":
        told.append("It carries no event, so there was nothing to apply; it is kept.")
    return told


def _tell_call(number: int, carried: dict[str, Any]) -> str:
    call = carried["call"]
    came = "again" if number else "first"
    client = call["client"] or call["peer"] or "an unknown address"
    note = f" ({call['note']})" if call["note"] else ""
    token, verdict = call["token"] or "unknown", _verdict(carried["outcome"], carried["reason"])
    return (
        f"It came {came} at {call['received_at']} with delivery {carried['delivery_id']}, as item {carried['position'] + 1}, "
        f"from {client}, let in by the token {token}{note}: {verdict}."
    )


def _of_tracker(found: dict[str, Any]) -> str:
    if found["tracker_id"] is None:
        return ""
    number = f" (tracking number {found['tracking_number']})" if found["tracking_number"] else ""
    return f" and tells of tracker {found['tracker_id']}{number}"


def _tell_event(event: dict[str, Any]) -> str:
    name = f"Event {event['event_id']}, “{event['status'] or 'no text'}” of {event['occurrence']}"
    if event["outcome"] == "applied":
        how = "it corrects an earlier version" if event["reason"] == "revised" else "it was newer than all that was known"
        return f"{name}, was applied: {how}, and the tracker moved to it."
    if event["outcome"] == "duplicate":
        other = ", with other content" if event["reason"] else ""
        return f"{name}, was a duplicate: message {event['known_from']} had told it before{other}."
    rival = event["against"]
    if rival is None:
        return f"{name}, is {_verdict(event['outcome'], event['reason'])}."
    stood = (
        f"“{rival['status'] or 'no text'}” of {rival['occurrence']} (event {rival['event_id']}, received {rival['received_at']})"
    )
    verdict = _verdict(event["outcome"], event["reason"])
    return f"{name}, is {verdict}: the tracker already stood at {stood}, {_WHY_STALE[event['reason']]}."


def _tell_delivery(stored: queries.StoredDelivery) -> list[str]:
    row = stored.row
    through = "" if row["peer"] == row["client"] else f" through {row['peer']}"
    client = row["client"] or "an unknown address"
    told = [f"Delivery {row['id']}: {row['method']} {row['path']} came at {row['received_at']} from {client}{through}."]
    if row["token"]:
        note = f" ({row['note']})" if row["note"] else ""
        told.append(f"It was let in by the token {row['token']}{note}.")
    if row["code"] is None:
        told.append(f"It was answered {row['status']}.")
    else:
        told.append(f"It was {row['outcome']}: {row['status']} {row['code']}. {row['reason'] or ''}".strip())
        told.append(_RULES.get(row["code"], "").format(source=row["source"].upper()))
    if stored.body is None:
        told.append("Its bytes and those of our answer are no longer kept.")
    for item in stored.items:
        message_id = item["message_id"] or "without an id"
        told.append(f"Item {item['position'] + 1}, message {message_id}: {_verdict(item['outcome'], item['reason'])}.")
    return [sentence for sentence in told if sentence]


def _verdict(outcome: str, reason: str | None) -> str:
    return f"{outcome} ({reason})" if reason else outcome
