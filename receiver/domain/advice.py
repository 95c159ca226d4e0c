"""Advice for messages and events that were not applied: what happened, and what to do about it. Pure."""

_SENDER = "Report it to the sender. If it sends the message again with other content, that copy is applied without your help."
_FORCE = "replay its delivery including quarantined messages"

_ADVICE = {  # by reason, one text for pages, commands and the API
    "not_an_object": f"The sender sent something else than a JSON object, so nothing can be read. {_SENDER}",
    "too_deep": f"The JSON is nested too deeply to be read safely. {_SENDER}",
    "missing_message_id": f"Without a message ID, copies cannot be told apart. {_SENDER}",
    "missing_tracker_id": f"Without a tracker ID, the message belongs to no parcel. {_SENDER}",
    "events_not_a_list": f"The events cannot be read because they are not a list. {_SENDER}",
    "missing_occurrence": f"Without a time, the event cannot be compared with others. {_SENDER}",
    "bad_occurrence": f"The time cannot be read, so the event cannot be compared with others. {_SENDER}",
    "implausible_future": (
        "The event's time is further ahead than RECEIVER_MAX_FUTURE_HOURS allows. If it is wrong, do nothing: a corrected "
        f"message is applied without your help. If it is right, {_FORCE}, and look at the preview first: the event blocks all "
        "later updates of its tracker until that time. You can take it back."
    ),
    "unmapped": (
        "No field with a tracking number or package ID was found. If the sender uses another field name, add it to the field "
        "paths in config/receiver.toml, restart the service and retry the message."
    ),
    "undecidable": "This service failed on the message. Update the service, then retry the message. Please report the failure.",
    "not_of_test": "A marked test sent a message that is not its own. Nothing is lost; correct the test.",
    "test_of_real_tracker": "A marked test named a real tracker, which it may not change. Nothing is lost; correct the test.",
}

_OF_VERDICTS = {
    ("stale", "older"): "Nothing to do: the tracker follows its newest event.",
    ("stale", "tie"): "Nothing to do, unless the status is wrong. Then ask the sender to number its events (`order`).",
    ("stale", "superseded"): "Nothing to do: the sender corrected this event.",
    ("duplicate", None): "Nothing to do: its content is known already.",
    ("duplicate", "content_differs"): (
        "The first copy counts. If this one is right, ask the sender to send it again with a new message ID."
    ),
    ("recorded", None): "Nothing to do.",
}


def advise(reason: str) -> str:
    """Return what a reason for quarantine means and what to do. A reason of a later version gets general advice."""
    return _ADVICE.get(reason, f"After the cause is fixed, {_FORCE}.")


def advise_verdict(outcome: str, reason: str | None) -> str | None:
    """Return what to do about a verdict without effect; None for others, and for the quarantine, whose items have their own."""
    return _OF_VERDICTS.get((outcome, reason))
