"""Compares what a receiver of ours knows of each tracker (its ops API) with the truth."""

import json
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from receiver.errors import ReceiverError
from receiver.testkit.simulate.records import ExpectedState, TrafficPlan
from receiver.testkit.simulate.sender import Progress, Tell, path_of
from receiver.testkit.simulate.wire import WirePool, WireReply

_WAITS = (0.1, 0.5, 2.0, 5.0)  # seconds after each try that failed
_TIMEOUT_SECONDS = 15.0
_STEP = 50  # trackers after which it is told how far it is
_FIELDS = {  # of the answer, and what of the truth each must be
    "status": "status",
    "status_milestone": "milestone",
    "latest_occurrence": "occurrence",
    "latest_event_id": "event_id",
}


class OpsRefused(ReceiverError):
    """The ops API does not answer as ours does."""


class Compared(NamedTuple):
    """How many trackers were compared of how many, and what is wrong with which."""

    trackers: int
    total: int
    wrong: dict[int, str]


class StateReader:
    """The ops API of the receiver behind a webhook URL."""

    def __init__(self, webhook_url: str, token: str, watch: WirePool) -> None:
        parts = urlsplit(webhook_url)
        root = parts.path.partition("/webhooks/")[0] if "/webhooks/" in parts.path else ""
        self._base = f"{parts.scheme}://{parts.netloc}{root}/ops/api"
        self._headers = {"authorization": f"Bearer {token}"}
        self._wire = watch.wire(self._base, _TIMEOUT_SECONDS)

    def probe(self) -> None:
        """Raise OpsRefused unless the API answers to the token."""
        self._read(self._call("/trackers?limit=1"))

    def compare(self, plan: TrafficPlan, tell: Tell) -> Compared:
        """Compare every tracker of which something is known, as long as the API answers."""
        wrong: dict[int, str] = {}
        told = [(place, tracker.expected) for place, tracker in enumerate(plan.trackers) if tracker.expected is not None]
        for done, (place, expected) in enumerate(told):
            path = f"/trackers/{quote(expected.source, safe='')}/{quote(expected.tracker_id, safe='')}"
            try:
                reply = self._ask(path)
                reason = "not there" if reply.status == 404 else find_difference(expected, self._read(reply))
            except OpsRefused:
                return Compared(done, len(told), wrong)
            if reason is not None:
                wrong[place] = reason
            if done % _STEP == 0:
                tell(Progress("ops", len(told), done))
        return Compared(len(told), len(told), wrong)

    def _ask(self, path: str) -> WireReply:
        """Ask again and again while the receiver is at fault."""
        for seconds in _WAITS:
            reply = self._call(path)
            if reply.status is not None and reply.status < 500:
                return reply
            sleep(seconds)
        return self._call(path)

    def _call(self, path: str) -> WireReply:
        return self._wire.call("GET", path_of(self._base) + path, self._headers)

    def _read(self, reply: WireReply) -> dict[str, Any]:
        try:
            answer = json.loads(reply.body or b"") if reply.status == 200 else None
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise OpsRefused(f"The ops API was asked for trackers and answered {reply.status or reply.problem}.")
        return answer


def find_difference(expected: ExpectedState, answer: dict[str, Any]) -> str | None:
    """Return in what a tracker differs from the truth, None if in nothing."""
    tracker, events = answer.get("tracker"), answer.get("events")
    if not isinstance(tracker, dict) or not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        return "not told in the form of our API"
    for field, name in _FIELDS.items():
        if tracker.get(field) != getattr(expected, name):
            return f"{field} is {tracker.get(field)!r:.60}, expected {getattr(expected, name)!r}"
    standing = [event for event in events if not event.get("superseded")]
    kept = [str(event.get("event_id")) for event in standing]
    if len(set(kept)) < len(kept):
        return "an event is kept twice"
    if set(kept) != expected.events:
        missing, foreign = len(expected.events - set(kept)), len(set(kept) - expected.events)
        return f"{missing} events are missing, {foreign} are not its own"
    return None if len(standing) < len(events) else _find_miscount(tracker, standing)


def _find_miscount(tracker: dict[str, Any], events: list[dict[str, Any]]) -> str | None:
    """Return how the number of changes differs from that of the applied events of a tracker without revisions.

    With revisions it may: a tracker also changes when it moves back, and not when a revision differs in nothing that matters.
    """
    applied = sum(event.get("outcome") == "applied" for event in events)
    return None if tracker.get("moves") == applied else f"it moved {tracker.get('moves')!r} times with {applied} applied events"
