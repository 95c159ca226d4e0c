"""The plan of a run: cases, end states, and rules for all responses together."""

from typing import NamedTuple

from receiver.testkit.check import judging
from receiver.testkit.check.access import DELIVERY, access_cases, in_query
from receiver.testkit.check.bodies import body_cases
from receiver.testkit.check.endings import endings
from receiver.testkit.check.records import Case, Ending, Overall, Rule
from receiver.testkit.check.repeats import repeat_cases

_REFERENCE = "docs.ship24.com/tracking-api-reference"
_NO_PAGE = "none: seen in the vendor's own code, 2026-09"

_WITHDRAWN = "takes a 2xx with `success: false` for a failure and repeats the delivery; the key can only do harm"
_SHOWN = "stores responses with their headers and shows them to its users"
_WAITS = "waits 15 s, then counts the delivery as failed and repeats it"


class CheckPlan(NamedTuple):
    """All checks of a run, in order."""

    cases: tuple[Case, ...]
    endings: tuple[Ending, ...]
    overall: tuple[Overall, ...]

    def __len__(self) -> int:
        return len(self.cases) + len(self.endings) + len(self.overall)


def make_plan(seconds: float, *, expect_ops: bool, token_in_query: bool) -> CheckPlan:
    """Return the plan; `seconds` is the time for one response."""
    queried = (in_query(),) if token_in_query else ()
    cases = (*access_cases(), *queried, *body_cases(), *repeat_cases())
    return CheckPlan(cases, endings() if expect_ops else (), _overall(seconds))


def _overall(seconds: float) -> tuple[Overall, ...]:
    in_time = f"within {seconds:g} s, usually within a third of it"
    return (
        Overall(
            Rule(
                "answers", "no key `success`", "look into every 2xx", "none: the status is enough", _WITHDRAWN, _NO_PAGE, "should"
            ),
            judging.never_success,
        ),
        Overall(
            Rule(
                "answers", "no token repeated", "look for the tokens in every response, headers too", "none", _SHOWN, _REFERENCE
            ),
            judging.never_repeated,
        ),
        Overall(
            Rule("answers", "response time", "measure every response", in_time, _WAITS, DELIVERY),
            judging.answered_within(seconds),
        ),
    )
