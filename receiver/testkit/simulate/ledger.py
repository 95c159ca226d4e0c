"""What happened to each message, and what follows from it. No input or output."""

from collections import Counter
from typing import NamedTuple

from receiver.testkit.simulate.answers import NEW, Reading
from receiver.testkit.simulate.records import Phase, PlannedDelivery, TrafficPlan
from receiver.testkit.simulate.wire import WireReply


class Attempt(NamedTuple):
    """One attempt at a call; moments are seconds of one clock. `is_last`: none will follow."""

    number: int
    due_at: float
    started_at: float
    ended_at: float
    is_last: bool


class Findings(NamedTuple):
    """What is wrong: numbers of messages and places of trackers, each with the reason."""

    lost: dict[int, str]
    doubled: dict[int, str]
    wrong: dict[int, str]


class AttemptLog:
    """Takes every attempt of every phase.

    A message is *taken* by an answer that does not call it a duplicate. An attempt without a verdict may have counted all the
    same: then the message is *unsure*, and one that is called a duplicate ever after was not lost.
    """

    def __init__(self, plan: TrafficPlan) -> None:
        self._plan = plan
        count = len(plan.messages)
        self._taken = [0] * count
        self._unsure = [0] * count
        self._accepted = [False] * count
        self._apart = [False] * count
        self._again: dict[int, str | None] = {}
        self._asked: dict[int, str] = {}
        self.reads_verdicts = False
        self.outcomes: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.begun = 0  # calls of the traffic
        self.carried = 0  # messages in them, copies counted
        self.messages: set[int] = set()  # their numbers
        self.sent = 0  # attempts of all phases
        self.accepted = 0
        self.given_up = 0
        self.failure = ""  # what came last of an attempt that failed
        self.retries = 0
        self.latencies: list[float] = []
        self.behind = 0.0
        self.recovery = 0.0
        self._refused_since: dict[tuple[Phase, int], float] = {}

    def note(self, call: PlannedDelivery, attempt: Attempt, reply: WireReply, reading: Reading) -> None:
        """Take what came of an attempt."""
        self._count(call, attempt, reply, reading)
        self.reads_verdicts |= reading.verdicts is not None
        for place, number in enumerate(call.messages):
            self._unsure[number] += reply.repeated
            verdict = reading.verdicts[place] if reading.verdicts is not None else None
            self._judge(call.phase, number, verdict, taken=reading.taken)

    def _count(self, call: PlannedDelivery, attempt: Attempt, reply: WireReply, reading: Reading) -> None:
        self.sent += 1
        self.retries += attempt.number > 1
        answer = str(reply.status or reply.problem)
        self.statuses[answer] += 1
        self.accepted += reading.taken
        self.given_up += attempt.is_last and not reading.taken
        key = (call.phase, call.number)
        if not reading.taken:
            self.failure = answer
            self._refused_since.setdefault(key, attempt.due_at)
        elif key in self._refused_since:
            self.recovery = max(self.recovery, attempt.ended_at - self._refused_since.pop(key))
        if call.phase == "traffic":
            if attempt.number == 1:
                self.begun += 1
                self.carried += len(call.messages)
                self.messages.update(call.messages)
            self.behind = max(self.behind, attempt.started_at - attempt.due_at)
            if reply.status is not None or reply.problem == "timeout":
                self.latencies.append(attempt.ended_at - attempt.due_at)

    def _judge(self, phase: Phase, number: int, verdict: str | None, *, taken: bool) -> None:
        if phase == "resend" and (taken or number not in self._again):
            self._again[number] = verdict
        if phase in {"older", "newer"} and verdict is not None and (verdict in NEW or self._unsure[number] == 0):
            self._asked.setdefault(number, verdict)
        if phase == "resend":
            return
        self._accepted[number] |= taken
        if verdict is None:
            self._unsure[number] += 1
        elif verdict in NEW:
            self._taken[number] += 1
            self._apart[number] |= verdict == "quarantined"
        if phase == "traffic" and verdict is not None:
            self.outcomes[verdict] += 1

    def find(self) -> Findings:
        """Return what is wrong, as far as answers tell."""
        numbers = sorted(self.messages)
        lost = {number: reason for number in numbers if (reason := self._why_lost(number))}
        doubled = {number: f"taken {self._taken[number]} times" for number in numbers if self._taken[number] > 1}
        wrong = {place: reason for place in range(len(self._plan.trackers)) if (reason := self._why_wrong(place))}
        return Findings(lost, doubled if self.reads_verdicts else {}, wrong if self.reads_verdicts else {})

    def accepted_messages(self) -> int:
        """Return how many messages of the traffic were in a call that was accepted."""
        return sum(self._accepted[number] for number in self.messages)

    def asked_trackers(self) -> int:
        """Return of how many trackers both questions were answered."""
        return sum({tracker.older, tracker.newer} <= self._asked.keys() for tracker in self._plan.trackers)

    def _why_lost(self, number: int) -> str | None:
        if not self._accepted[number] and (self._again.get(number) != "duplicate"):
            return "never accepted"
        if not self.reads_verdicts:
            return None
        if self._apart[number]:
            return "set apart"
        if not (self._taken[number] or self._unsure[number] or self._plan.messages[number].told.echoed):
            return "called a duplicate the first time it came"
        again = self._again.get(number)
        if again is None:
            return "the resend was not answered"
        return None if again == "duplicate" else f"accepted, but {again} when it was sent again"

    def _why_wrong(self, place: int) -> str | None:
        tracker = self._plan.trackers[place]
        for number, expected, question in ((tracker.older, "stale", "older"), (tracker.newer, "applied", "newer")):
            verdict = self._asked.get(number, expected) if number is not None else expected
            if verdict != expected:
                return f"an event just {question} than its latest was {verdict}"
        return None
