"""Judges responses. Pure: responses in, a judgement out."""

from collections.abc import Sequence
from itertools import pairwise

from receiver.testkit.check.records import Judge, Judgement, Severity, Verdict
from receiver.testkit.http import HttpReply, NoReply, Reply, read_object
from receiver.testkit.ship24 import is_success

_SHOWN = 60
_SLOW = 1 / 3  # of the available time
_NO_ANSWER = Judgement("unknown", "no response")


def verdict_of(severity: Severity, judgement: Judgement) -> Verdict:
    """Return what a judgement means for a rule of this severity."""
    if judgement.level == "bad":
        return "fail" if severity == "must" else "warn"
    levels: dict[str, Verdict] = {"good": "pass", "weak": "warn"}
    return levels.get(judgement.level, "unknown")


def printable(text: str) -> str:
    """Return text from outside with an escape for every character that could control a terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def describe(answer: Reply) -> str:
    """Return a response in a few words."""
    if isinstance(answer, NoReply):
        return answer.reason
    if 300 <= answer.status < 400:
        return printable(f"{answer.status} to {(answer.header('location') or 'nowhere')[:_SHOWN]}")
    text = " ".join(answer.body[: 4 * _SHOWN].decode("utf-8", "backslashreplace").split())
    return printable(f"{answer.status} {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}".strip())


def find_fault(answer: Reply) -> str | None:
    """Return why Ship24 would count a delivery as failed, or None."""
    if isinstance(answer, NoReply) or not 200 <= answer.status < 300:
        return describe(answer)
    if answer.is_cut:
        return f"{answer.status}, and a body of more than {len(answer.body) // 1000} kB"
    if not is_success(answer):
        return f"{answer.status}, but with `success: false` in it"
    return None


def read_outcomes(reply: HttpReply) -> str | None:
    """Return the outcomes in a response of this service, in body order; None if the response has another shape."""
    answer = read_object(reply.body) or {}
    messages = answer.get("messages")
    if not isinstance(messages, list) or "delivery_id" not in answer:
        return None
    return " ".join(str(message.get("outcome")) for message in messages if isinstance(message, dict))


def accepted(answers: Sequence[Reply]) -> Judgement:
    """Every request has to succeed."""
    faults = [(position, find_fault(answer)) for position, answer in enumerate(answers, 1)]
    for position, fault in faults:
        if fault is not None:
            return Judgement("bad", _position(position, answers) + fault)
    return Judgement("good", _statuses(answers))


def unauthorized(answers: Sequence[Reply]) -> Judgement:
    """Every response has to be 401 or 403. Another error is weak: the client is rejected all the same."""
    for answer in answers:
        if find_fault(answer) is None:
            return Judgement("bad", describe(answer))
        if not isinstance(answer, HttpReply) or answer.status not in {401, 403}:
            return Judgement("weak", describe(answer))
    return Judgement("good", _statuses(answers))


def not_accepted(answers: Sequence[Reply]) -> Judgement:
    """No request may succeed: its body is unusable, and the sender has to know."""
    return _all_between(400, 600, answers)


def rejected_by_receiver(answers: Sequence[Reply]) -> Judgement:
    """No request may succeed, and no response may look like a fault of the receiver."""
    return _all_between(400, 500, answers)


def _all_between(first: int, end: int, answers: Sequence[Reply]) -> Judgement:
    for position, answer in enumerate(answers, 1):
        if not isinstance(answer, HttpReply) or not first <= answer.status < end:
            return Judgement("bad", _position(position, answers) + describe(answer))
    return Judgement("good", _statuses(answers))


def _position(position: int, answers: Sequence[Reply]) -> str:
    return f"request {position} of {len(answers)}: " if len(answers) > 1 else ""


def probed(answers: Sequence[Reply]) -> Judgement:
    """The response to HEAD has to be 200."""
    for answer in answers:
        if not isinstance(answer, HttpReply) or answer.status != 200:
            return Judgement("bad", describe(answer))
    return Judgement("good", _statuses(answers))


def kept_open(answers: Sequence[Reply]) -> Judgement:
    """A connection has to serve the next request, unless the response before announced its end."""
    for before, answer in pairwise(answers):
        if isinstance(before, HttpReply) and not before.closes and isinstance(answer, NoReply):
            return Judgement("bad", f"kept open, then: {answer.reason}")
    closing = any(isinstance(answer, HttpReply) and answer.closes for answer in answers[:-1])
    judgement = accepted(answers)
    if judgement.level != "good":
        return judgement
    return Judgement("good", "every response closes its connection" if closing else "one connection served all requests")


def decided_as(outcomes: Sequence[str], answers: Sequence[Reply], *, ours: bool, at_once: bool) -> Judgement | None:
    """Compare with the outcomes that this service gives. None: they are equal, or the receiver is another one and has none."""
    found = [read_outcomes(answer) if isinstance(answer, HttpReply) else None for answer in answers]
    if None in found:
        return Judgement("bad", "no verdicts in the response: not this service") if ours else None
    shown = [text or "none" for text in found]
    if sorted(shown) == sorted(outcomes) if at_once else shown == list(outcomes):
        return None
    return Judgement("bad", printable(f"{_list(shown)} instead of {_list(outcomes)}"))


def never_success(answers: Sequence[Reply]) -> Judgement:
    """No 2xx should have a key `success`; `accepted` finds the value `false`."""
    found = [
        answer for answer in _replies(answers) if 200 <= answer.status < 300 and "success" in (read_object(answer.body) or {})
    ]
    return _none_of(found, answers, "none")


def never_repeated(answers: Sequence[Reply]) -> Judgement:
    """No response may repeat a token."""
    found = [answer for answer in _replies(answers) if answer.repeats_token]
    return _none_of(found, answers, "none")


def answered_within(seconds: float) -> Judge:
    """Return a judge of response times: all in time, and the slowest in a third of it."""

    def judge(answers: Sequence[Reply]) -> Judgement:
        late = [answer for answer in answers if isinstance(answer, NoReply) and answer.seconds >= seconds]
        if late:
            return Judgement("bad", f"{len(late)} of {len(answers)} without: {late[0].reason}")
        if not _replies(answers):
            return _NO_ANSWER
        slowest = max(answer.seconds for answer in _replies(answers))
        return Judgement("weak" if slowest > seconds * _SLOW else "good", f"the slowest took {slowest:.2f} s")

    return judge


def _none_of(found: Sequence[HttpReply], answers: Sequence[Reply], good: str) -> Judgement:
    if not _replies(answers):
        return _NO_ANSWER
    if found:
        return Judgement("bad", f"{len(found)} of {len(_replies(answers))}, as {describe(found[0])}")
    return Judgement("good", good)


def _replies(answers: Sequence[Reply]) -> list[HttpReply]:
    return [answer for answer in answers if isinstance(answer, HttpReply)]


def _statuses(answers: Sequence[Reply]) -> str:
    return ", ".join(dict.fromkeys(str(answer.status) for answer in _replies(answers)))


def _list(outcomes: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(outcome[:_SHOWN] for outcome in outcomes))
