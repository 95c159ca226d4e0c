"""Cases: repeated, parallel, late, large and chunked deliveries."""

from collections.abc import Callable, Sequence

from receiver.testkit.check import judging
from receiver.testkit.check.access import DELIVERY, RETRIED
from receiver.testkit.check.parcels import Parcels, body
from receiver.testkit.check.records import Case, CheckRequest, Manner, Rule, Severity

COPIES = 8
ITEMS = 100
_TRACKERS = 10
_LARGE_BYTES = 1_000_000

_REPEATS = "repeats failed and late deliveries, and all messages of a tracker when a user asks; after an error it goes on"
_DISORDER = "promises no order; after an error it repeats the delivery: 20 attempts over about six days"
_GROUPS = "groups as many messages as the account allows; after 20 failed attempts all of them are lost"

Make = Callable[[Parcels], Sequence[CheckRequest]]


def repeat_cases() -> tuple[Case, ...]:
    """Return the cases."""
    return (*_again(), *_in_bulk(), _kept_open())


def _again() -> tuple[Case, ...]:
    return (
        _case(
            "the same delivery again",
            "three equal deliveries, one after the other",
            _REPEATS,
            lambda p: [CheckRequest(body(p.item("again")))] * 3,
            outcomes=("applied", "duplicate", "duplicate"),
        ),
        _case(
            "the same delivery in parallel",
            f"{COPIES} equal deliveries at the same time",
            _REPEATS,
            lambda p: [CheckRequest(body(p.item("copies")))] * COPIES,
            manner="at once",
            outcomes=("applied", *["duplicate"] * (COPIES - 1)),
        ),
        _case(
            "a known event in a new message",
            "an event that an earlier message contained",
            _REPEATS,
            lambda p: [CheckRequest(body(p.item("repeated", message))) for message in ("1", "2")],
            outcomes=("applied", "duplicate"),
        ),
        _case(
            "older after newer",
            "a message, then another one with an older event",
            _DISORDER,
            lambda p: [CheckRequest(body(p.item("late", age, [p.event("late", age, int(age))]))) for age in ("2", "48")],
            outcomes=("applied", "stale"),
        ),
    )


def _in_bulk() -> tuple[Case, ...]:
    return (
        _case(
            f"{ITEMS} messages in one delivery",
            f"{ITEMS} messages of {_TRACKERS} trackers in one delivery",
            _GROUPS,
            lambda p: [CheckRequest(_many(p))],
        ),
        _case(
            "1 MB in one delivery",
            "a message of a million bytes",
            _GROUPS,
            lambda p: [CheckRequest(_large(p))],
            severity="should",
            outcomes=("applied",),
        ),
        _case(
            "body in chunks",
            "`Transfer-Encoding: chunked` instead of a length",
            RETRIED,
            lambda p: [CheckRequest(body(p.item("chunked")), chunked=True)],
            severity="should",
            outcomes=("applied",),
        ),
    )


def _case(
    name: str,
    does: str,
    vendor: str,
    make: Make,
    severity: Severity = "must",
    manner: Manner = "in turn",
    outcomes: tuple[str, ...] = (),
) -> Case:
    return Case(Rule("repeats", name, does, "2xx", vendor, DELIVERY, severity), make, judging.accepted, manner, outcomes)


def _kept_open() -> Case:
    rule = Rule(
        "repeats",
        "connection reused",
        "three deliveries over one connection",
        "2xx, or a response that announces the close",
        "does not say whether it reuses connections; a delivery that breaks with its connection counts as failed",
        DELIVERY,
        "should",
    )

    def make(parcels: Parcels) -> list[CheckRequest]:
        return [
            CheckRequest(body(parcels.item("kept", number, [parcels.event("kept", number, 9 - int(number))]))) for number in "123"
        ]

    return Case(rule, make, judging.kept_open, "on one connection", ("applied", "applied", "applied"))


def _many(parcels: Parcels) -> bytes:
    """Return a body whose trackers change with each of their messages."""
    items = []
    for number in range(ITEMS):
        tracker, step = f"many-{number % _TRACKERS}", str(number)
        items.append(parcels.item(tracker, step, [parcels.event(tracker, step, ITEMS - number)]))
    return body(*items)


def _large(parcels: Parcels) -> bytes:
    small = body(parcels.item("large"))
    return body({**parcels.item("large"), "padding": "x" * (_LARGE_BYTES - len(small) - len(',"padding":""'))})
