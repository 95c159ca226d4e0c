"""One run of the checks: cases one after the other, then the ops API, then all responses together."""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

from receiver.access.bearer import Secret
from receiver.testkit.check.access import FIRST
from receiver.testkit.check.judging import decided_as, describe, printable, verdict_of
from receiver.testkit.check.parcels import Parcels
from receiver.testkit.check.planning import CheckPlan
from receiver.testkit.check.records import Case, CheckRequest, CheckResult, Ending, Judgement
from receiver.testkit.check.target import MIN_DISTINCT_CHARACTERS, USER_AGENT, CheckTarget, prepare, spellings
from receiver.testkit.http import HttpClient, HttpConnection, HttpReply, NoReply, Reply
from receiver.testkit.marking import Marker, NotMarked, ask, is_taken_as_real
from receiver.testkit.ops_client import OpsClient

_SILENT_CASES = 3  # after so many cases in a row without any response, the other ones are skipped
_NOT_HERE = {*range(300, 400), 401, 403, 404, 405}  # the token is not accepted, or the URL is not that of a webhook
_REDACTED = b"[token]"
_SHOWN = 200  # characters of a fault in the ops API

Advance = Callable[[], None]


class Unreachable(Exception):
    """There is no server at the address; the text says why."""


class OpsAccess(NamedTuple):
    """The address of our own service and a token for its ops API."""

    target: CheckTarget
    token: Secret


