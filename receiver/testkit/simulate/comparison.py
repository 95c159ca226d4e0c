"""Compares the state of each tracker, read from the ops API of this service, with the plan."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import quote

from receiver.errors import ReceiverError
from receiver.testkit.http import HttpReply, NoReply, Reply, read_object
from receiver.testkit.ops_client import OpsClient
from receiver.testkit.simulate.records import ExpectedState, TrafficPlan
from receiver.testkit.simulate.sender import OnProgress, Progress

_WAITS = (0.1, 0.5, 2.0, 5.0)  # pauses after each failed attempt
_STEP = 50  # trackers between two reports of progress
_FIELDS = {  # fields of the response, and of the expected state
    "status": "status",
    "status_milestone": "milestone",
    "latest_occurrence": "occurrence",
    "latest_event_id": "event_id",
}


class OpsRefused(ReceiverError):
    """The ops API does not answer as that of this service."""


class Compared(NamedTuple):
    """The number of compared trackers, the number of all, and what is wrong with each."""

    trackers: int
    total: int
    wrong: dict[int, str]


class StateReader:
    """Reads trackers from the ops API and compares them with the plan."""

    def __init__(self, ops: OpsClient) -> None:
        self._ops = ops

    async def probe(self) -> None:
        """Raise OpsRefused unless the API accepts the token."""
        _read(await self._ops.get("trackers?limit=1"))

    async def compare(self, plan: TrafficPlan, on_progress: OnProgress) -> Compared:
        """Compare every tracker with a known state, as long as the API answers."""
        wrong: dict[int, str] = {}
        known = [(index, tracker.expected) for index, tracker in enumerate(plan.trackers) if tracker.expected is not None]
        for done, (index, expected) in enumerate(known):
            try:
                reason = await self._compare_one(expected)
            except OpsRefused:
                return Compared(done, len(known), wrong)
            if reason is not None:
                wrong[index] = reason
            if done % _STEP == 0:
                on_progress(Progress("ops", len(known), done))
        return Compared(len(known), len(known), wrong)

    async def _compare_one(self, expected: ExpectedState) -> str | None:
        reply = await self._ask(f"trackers/{quote(expected.source, safe='')}/{quote(expected.tracker_id, safe='')}")
        if isinstance(reply, HttpReply) and reply.status == 404:
            return "not found"
        return find_difference(expected, _read(reply))

    async def _ask(self, path: str) -> Reply:
        """Read, and repeat while the receiver answers with 5xx or not at all."""
        for seconds in _WAITS:
            reply = await self._ops.get(path)
            if isinstance(reply, HttpReply) and reply.status < 500:
                return reply
            await asyncio.sleep(seconds)
        return await self._ops.get(path)


def _read(reply: Reply) -> dict[str, Any]:
    """Return the object in a response. Raises OpsRefused."""
    answer = read_object(reply.body) if isinstance(reply, HttpReply) and reply.status == 200 else None
    if answer is None:
        result = reply.problem if isinstance(reply, NoReply) else reply.status
        raise OpsRefused(f"The ops API was asked for trackers and answered {result}.")
    return answer


def find_difference(expected: ExpectedState, answer: dict[str, Any]) -> str | None:
    """Return how a tracker differs from its expected state; None if it does not."""
    tracker, events = answer.get("tracker"), answer.get("events")
    if not isinstance(tracker, dict) or not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        return "the response has another shape"
    for field, name in _FIELDS.items():
        if tracker.get(field) != getattr(expected, name):
            return f"{field} is {tracker.get(field)!r:.60}, expected {getattr(expected, name)!r}"
    current = [event for event in events if not event.get("superseded")]
    stored = [str(event.get("event_id")) for event in current]
    if len(set(stored)) < len(stored):
        return "an event is stored twice"
    if set(stored) != expected.events:
        missing, foreign = len(expected.events - set(stored)), len(set(stored) - expected.events)
        return f"{missing} events are missing, {foreign} are unexpected"
    return None if len(current) < len(events) else _find_miscount(tracker, current)


def _find_miscount(tracker: dict[str, Any], events: list[dict[str, Any]]) -> str | None:
    """Return how the number of changes differs from that of applied events; None if it does not.

    Only for trackers without revisions: one with revisions also changes when it goes back to an older event.
    """
    applied = sum(event.get("outcome") == "applied" for event in events)
    return None if tracker.get("changes") == applied else f"{tracker.get('changes')!r} changes with {applied} applied events"
