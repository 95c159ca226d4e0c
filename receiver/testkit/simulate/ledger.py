"""The log of all attempts, and what was lost, doubled or wrong according to it. Pure."""

from collections import Counter
from typing import NamedTuple

from receiver.testkit.http import NoReply, Reply
from receiver.testkit.simulate.answers import NEW, Reading
from receiver.testkit.simulate.records import Phase, PlannedDelivery, TrafficPlan


class Attempt(NamedTuple):
    """One attempt at a delivery; moments are seconds of one clock. `is_last`: none will follow.

    `is_repeated`: it was sent twice, as its connection had ended.
    """

    number: int
    due_at: float
    started_at: float
    ended_at: float
    is_last: bool
    is_repeated: bool = False


class Findings(NamedTuple):
    """Faults: numbers of messages and of trackers, each with the reason."""

    lost: dict[int, str]
    doubled: dict[int, str]
    wrong: dict[int, str]


class AttemptLog:
    """Notes every attempt of every phase.

    A message was *new* to the receiver if its outcome is not `duplicate`. An attempt without a verdict may have stored its
    messages all the same: they are *maybe stored*, and one that is a duplicate from then on was not lost.
    """

    def __init__(self, plan: TrafficPlan) -> None:
        self._plan = plan
        count = len(plan.messages)
        self._new = [0] * count
        self._maybe_stored = [0] * count
        self._accepted = [False] * count
        self._quarantined = [False] * count
        self._again: dict[int, str | None] = {}
        self._answers: dict[int, str] = {}
        self.reads_verdicts = False
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.made = 0  # deliveries of the traffic
        self.carried = 0  # messages in them, with copies
        self.messages: set[int] = set()  # numbers of the messages
        self.sent = 0  # attempts of all phases
        self.accepted = 0
        self.failed = 0
        self.failure = ""  # result of the last failed attempt
        self.retries = 0
        self.latencies: list[float] = []
        self.behind = 0.0
        self.recovery = 0.0
        self._refused_since: dict[tuple[Phase, int], float] = {}

    def note(self, delivery: PlannedDelivery, attempt: Attempt, reply: Reply, reading: Reading) -> None:
        """Note the result of an attempt."""
        self._count(delivery, attempt, reply, reading)
        self.reads_verdicts |= reading.verdicts is not None
        for index, number in enumerate(delivery.messages):
            self._maybe_stored[number] += attempt.is_repeated
            verdict = reading.verdicts[index] if reading.verdicts is not None else None
            self._judge(delivery.phase, number, verdict, accepted=reading.accepted)

    def _count(self, delivery: PlannedDelivery, attempt: Attempt, reply: Reply, reading: Reading) -> None:
        self.sent += 1
        self.retries += attempt.number > 1
        answer = reply.problem if isinstance(reply, NoReply) else str(reply.status)
        self.statuses[answer] += 1
        self.accepted += reading.accepted
        self.failed += attempt.is_last and not reading.accepted
        key = (delivery.phase, delivery.number)
        if not reading.accepted:
            self.failure = answer
            self._refused_since.setdefault(key, attempt.due_at)
        elif key in self._refused_since:
            self.recovery = max(self.recovery, attempt.ended_at - self._refused_since.pop(key))
        if delivery.phase == "traffic":
            if attempt.number == 1:
                self.made += 1
                self.carried += len(delivery.messages)
                self.messages.update(delivery.messages)
            self.behind = max(self.behind, attempt.started_at - attempt.due_at)
            if answer not in {"connection", "certificate"}:
                self.latencies.append(attempt.ended_at - attempt.due_at)

    def _judge(self, phase: Phase, number: int, verdict: str | None, *, accepted: bool) -> None:
        if phase == "resend" and (accepted or number not in self._again):
            self._again[number] = verdict
        if phase in {"older", "newer"} and verdict is not None and (verdict in NEW or self._maybe_stored[number] == 0):
            self._answers.setdefault(number, verdict)
        if phase == "resend":
            return
        self._accepted[number] |= accepted
        if verdict is None:
            self._maybe_stored[number] += 1
        elif verdict in NEW:
            self._new[number] += 1
            self._quarantined[number] |= verdict == "quarantined"
        if phase == "traffic" and verdict is not None:
            self.outcomes[verdict] += 1

    def find(self) -> Findings:
        """Return what is wrong according to the responses."""
        numbers = sorted(self.messages)
        lost = {number: reason for number in numbers if (reason := self._why_lost(number))}
        doubled = {number: f"accepted as new {self._new[number]} times" for number in numbers if self._new[number] > 1}
        wrong = {index: reason for index in range(len(self._plan.trackers)) if (reason := self._why_wrong(index))}
        return Findings(lost, doubled if self.reads_verdicts else {}, wrong if self.reads_verdicts else {})

    def accepted_messages(self) -> int:
        """Return the number of messages of the traffic in accepted deliveries."""
        return sum(self._accepted[number] for number in self.messages)

    def probed_trackers(self) -> int:
        """Return the number of trackers whose two probes were answered."""
        return sum({tracker.older, tracker.newer} <= self._answers.keys() for tracker in self._plan.trackers)

    def _why_lost(self, number: int) -> str | None:
        if not self._accepted[number] and (self._again.get(number) != "duplicate"):
            return "never accepted"
        if not self.reads_verdicts:
            return None
        if self._quarantined[number]:
            return "quarantined"
        if not (self._new[number] or self._maybe_stored[number] or self._plan.messages[number].sent.in_others):
            return "a duplicate although it was new"
        again = self._again.get(number)
        if again is None:
            return "no verdict when sent again"
        return None if again == "duplicate" else f"accepted, but {again} when sent again"

    def _why_wrong(self, index: int) -> str | None:
        tracker = self._plan.trackers[index]
        for number, expected, age in ((tracker.older, "stale", "older"), (tracker.newer, "applied", "newer")):
            verdict = self._answers.get(number, expected) if number is not None else expected
            if verdict != expected:
                return f"an event just {age} than the latest one was {verdict}"
        return None
