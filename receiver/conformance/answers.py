"""What is asked of all answers together."""

from receiver.conformance import judging
from receiver.conformance.access import AUTHENTICATION, DELIVERY, SPECIFICATION
from receiver.conformance.records import Overall, Rule

_SUCCESSES = "look into every answer of 2xx"
_EVERYWHERE = "look for the tokens in every answer, headers too"
_TAKEN_BACK = "takes a 2xx with `success: false` for a failure and repeats the call"
_HARMFUL = "takes a 2xx with `success: false` for a failure; the key can only do harm"
_SHOWN = "keeps answers, with their headers, and shows them to people"
_WAITS = "waits 15 s, then counts the call as failed and repeats it"


def overall_rules(seconds: float) -> tuple[Overall, ...]:
    """Return all of them; `seconds` is how long an answer may take."""
    in_time = f"within {seconds:g} s, and mostly well before"
    never = 'none, neither false nor "false"'
    return (
        Overall(Rule("answers", "no `success: false`", _SUCCESSES, never, _TAKEN_BACK, DELIVERY), judging.never_failed),
        Overall(
            Rule("answers", "no key `success`", _SUCCESSES, "none: the status says it", _HARMFUL, DELIVERY, "should"),
            judging.never_success,
        ),
        Overall(Rule("answers", "no token repeated", _EVERYWHERE, "none", _SHOWN, AUTHENTICATION), judging.never_repeated),
        Overall(
            Rule("answers", "answers in time", "measure every answer", in_time, _WAITS, SPECIFICATION),
            judging.answered_within(seconds),
        ),
    )
