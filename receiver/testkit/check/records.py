"""What is sent, what came back, and what is thought of it. Records that cannot change, nothing else."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from receiver.testkit.check.parcels import Parcels

Bearer = Literal["right", "none", "wrong", "other scheme", "lower case", "in the query"]
Manner = Literal["in turn", "at once", "on one connection"]
Severity = Literal["must", "should"]
Level = Literal["good", "weak", "bad", "unknown"]
Verdict = Literal["pass", "fail", "warn", "unknown"]


class CheckRequest(NamedTuple):
    """One request. `bearer` tells how the token is sent. `other_spelling`: with the trailing slash that the URL lacks, or without
    the one that it has.
    """

    body: bytes = b""
    method: Literal["POST", "HEAD", "GET"] = "POST"
    bearer: Bearer = "right"
    content_type: str = "application/json"
    chunked: bool = False
    other_spelling: bool = False


class CheckReply(NamedTuple):
    """An answer, without the token wherever it stood in it; `repeats_token` tells that it did.

    `headers` have lower-case names. `is_cut`: it was longer than is read. `closes`: the connection ends with it.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float
    is_cut: bool = False
    closes: bool = True
    repeats_token: bool = False

    def header(self, name: str) -> str | None:
        """Return the first header of this name."""
        return next((value for known, value in self.headers if known == name), None)


class NoReply(NamedTuple):
    """There was no whole answer; `reason` says why, in words of ours. `connected`: somebody was there at all."""

    reason: str
    seconds: float
    connected: bool = True


Answer = CheckReply | NoReply


class Judgement(NamedTuple):
    """What answers show. `weak`: not as it should be, but nothing is lost by it. `unknown`: they show nothing."""

    level: Level
    seen: str


Judge = Callable[[Sequence[Answer]], Judgement]


class Rule(NamedTuple):
    """What is asked of a receiver. `must`: or updates are lost or strangers let in. `should`: as good receivers do it.

    `vendor` is what Ship24 does otherwise (or always, where that is the reason), `page` is where it says so.
    """

    group: str
    name: str
    does: str
    expected: str
    vendor: str
    page: str
    severity: Severity = "must"


class Case(NamedTuple):
    """Calls, and what is thought of their answers. `outcomes` are the verdicts that our own service gives, one text a call."""

    rule: Rule
    make: Callable[[Parcels], Sequence[CheckRequest]]
    judge: Judge
    manner: Manner = "in turn"
    outcomes: tuple[str, ...] = ()


class Overall(NamedTuple):
    """What is thought of the answers of all cases together."""

    rule: Rule
    judge: Judge


class Ending(NamedTuple):
    """What our ops API has to show afterwards, if the case called `after` passed.

    `path` is under `/ops/api`; `find_fault` says what is wrong with the answer, or returns nothing.
    """

    rule: Rule
    after: str
    path: Callable[[Parcels], str]
    find_fault: Callable[[Parcels, dict[str, object]], str | None]


class CheckResult(NamedTuple):
    """What came of a rule; `seen` holds text from outside, made printable."""

    rule: Rule
    verdict: Verdict
    seen: str
