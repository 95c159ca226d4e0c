"""Records of the checks: requests, rules, cases and results."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from receiver.testkit.check.parcels import Parcels
from receiver.testkit.http import Reply

Bearer = Literal["right", "none", "wrong", "other scheme", "lower case", "in the query"]
Manner = Literal["in turn", "at once", "on one connection"]
Severity = Literal["must", "should"]
Level = Literal["good", "weak", "bad", "unknown"]
Verdict = Literal["pass", "fail", "warn", "unknown"]


class CheckRequest(NamedTuple):
    """One request. `bearer`: how the token is sent. `other_spelling`: with a trailing slash added to the path, or removed."""

    body: bytes = b""
    method: Literal["POST", "HEAD", "GET"] = "POST"
    bearer: Bearer = "right"
    content_type: str = "application/json"
    chunked: bool = False
    other_spelling: bool = False


class Judgement(NamedTuple):
    """What responses show. `weak`: not as expected, but harmless. `unknown`: they show nothing."""

    level: Level
    seen: str


Judge = Callable[[Sequence[Reply]], Judgement]


class Rule(NamedTuple):
    """A rule for receivers. `must`: otherwise messages are lost or strangers accepted. `should`: good practice.

    `vendor` completes the sentence "Ship24 …": what it does if the rule is broken, or always. `page` is the source.
    """

    group: str
    name: str
    does: str
    expected: str
    vendor: str
    page: str
    severity: Severity = "must"


class Case(NamedTuple):
    """Requests and the judge of their responses. `outcomes` are those that this service gives, one text for each request."""

    rule: Rule
    make: Callable[[Parcels], Sequence[CheckRequest]]
    judge: Judge
    manner: Manner = "in turn"
    outcomes: tuple[str, ...] = ()


class Overall(NamedTuple):
    """A rule for the responses of all cases together."""

    rule: Rule
    judge: Judge


class Ending(NamedTuple):
    """An end state that the ops API has to show afterwards, if the case named `after` passed.

    `path` is below `/ops/api/`; `find_fault` returns what is wrong with the response, or None.
    """

    rule: Rule
    after: str
    path: Callable[[Parcels], str]
    find_fault: Callable[[Parcels, dict[str, object]], str | None]


class CheckResult(NamedTuple):
    """The verdict on a rule. `seen` may contain text from the receiver; it is printable."""

    rule: Rule
    verdict: Verdict
    seen: str