class Check:
    """One run. `seconds` is the time for one response; `ops` is None unless the receiver is this service.

    Without a `marker` the receiver takes all requests for real ones.
    """

    def __init__(
        self,
        target: CheckTarget,
        token: Secret,
        parcels: Parcels,
        seconds: float,
        ops: OpsAccess | None = None,
        marker: Marker | None = None,
    ) -> None:
        self._target = target
        self._token = token
        self._wrong = Secret("wrong", f"{parcels.prefix}-no-such-token")
        self._parcels = parcels
        self._seconds = seconds
        self._ops = ops
        self._marker = marker
        self._replies: list[Reply] = []
        self._silent = 0
        self._rejected_status: int | None = None  # the status of the simplest valid request, if it was rejected
        self._ops_failure: str | None = None  # the result of a request with the ops token, if it was rejected
        self._redactor = TokenRedactor([token, self._wrong, *([] if ops is None else [ops.token])])

    def run(self, plan: CheckPlan, advance: Advance) -> list[CheckResult]:
        """Run all checks. Raises Unreachable if there is no server, and NotMarked if it takes a test for real messages."""
        return asyncio.run(self._run(plan, advance))

    async def _run(self, plan: CheckPlan, advance: Advance) -> list[CheckResult]:
        results: list[CheckResult] = []
        async with HttpClient(self._seconds) as client:
            if self._marker is not None:
                await self._ask(client, self._marker)
            for case in plan.cases:
                results.append(await self._try(client, case))
                advance()
            passed = {result.rule.name for result in results if result.verdict == "pass"}
            for ending in plan.endings:
                results.append(await self._check_ending(client, ending, passed))
                advance()
        for overall in plan.overall:
            judgement = overall.judge(self._replies)
            results.append(CheckResult(overall.rule, verdict_of(overall.rule.severity, judgement), judgement.seen))
            advance()
        return results

    async def _ask(self, client: HttpClient, marker: Marker) -> None:
        reply = await ask(client.connect(), f"{self._target.origin}{self._target.path}", {"User-Agent": USER_AGENT}, marker)
        if isinstance(reply, NoReply):
            raise Unreachable(reply.reason)

    async def _try(self, client: HttpClient, case: Case) -> CheckResult:
        requests = case.make(self._parcels)
        if self._silent >= _SILENT_CASES:
            return CheckResult(case.rule, "unknown", f"not tried: no response to {_SILENT_CASES} cases in a row")
        if self._rejected_status is not None and any(_needs_the_token(request) for request in requests):
            return CheckResult(case.rule, "unknown", f"not tried: even one message is answered {self._rejected_status}")
        replies = await self._send(client, requests, case.manner)
        self._note(case, replies)
        judgement = case.judge(replies)
        if judgement.level == "good" and case.outcomes:
            at_once = case.manner == "at once"
            judgement = decided_as(case.outcomes, replies, ours=self._ops is not None, at_once=at_once) or judgement
        return CheckResult(case.rule, verdict_of(case.rule.severity, judgement), judgement.seen)

    def _note(self, case: Case, replies: Sequence[Reply]) -> None:
        first = replies[0]
        if not self._replies and isinstance(first, NoReply) and not first.connected:
            raise Unreachable(first.reason)
        self._replies += replies
        self._silent = self._silent + 1 if all(isinstance(reply, NoReply) for reply in replies) else 0
        if case.rule.name == FIRST and isinstance(first, HttpReply) and first.status in _NOT_HERE:
            self._rejected_status = first.status

    async def _send(self, client: HttpClient, requests: Sequence[CheckRequest], manner: str) -> list[Reply]:
        if manner == "at once":
            return await asyncio.gather(*(self._exchange(client.connect(), request) for request in requests))
        if manner == "on one connection":
            connection = client.connect()
            return [await self._exchange(connection, request, keep_alive=True) for request in requests]
        replies: list[Reply] = []
        for request in requests:
            replies.append(await self._exchange(client.connect(), request))
            if isinstance(replies[-1], NoReply):
                break  # the others would probably take as long
        return replies

    async def _exchange(self, connection: HttpConnection, request: CheckRequest, *, keep_alive: bool = False) -> Reply:
        prepared = prepare(self._target, request, self._token, self._wrong, self._marker, keep_alive=keep_alive)
        reply = await connection.call(*prepared)
        if request.method == "POST" and is_taken_as_real(self._marker, reply):
            raise NotMarked
        return self._redactor.redact(reply)

    async def _check_ending(self, client: HttpClient, ending: Ending, passed: set[str]) -> CheckResult:
        """Read an end state from our ops API, if the case before it passed."""
        if self._ops is None or ending.after not in passed:
            return CheckResult(ending.rule, "unknown", f"not checked: {ending.after} did not pass")
        if self._ops_failure is not None:
            return CheckResult(ending.rule, "unknown", f"not checked: the ops API answered {self._ops_failure}")
        judgement = await self._read(client, self._ops, ending)
        return CheckResult(ending.rule, verdict_of(ending.rule.severity, judgement), judgement.seen)

    async def _read(self, client: HttpClient, ops: OpsAccess, ending: Ending) -> Judgement:
        reader = OpsClient(str(ops.target), ops.token.reveal(), client.connect())
        reply = self._redactor.redact(await reader.get(ending.path(self._parcels)))
        if not isinstance(reply, HttpReply) or reply.status in {401, 403}:
            self._ops_failure = describe(reply)
        if not isinstance(reply, HttpReply) or reply.status != 200:
            return Judgement("bad", describe(reply))
        try:
            fault = ending.find_fault(self._parcels, orjson.loads(reply.body))
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return Judgement("bad", f"not the ops API of this service: {describe(reply)}")
        return Judgement("bad", printable(fault[:_SHOWN])) if fault else Judgement("good", "as expected")


class TokenRedactor:
    """Redacts tokens in responses before anything is judged or shown, and marks the responses that repeated one."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        forms = {form for secret in secrets for form in spellings(secret)}
        self._forms = sorted(forms, key=len, reverse=True)  # one may be the beginning of another
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)), re.IGNORECASE)

    def redact(self, reply: Reply) -> Reply:
        """Return a response without tokens."""
        if isinstance(reply, NoReply):
            return reply
        body, repeats = self._redact(reply.body)
        headers = []
        for name, value in reply.headers:
            redacted, here = self._redact(value.encode("latin-1", "replace"))
            headers.append((name, redacted.decode("utf-8", "backslashreplace")))
            repeats |= here
        return reply._replace(body=body, headers=tuple(headers), repeats_token=repeats)

    def _redact(self, data: bytes) -> tuple[bytes, bool]:
        lowered = data.lower()
        if not any(form.lower() in lowered for form in self._forms):  # much faster than a substitution in a million bytes
            return data, False
        repeats = any(len(found) >= MIN_DISTINCT_CHARACTERS for found in self._pattern.findall(data))
        return self._pattern.sub(_REDACTED, data), repeats


def _needs_the_token(request: CheckRequest) -> bool:
    return request.method == "POST" and request.bearer in {"right", "lower case"}
