"""Labels for people: the text that pages, alarms and explanations show for a code. The API and the logs keep the code."""

_LABELS = {
    "ship24": "Ship24",
    "shiipp": "Shiipp",
    # Kinds of delivery
    "new-package": "new package",
    "manifest-status": "manifest status",
    "customers": "customer list",
    # Channels of alarm notices, and their formats
    "url": "URL",
    "json": "JSON",
    "teams": "Microsoft Teams",
    "ntfy": "ntfy",
    # States of a change for a target
    "dead": "failed for good",
    "not_delivered": "not delivered",
    "paused": "the target is paused",
    "stopped": "the target is stopped",
    "earlier_change": "an earlier change is first",
    # Outcomes of a message or an event
    "applied": "applied",
    "stale": "out of date",
    "duplicate": "duplicate",
    "recorded": "stored (no event)",
    "quarantined": "quarantined",
    "not_applied": "not applied",
    # Outcomes of a delivery
    "accepted": "accepted",
    "refused": "rejected",
    "unreadable": "invalid",
    "failed": "failed (our fault)",
    # Reasons of a verdict
    "older": "older than current status",
    "tie": "same time as current status",
    "superseded": "superseded by a correction",
    "revised": "corrected",
    "content_differs": "same ID, different content",
    # Reasons for quarantine
    "not_an_object": "item is not an object",
    "too_deep": "nested too deeply",
    "missing_message_id": "no message ID",
    "missing_tracker_id": "no tracker ID",
    "events_not_a_list": "events are not a list",
    "missing_occurrence": "no event time",
    "bad_occurrence": "invalid event time",
    "implausible_future": "event time too far in the future",
    "unmapped": "no ID or tracking number",
    "undecidable": "internal error",
    "not_of_test": "not of this test",
    "test_of_real_tracker": "test of a real tracker",
    # Error codes
    "unauthorized": "no valid token",
    "address_not_allowed": "IP address not allowed",
    # Causes of a delivery without a valid token
    "no_token": "no token was sent",
    "api_key": "API key of Ship24",
    "other_source": "token of another source",
    "ops_token": "operator's token",
    "removed_token": "removed token",
    "wrapped": "right token with something around it",
    "without_bearer": "without the word Bearer",
    "basic": "sent as Basic",
    "other_header": "token in another header",
    "in_query": "token in the URL",
    "several_headers": "several Authorization headers",
    "invalid_json": "invalid JSON",
    "unexpected_shape": "unexpected JSON structure",
    "busy": "queue full",
    "storage_unavailable": "database unavailable",
    "caller_gone": "client disconnected",
}


def label(code: str) -> str:
    """Return the label of a code, with a capital. A code without a label is written with spaces: `Out for delivery`."""
    text = _text(code)
    return text[:1].upper() + text[1:]


def label_verdict(outcome: str, reason: str | None) -> str:
    """Return the label of an outcome with its reason: `Out of date: older than current status`."""
    return label(outcome) if reason is None else f"{label(outcome)}: {_text(reason)}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 delivery`, `1,312 deliveries`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _text(code: str) -> str:
    return _LABELS.get(code, code.replace("_", " "))
