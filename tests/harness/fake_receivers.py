"""Small receivers that follow our rules and answer in our format; each subclass breaks one rule."""

import json
from collections.abc import Callable
from math import inf
from threading import Lock
from typing import Any

from receiver.domain.newer import EventTime, is_newer
from receiver.domain.occurrence import read_occurrence
from tests.harness.endpoint import TAKE, Answer, Call, say

Item = dict[str, Any]


class FakeReceiver:
    """A receiver of Ship24's webhooks without mistakes. `choose` is for an Endpoint."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.latest: dict[str, Item] = {}
        self._lock = Lock()

    def choose(self, call: Call) -> Answer:
        if not call.body:
            return TAKE  # a HEAD
        with self._lock:
            messages = [self._tell(item) for item in json.loads(call.body)["trackings"]]
        return say(200, "Content-Type: application/json", body=json.dumps({"messages": messages}).encode())

    def is_known(self, message_id: str) -> bool:
        return message_id in self.seen

    def remember(self, message_id: str) -> None:
        self.seen.add(message_id)

    def is_newer(self, event: Item, latest: Item) -> bool:
        return is_newer(*(EventTime(read_occurrence(each["occurrenceDatetime"]), each["order"]) for each in (event, latest)))

    def _tell(self, item: Item) -> Item:
        message_id = item["metadata"]["messageId"]
        outcome = "duplicate" if self.is_known(message_id) else self._decide(item)
        self.remember(message_id)
        return {"message_id": message_id, "outcome": outcome}

    def _decide(self, item: Item) -> str:
        tracker_id, outcome = item["tracker"]["trackerId"], "recorded"
        for event in item.get("events", ()):
            latest = self.latest.get(tracker_id)
            if latest is None or self.is_newer(event, latest):
                self.latest[tracker_id], outcome = event, "applied"
            elif outcome == "recorded":
                outcome = "stale"
        return outcome


class Forgetful(FakeReceiver):
    """Says that it has kept a message, and does not know some of them any more."""

    def remember(self, message_id: str) -> None:
        if int(message_id[-1], 16) % 8:
            super().remember(message_id)


class Repetitive(FakeReceiver):
    """Takes every copy for a new message."""

    def is_known(self, message_id: str) -> bool:
        return False


class LastArrival(FakeReceiver):
    """Knows copies, and applies everything else in the order in which it comes."""

    def is_newer(self, event: Item, latest: Item) -> bool:
        return True


class TextOrder(FakeReceiver):
    """Compares times as written and ignores their zones."""

    def is_newer(self, event: Item, latest: Item) -> bool:
        texts = [(each["occurrenceDatetime"], each["order"] or 0) for each in (event, latest)]
        return bool(texts[0] > texts[1])


class Locked(FakeReceiver):
    """Lets a tracker move no more once it was delivered."""

    def is_newer(self, event: Item, latest: Item) -> bool:
        return latest["statusMilestone"] != "delivered" and super().is_newer(event, latest)


def faltering(fake: FakeReceiver, failure: Answer, *, takes: bool = False, most: float = inf) -> Callable[[Call], Answer]:
    """Fail each call of traffic the first time that it comes, and take it the second time; `takes`: it is taken all the same.

    `most`: after so many calls all are taken.
    """
    failed: set[bytes] = set()
    calls: list[bytes] = []

    def choose(call: Call) -> Answer:
        calls.append(call.body)
        fails = 2 < len(calls) <= 2 + most and call.body not in failed  # before it come HEAD and the first message
        failed.add(call.body)
        if fails and takes:
            fake.choose(call)
        return failure if fails else fake.choose(call)

    return choose
