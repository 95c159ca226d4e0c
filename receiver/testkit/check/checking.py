"""Runs the cases against a receiver, one after the other, and never longer than they may take."""

import re
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import orjson

from receiver.access.bearer import Secret
from receiver.testkit.check.access import FIRST
from receiver.testkit.check.judging import decided_as, describe, printable, verdict_of
from receiver.testkit.check.parcels import Parcels
from receiver.testkit.check.planning import CheckPlan
from receiver.testkit.check.records import Answer, Case, CheckReply, CheckRequest, CheckResult, Ending, Judgement, NoReply
from receiver.testkit.check.target import MIN_TELLING_LETTERS, CheckTarget, spellings, write_request
from receiver.testkit.check.wire import CheckConnection

_SILENT_CASES = 3  # after so many without any answer nobody is asked any more
_NOT_HERE = {*range(300, 400), 401, 403, 404, 405}  # the token is not let in, or the address is not it
_STRUCK_OUT = b"[token]"
_SHOWN = 200  # letters of what the ops API says wrong

Advance = Callable[[], None]


class Unreachable(Exception):
    """Nobody answers at the address; the text says why."""


class OpsAccess(NamedTuple):
    """Where our own service tells what became of messages, and the token for it."""

    target: CheckTarget
    token: Secret


