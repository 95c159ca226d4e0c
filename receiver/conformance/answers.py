"""What is asked of all answers together."""

from receiver.conformance import judging
from receiver.conformance.access import AUTHENTICATION, DELIVERY, SPECIFICATION
from receiver.conformance.records import Overall, Rule

_GROUP = "answers"


def overall_rules(seconds: float) -> tuple[Overall, ...]:
    """Return all of them; `seconds` is how long an answer may take."""
    return (
        Overall(
            Rule(
                _GROUP,
                "no `success: false`",
                "look into every answer of 2xx",
                'none, neither false nor "false"',
                "takes a 2xx with it for a failure and repeats the call",
                DELIVERY,
            ),
            judging.never_failed,
        ),
        Overall(
            Rule(
                _GROUP,
                "no key `success`",
                "look into every answer of 2xx",
                "none: the status says it",
                "takes a 2xx with `success: false` for a failure; the key can only do harm",
                DELIVERY,
                "should",
            ),
            judging.never_success,
        ),
        Overall(
            Rule(
                _GROUP,
                "no token repeated",
                "look for the tokens in every answer, headers too",
                "none",
                "keeps answers, with their headers, and shows them to people",
                AUTHENTICATION,
            ),
            judging.never_repeated,
        ),
        Overall(
            Rule(
                _GROUP,
                "answers in time",
                "measure every answer",
                f"within {seconds:g} s, and mostly well before",
                "waits 15 s, then counts the call as failed and repeats it",
                SPECIFICATION,
            ),
            judging.answered_within(seconds),
        ),
    )
