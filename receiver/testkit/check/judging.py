"""What answers show. Pure: answers in, a judgement out.

Ship24 takes any 2xx within 15 s for success, unless the JSON of its body says `success: false`; it follows no redirect
(docs.ship24.com/webhooks/delivery, and the vendor's own code, 2026-09).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import orjson

from receiver.testkit.check.records import Answer, CheckReply, Judge, Judgement, NoReply, Severity, Verdict

_SHOWN = 60
_SLOW = 1 / 3  # of the time that there is
_NO_ANSWER = Judgement("unknown", "there was no answer")


def verdict_of(severity: Severity, judgement: Judgement) -> Verdict:
    """Return what a judgement means for a rule of this severity."""
    if judgement.level == "bad":
        return "fail" if severity == "must" else "warn"
    levels: dict[str, Verdict] = {"good": "pass", "weak": "warn"}
    return levels.get(judgement.level, "unknown")


def printable(text: str) -> str:
    """Return text from outside with every letter that could steer a terminal written out."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def describe(answer: Answer) -> str:
    """Return an answer in a few words."""
    if isinstance(answer, NoReply):
        return answer.reason
    if 300 <= answer.status < 400:
        return printable(f"{answer.status} to {(answer.header('location') or 'nowhere')[:_SHOWN]}")
    said = " ".join(answer.body[: 4 * _SHOWN].decode("utf-8", "backslashreplace").split())
    return printable(f"{answer.status} {said[:_SHOWN]}{'…' if len(said) > _SHOWN else ''}".strip())


def find_fault(answer: Answer) -> str | None:
    """Return why Ship24 would count a call as failed, or None."""
    if isinstance(answer, NoReply) or not 200 <= answer.status < 300:
        return describe(answer)
    if answer.is_cut:
        return f"{answer.status}, and an answer of more than {len(answer.body) // 1000} kB"
    if says_failed(answer):
        return f"{answer.status}, but with `success: false` in it"
    return None


def says_failed(reply: CheckReply) -> bool:
    """Tell whether an answer has `success: false`, as a boolean or as text."""
    return str(_read(reply).get("success")).lower() == "false"


def read_outcomes(reply: CheckReply) -> str | None:
    """Return the verdicts of our own service's answer, in body order; None where it is not of that shape."""
    answer = _read(reply)
    messages = answer.get("messages")
    if not isinstance(messages, list) or "delivery_id" not in answer:
        return None
    return " ".join(str(message.get("outcome")) for message in messages if isinstance(message, dict))


def taken(answers: Sequence[Answer]) -> Judgement:
    """Each call has to count as a success."""
    faults = [(place, find_fault(answer)) for place, answer in enumerate(answers, 1)]
    for place, fault in faults:
        if fault is not None:
            return Judgement("bad", _place(place, answers) + fault)
    return Judgement("good", _statuses(answers))


def refused(answers: Sequence[Answer]) -> Judgement:
    """Each call has to be answered 401 or 403. Refused in another way is not right, but nobody gets in."""
    for answer in answers:
        if find_fault(answer) is None:
            return Judgement("bad", describe(answer))
        if not isinstance(answer, CheckReply) or answer.status not in {401, 403}:
            return Judgement("weak", describe(answer))
    return Judgement("good", _statuses(answers))


def not_taken(answers: Sequence[Answer]) -> Judgement:
    """No call may count as a success: nothing of it can be used, and the sender has to know."""
    return _all_between(400, 600, answers)


def not_taken_nor_crashed(answers: Sequence[Answer]) -> Judgement:
    """No call may count as a success, and none may look as if the fault were the receiver's."""
    return _all_between(400, 500, answers)


def _all_between(first: int, end: int, answers: Sequence[Answer]) -> Judgement:
    for place, answer in enumerate(answers, 1):
        if not isinstance(answer, CheckReply) or not first <= answer.status < end:
            return Judgement("bad", _place(place, answers) + describe(answer))
    return Judgement("good", _statuses(answers))


def _place(place: int, answers: Sequence[Answer]) -> str:
    return f"call {place} of {len(answers)}: " if len(answers) > 1 else ""


def probed(answers: Sequence[Answer]) -> Judgement:
    """HEAD has to be answered 200."""
    for answer in answers:
        if not isinstance(answer, CheckReply) or answer.status != 200:
            return Judgement("bad", describe(answer))
    return Judgement("good", _statuses(answers))


def kept_open(answers: Sequence[Answer]) -> Judgement:
    """A connection has to take another call, unless the answer before it said that it would close."""
    for before, answer in pairwise(answers):
        if isinstance(before, CheckReply) and not before.closes and isinstance(answer, NoReply):
            return Judgement("bad", f"kept open, then: {answer.reason}")
    closing = any(isinstance(answer, CheckReply) and answer.closes for answer in answers[:-1])
    judgement = taken(answers)
    if judgement.level != "good":
        return judgement
    return Judgement("good", "each answer closes its connection" if closing else "one connection took all calls")


def decided_as(outcomes: Sequence[str], answers: Sequence[Answer], *, ours: bool, at_once: bool) -> Judgement | None:
    """Compare with the verdicts that our service gives; None where they are right, or where it is another's and need not be."""
    found = [read_outcomes(answer) if isinstance(answer, CheckReply) else None for answer in answers]
    if None in found:
        return Judgement("bad", "no verdicts in the answer: it is not this service's") if ours else None
    shown = [text or "none" for text in found]
    if sorted(shown) == sorted(outcomes) if at_once else shown == list(outcomes):
        return None
    return Judgement("bad", printable(f"{_list(shown)} instead of {_list(outcomes)}"))


def never_success(answers: Sequence[Answer]) -> Judgement:
    """No 2xx needs a key `success`; where it says `false` to a right call, `taken` has found it."""
    found = [answer for answer in _replies(answers) if 200 <= answer.status < 300 and "success" in _read(answer)]
    return _none_of(found, answers, "none has it")


def never_repeated(answers: Sequence[Answer]) -> Judgement:
    """No answer may repeat a token."""
    found = [answer for answer in _replies(answers) if answer.repeats_token]
    return _none_of(found, answers, "none does")


def answered_within(seconds: float) -> Judge:
    """Return what judges whether answers came in time, with some to spare."""

    def judge(answers: Sequence[Answer]) -> Judgement:
        late = [answer for answer in answers if isinstance(answer, NoReply) and answer.seconds >= seconds]
        if late:
            return Judgement("bad", f"{len(late)} of {len(answers)} without: {late[0].reason}")
        if not _replies(answers):
            return _NO_ANSWER
        slowest = max(answer.seconds for answer in _replies(answers))
        return Judgement("weak" if slowest > seconds * _SLOW else "good", f"the slowest took {slowest:.2f} s")

    return judge


def _none_of(found: Sequence[CheckReply], answers: Sequence[Answer], good: str) -> Judgement:
    if not _replies(answers):
        return _NO_ANSWER
    if found:
        return Judgement("bad", f"{len(found)} of {len(_replies(answers))}, as {describe(found[0])}")
    return Judgement("good", good)


def _replies(answers: Sequence[Answer]) -> list[CheckReply]:
    return [answer for answer in answers if isinstance(answer, CheckReply)]


def _statuses(answers: Sequence[Answer]) -> str:
    return ", ".join(dict.fromkeys(str(answer.status) for answer in _replies(answers)))


def _list(outcomes: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(outcome[:_SHOWN] for outcome in outcomes))


def _read(reply: CheckReply) -> dict[str, Any]:
    try:
        value = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