class Check:
    """One run. `seconds` is the time for one answer; `ops` is None for a receiver that may be anybody's."""

    def __init__(
        self, target: CheckTarget, token: Secret, parcels: Parcels, seconds: float, ops: OpsAccess | None = None
    ) -> None:
        self._target = target
        self._token = token
        self._wrong = Secret("wrong", f"{parcels.prefix}-no-such-token")
        self._parcels = parcels
        self._seconds = seconds
        self._ops = ops
        self._tls = ssl.create_default_context()  # once: to read all certificates of a system takes longer than a call
        self._answers: list[Answer] = []
        self._silent = 0
        self._shut_out: int | None = None  # how the simplest right call is answered, if no body could be
        self._shut_out_of_ops: str | None = None  # the same for the ops token
        secrets = [token, self._wrong, *([] if ops is None else [ops.token])]
        forms = {form for secret in secrets for form in spellings(secret)}
        self._forms = sorted(forms, key=len, reverse=True)  # one may be the beginning of another
        self._striking = re.compile(b"|".join(map(re.escape, self._forms)), re.IGNORECASE)

    def run(self, plan: CheckPlan, advance: Advance) -> list[CheckResult]:
        """Ask everything. Raises Unreachable if there is nobody to ask."""
        results: list[CheckResult] = []
        for case in plan.cases:
            results.append(self._try(case))
            advance()
        passed = {result.rule.name for result in results if result.verdict == "pass"}
        for ending in plan.endings:
            results.append(self._look(ending, passed))
            advance()
        for overall in plan.overall:
            judgement = overall.judge(self._answers)
            results.append(CheckResult(overall.rule, verdict_of(overall.rule.severity, judgement), judgement.seen))
            advance()
        return results

    def _try(self, case: Case) -> CheckResult:
        calls = case.make(self._parcels)
        if self._silent >= _SILENT_CASES:
            return CheckResult(case.rule, "unknown", f"not tried: nobody answered {_SILENT_CASES} cases in a row")
        if self._shut_out is not None and any(call.method == "POST" and call.bearer in {"right", "lower case"} for call in calls):
            return CheckResult(case.rule, "unknown", f"not tried: even one update is answered {self._shut_out}")
        answers = self._send(calls, case.manner)
        self._note(case, answers)
        judgement = case.judge(answers)
        if judgement.level == "good" and case.outcomes:
            at_once = case.manner == "at once"
            judgement = decided_as(case.outcomes, answers, ours=self._ops is not None, at_once=at_once) or judgement
        return CheckResult(case.rule, verdict_of(case.rule.severity, judgement), judgement.seen)

    def _note(self, case: Case, answers: Sequence[Answer]) -> None:
        first = answers[0]
        if not self._answers and isinstance(first, NoReply) and not first.connected:
            raise Unreachable(first.reason)
        self._answers += answers
        self._silent = self._silent + 1 if all(isinstance(answer, NoReply) for answer in answers) else 0
        if case.rule.name == FIRST and isinstance(first, CheckReply) and first.status in _NOT_HERE:
            self._shut_out = first.status

    def _send(self, calls: Sequence[CheckRequest], manner: str) -> list[Answer]:
        if manner == "at once":
            return self._send_at_once(calls)
        if manner == "on one connection":
            with closing(CheckConnection(self._target, self._seconds, self._tls)) as line:
                return [self._exchange(line, call, keep_alive=True) for call in calls]
        answers = []
        for call in calls:
            answers.append(self._send_alone(call))
            if isinstance(answers[-1], NoReply):
                break  # the others would only take as long
        return answers

    def _send_at_once(self, calls: Sequence[CheckRequest]) -> list[Answer]:
        lines = [CheckConnection(self._target, self._seconds, self._tls) for _ in calls]
        with ThreadPoolExecutor(len(calls)) as threads:
            try:
                return list(threads.map(self._exchange, lines, calls))
            finally:  # Ctrl-C too: no thread goes on waiting for its answer
                for line in lines:
                    line.close()

    def _send_alone(self, call: CheckRequest) -> Answer:
        with closing(CheckConnection(self._target, self._seconds, self._tls)) as line:
            return self._exchange(line, call)

    def _exchange(self, line: CheckConnection, call: CheckRequest, *, keep_alive: bool = False) -> Answer:
        head, body = write_request(self._target, call, self._token, self._wrong, keep_alive=keep_alive)
        return self._strike(line.call(call.method, head, body))

    def _look(self, ending: Ending, passed: set[str]) -> CheckResult:
        """Read our ops API. What stands there is only looked at where the calls before it were answered as they should."""
        if self._ops is None or ending.after not in passed:
            return CheckResult(ending.rule, "unknown", f"not looked at: {ending.after} did not pass")
        if self._shut_out_of_ops is not None:
            return CheckResult(ending.rule, "unknown", f"not looked at: the ops API said {self._shut_out_of_ops}")
        judgement = self._ask(self._ops, ending)
        return CheckResult(ending.rule, verdict_of(ending.rule.severity, judgement), judgement.seen)

    def _ask(self, ops: OpsAccess, ending: Ending) -> Judgement:
        path, _, query = ending.path(self._parcels).partition("?")
        target = ops.target._replace(path=f"{ops.target.path}/ops/api/{path}", query=query or None)
        with closing(CheckConnection(target, self._seconds, self._tls)) as line:
            answer = self._strike(line.call("GET", *write_request(target, CheckRequest(method="GET"), ops.token, self._wrong)))
        if not isinstance(answer, CheckReply) or answer.status in {401, 403}:
            self._shut_out_of_ops = describe(answer)
        if not isinstance(answer, CheckReply) or answer.status != 200:
            return Judgement("bad", describe(answer))
        try:
            fault = ending.find_fault(self._parcels, orjson.loads(answer.body))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return Judgement("bad", f"not this service's answer: {describe(answer)}")
        return Judgement("bad", printable(fault[:_SHOWN])) if fault else Judgement("good", "as it should be")

    def _strike(self, answer: Answer) -> Answer:
        """Take every token out of an answer before anybody looks at it, and remember that it was there."""
        if isinstance(answer, NoReply):
            return answer
        body, repeats = self._strike_out(answer.body)
        headers = []
        for name, value in answer.headers:
            struck, here = self._strike_out(value.encode("latin-1", "replace"))
            headers.append((name, struck.decode("utf-8", "backslashreplace")))
            repeats |= here
        return answer._replace(body=body, headers=tuple(headers), repeats_token=repeats)

    def _strike_out(self, data: bytes) -> tuple[bytes, bool]:
        lowered = data.lower()
        if not any(form.lower() in lowered for form in self._forms):  # much faster than to replace nothing in a million bytes
            return data, False
        telling = any(len(found) >= MIN_TELLING_LETTERS for found in self._striking.findall(data))
        return self._striking.sub(_STRUCK_OUT, data), telling
