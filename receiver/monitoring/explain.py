"""Explanations of messages, deliveries and trackers in sentences, for the API, the console and the command line.

A repeated event is not stored again. So the body of the message is read once more to name the events that it repeats.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from receiver.domain.advice import advise_verdict
from receiver.domain.imports import IMPORT
from receiver.domain.labels import label, label_verdict
from receiver.domain.records import WEBHOOK, Message
from receiver.domain.refusals import describe_cause
from receiver.errors import Ambiguous, NotFound, ReceiverError
from receiver.monitoring.search import search_everything
from receiver.sources import NAMES, Source
from receiver.storage import queries
from receiver.storage.database import Database

_ADVICE = {  # by error code; it follows the message of the error
    "unauthorized": "Compare the sender's token with RECEIVER_{source}_TOKENS.",
    "address_not_allowed": "Add {client} to RECEIVER_{source}_ALLOWED_IPS, or open a setup window for test deliveries.",
    "not_found": "The source is disabled. Add a token to RECEIVER_{source}_TOKENS to enable it.",
    "method_not_allowed": "The `Allow` header of the response lists the methods of this path.",
    "headers_too_large": "The sender must send fewer or shorter headers.",
    "body_too_large": "RECEIVER_MAX_BODY_BYTES is the limit. The rest of the body was not read.",
    "body_incomplete": "RECEIVER_BODY_TIMEOUT_SECONDS limits the time for a whole request.",
    "invalid_json": "The body is stored.",
    "unexpected_shape": "The body is stored.",
    "busy": "RECEIVER_QUEUE_DELIVERIES deliveries were already waiting. The sender will retry.",
    "storage_unavailable": "The sender will retry.",
    "no_customer_list": "Import one with `receiver customers import`.",
}


_MAX_NAMED = 10  # of each kind that an ambiguous text matches


def explain(database: Database, sources: Sequence[Source], text: str) -> dict[str, Any]:
    """Explain what a text names: an id of a message or a delivery, or the only hit of the search; `about` says the kind.

    Raises NotFound if there is none, and Ambiguous if there are several.
    """
    with suppress(NotFound):
        return {"about": "message", **explain_message(database, sources, text)}
    found = search_everything(database, text, _MAX_NAMED)
    hits = found._replace(customers=[]).hits() or found.hits()  # the packages of a customer say more than the customer
    if not hits:
        raise NotFound(f"Nothing has the number, ID, reference or customer code {text}.")
    if len(hits) > 1:
        raise Ambiguous.among(text, "entries", [name_hit(kind, row) for kind, row in hits])
    ((kind, row),) = hits
    return {"about": kind, **_explain_hit(database, sources, kind, row)}


def name_hit(kind: str, row: Mapping[str, Any]) -> str:
    """Return the text that names a hit of the search on the command line."""
    if kind == "tracker":
        return f"{row['source']}/{row['tracker_id']}"
    return str(row[{"message": "message_id", "delivery": "id", "customer": "UserCode"}[kind]])


def _explain_hit(database: Database, sources: Sequence[Source], kind: str, row: dict[str, Any]) -> dict[str, Any]:
    if kind == "message":
        return explain_message(database, sources, row["message_id"])
    if kind == "delivery":
        return explain_delivery(queries.show_delivery(database, row["id"]))
    if kind == "tracker":
        found = queries.show_tracker(database, row["source"], row["tracker_id"])
        return {**found, "explanation": _explain_tracker(found)}
    names = " ".join(filter(None, (row.get("FirstName"), row.get("LastName"))))
    return {
        "customer": row,
        "explanation": [f"Customer {row['UserCode']} ({names or 'no name'}) is in the list that Shiipp gets."],
    }


def explain_message(database: Database, sources: Sequence[Source], message_id: str) -> dict[str, Any]:
    """Return a message (`queries.show_message`) with all its events and the sentences in `explanation`. Raises NotFound."""
    found = queries.show_message(database, message_id, NAMES)
    corrected_by = _find_corrections(database, found)
    found["events"] = [{**event, "known_from": None} for event in found["events"]]
    message = _read_again(database, sources, found)
    if message is not None and found["tracker_id"] is not None:
        found["events"] += _known_events(database, found, message)
    latest = next((event["against"] for event in found["events"] if event["outcome"] == "stale" and event["against"]), None)
    sentences = _explain_message(found, corrected_by)
    if message is None:
        sentences.append("The body was deleted, so repeated events cannot be shown.")
    return {**found, "against": latest, "explanation": sentences}


def explain_delivery(stored: queries.StoredDelivery) -> dict[str, Any]:
    """Return a delivery as the API shows it, with the sentences in `explanation`."""
    return {**stored.as_json(), "explanation": _explain_delivery(stored)}


def explain_failure(row: Mapping[str, Any]) -> list[str]:
    """Return why a delivery was not accepted and what to do, or nothing if it was. `row` is a row of deliveries."""
    if row["code"] is None:
        return []
    why = f"{label(row['outcome'])}: {row['status']} {row['code']}. {row['reason'] or ''}".strip()
    advice = _ADVICE.get(row["code"], "").format(source=row["source"].upper(), client=row["client"] or "the client's address")
    if row["cause"] is not None:
        advice = describe_cause(row["source"], row["cause"], row["note"]) or advice
    return [why, advice] if advice else [why]


def explain_import(row: Mapping[str, Any]) -> list[str]:
    """Return how a delivery was brought in, or nothing if its sender made it. `row` is a row of deliveries."""
    if row["origin"] == WEBHOOK:
        return []
    how = f"{_explain_origin(row)}."
    note = [row["note"]] if row["note"] else []
    return [how, *note, f"Body {row['body_number']} of its file, as {label(row['source'])} would send it to {row['path']}."]


def _find_corrections(database: Database, found: dict[str, Any]) -> dict[str, str]:
    """Return the messages whose versions of this message's events count now, by event id."""
    superseded = dict.fromkeys((event["event_id"] for event in found["events"] if event["superseded"]), "")
    if not superseded:
        return {}
    versions = queries.find_events(database, found["source"], found["tracker_id"], superseded)
    return {event_id: version["message_id"] for event_id, version in versions.items() if not version["superseded"]}


def _known_events(database: Database, found: dict[str, Any], message: Message) -> list[dict[str, Any]]:
    """Return the events of the message that an earlier message had brought."""
    stored = {event["event_id"] for event in found["events"]}
    quarantined = {part["event_position"] for part in found["quarantined"]}
    digests = {
        event.event_id: event.digest
        for position, event in enumerate(message.events)
        if event.event_id and event.event_id not in stored and position not in quarantined
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
    """Return the message from its stored body; None if the body was deleted or cannot be read any more."""
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


def _explain_message(found: dict[str, Any], corrected_by: Mapping[str, str]) -> list[str]:
    sentences = [f"Message {found['message_id']} ({label(found['source'])}){_for_tracker(found)}."]
    sentences += [_explain_copy(number, copy) for number, copy in enumerate(found["deliveries"])]
    sentences += [_explain_event(event) for event in found["events"]]
    sentences += [f"Event {name} was corrected: the version of message {by} counts." for name, by in corrected_by.items()]
    sentences += [_explain_quarantined(part) for part in found["quarantined"]]
    if found["outcome"] == "recorded":
        sentences.append("Contains no event. Stored only.")
    verdicts = [found, *(copy for copy in found["deliveries"] if copy["reason"])]
    advice = [advise_verdict(each["outcome"], each["reason"]) for each in verdicts]
    return sentences + [text for text in dict.fromkeys(advice) if text]


def _for_tracker(found: dict[str, Any]) -> str:
    if found["tracker_id"] is None:
        return ""
    number = f" (tracking number {found['tracking_number']})" if found["tracking_number"] else ""
    return f" for tracker {found['tracker_id']}{number}"


def _explain_copy(number: int, copy: dict[str, Any]) -> str:
    delivery = copy["delivery"]
    if (delivery["origin"] or WEBHOOK) != WEBHOOK:
        place = f" in delivery {copy['delivery_id']}, message {copy['position'] + 1}"
        return f"{_explain_origin(delivery, place)}. {label_verdict(copy['outcome'], copy['reason'])}."
    received = "Received again" if number else "First received"
    client = delivery["client"] or delivery["peer"] or "an unknown address"
    note = f" ({delivery['note']})" if delivery["note"] else ""
    token = f"token {delivery['token']}" if delivery["token"] else "an unknown token"
    return (
        f"{received} at {delivery['received_at']} in delivery {copy['delivery_id']}, message {copy['position'] + 1}, "
        f"from {client} with {token}{note}. {label_verdict(copy['outcome'], copy['reason'])}."
    )


def _explain_origin(delivery: Mapping[str, Any], place: str = "") -> str:
    """Return how, when and in which `place` something was brought in that its sender did not send."""
    how = "Imported" if delivery["origin"] == IMPORT else "Found missing at the sender and imported"
    sent = "" if delivery["sent_at"] is None else f"; first sent at {delivery['sent_at']}"
    return f"{how} at {delivery['received_at']}{place}{sent}"


def _explain_quarantined(part: dict[str, Any]) -> str:
    """Return what is wrong with a quarantined message or event, and what to do, or how it was closed."""
    name = "Message" if part["event_position"] is None else f"Event {part['event_position'] + 1}"
    sentence = f"{name} quarantined: {part['detail'] or label(part['reason']) + '.'}"
    if part["state"] == "open":
        return f"{sentence} {part['advice']}"
    by = "" if part["closed_by"] is None else f" by {part['closed_by']}"
    note = "" if part["note"] is None else f": {part['note']}"
    return f"{sentence} {label(part['state'])} at {part['closed_at']}{by}{note}."


def _explain_event(event: dict[str, Any]) -> str:
    """Return a sentence on an event. A stale one is compared with the event in `against`, which was the latest one then."""
    name = f"Event {event['event_id']}, “{event['status'] or 'no text'}” of {event['occurrence']}"
    outcome, reason, against = event["outcome"], event["reason"], event["against"]
    if outcome == "applied":
        corrected = " It corrects an earlier version." if reason == "revised" else ""
        return f"{name}: Applied. This became the current status.{corrected}"
    if outcome == "duplicate":
        content = " with different content" if reason else ""
        return f"{name}: Duplicate. First received{content} in message {event['known_from']}."
    if outcome != "stale" or against is None:
        return f"{name}: {label_verdict(outcome, reason)}."
    other = f"“{against['status'] or 'no text'}” of {against['occurrence']} (event {against['event_id']})"
    if reason == "superseded":
        return f"{name}: Not applied. It is an earlier version of a corrected event. Current status then: {other}."
    if reason == "tie":
        return f"{name}: Not applied. It has the same time as {other}, and no `order` says which is newer."
    return f"{name}: Not applied. {other} is newer."


def _explain_tracker(found: dict[str, Any]) -> list[str]:
    tracker, events = found["tracker"], found["events"]
    number = f" (tracking number {tracker['tracking_number']})" if tracker["tracking_number"] else ""
    sentences = [f"{label(tracker['source'])} {tracker['subject']} {tracker['tracker_id']}{number}."]
    if tracker["latest_occurrence"] is None:
        sentences.append("No event was applied yet.")
    else:
        name = f"“{tracker['status'] or 'no text'}” of {tracker['latest_occurrence']}"
        sentences.append(
            f"Current status: {name}, applied at {tracker['applied_at']} from message {tracker['latest_message_id']}."
        )
    if tracker["milestone_differs"]:
        sentences.append(f"The sender's own view differs: {tracker['shipment_milestone']}.")
    last = max(events, key=lambda event: str(event["received_at"]), default=None)
    if last is not None and last["event_id"] != tracker["latest_event_id"]:
        verdict = label_verdict(last["outcome"], last["reason"])
        sentences.append(f"The last event came at {last['received_at']} in message {last['message_id']}: {verdict}.")
    return sentences


def _explain_request(row: Mapping[str, Any]) -> list[str]:
    client = row["client"] or "an unknown address"
    via = "" if row["peer"] == row["client"] else f" via {row['peer']}"
    sentences = [f"Delivery {row['id']}: {row['method']} {row['path']} at {row['received_at']} from {client}{via}."]
    if row["token"]:
        note = f" ({row['note']})" if row["note"] else ""
        sentences.append(f"Authenticated with token {row['token']}{note}.")
    return sentences + (explain_failure(row) or [f"Response: {row['status']} {HTTPStatus(row['status']).phrase}."])


def _explain_delivery(stored: queries.StoredDelivery) -> list[str]:
    row = stored.row
    sentences = [f"Delivery {row['id']}.", *explain_import(row)] if row["origin"] != WEBHOOK else _explain_request(row)
    if stored.body is None:
        sentences.append("The bodies of request and response were deleted (retention).")
    for item in stored.items:
        message_id = item["message_id"] or "without an ID"
        verdict = label_verdict(item["outcome"], item["reason"])
        sentences.append(f"Message {item['position'] + 1}, {message_id}: {verdict}.")
    return sentences
