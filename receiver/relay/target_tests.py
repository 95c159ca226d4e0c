"""A test change for one target: sent at once, never stored, and told from real changes by its source."""

import traceback
from collections.abc import Awaitable, Callable
from uuid import uuid4

from receiver import clock
from receiver.clock import to_micros
from receiver.domain.changes import TargetTestResult, make_test_change
from receiver.domain.storable import make_storable
from receiver.relay.target import NotAcknowledged, Target, TargetGone, deliver_in_time, describe_error

NOT_RUNNING = TargetTestResult(delivered=False, status=None, answer="The relay does not run. See relay_ended in the log.")
"""The result of a test without a relay."""

TestTarget = Callable[[str], Awaitable[TargetTestResult]]
"""Sends a test change to the target of this name."""

_MAX_CHARACTERS = 400


async def deliver_test_change(target: Target) -> TargetTestResult:
    """Deliver a test change to a target and return its answer. Pauses, stops and failures of the target do not matter."""
    change = make_test_change(str(uuid4()), to_micros(clock.now()))
    try:
        status = await deliver_in_time(target, change)
    except (NotAcknowledged, TargetGone) as error:
        return TargetTestResult(delivered=False, status=error.answered, answer=describe_error(error))
    except Exception as error:
        return TargetTestResult(delivered=False, status=None, answer=_describe(error))
    return TargetTestResult(
        delivered=True, status=status, answer="It took the change." if status is None else f"It answered {status}."
    )


async def no_relay(_target: str) -> TargetTestResult:
    """Return the result of a test without a relay."""
    return NOT_RUNNING


def read_result(result: object) -> TargetTestResult:
    """Return a result with the right types and a bounded text: the user's handlers share the process that sends it."""
    if not isinstance(result, TargetTestResult):
        return TargetTestResult(delivered=False, status=None, answer="The relay sent no result.")
    status = result.status if isinstance(result.status, int) else None
    return TargetTestResult(
        delivered=result.delivered is True, status=status, answer=make_storable(str(result.answer))[:_MAX_CHARACTERS]
    )


def _describe(error: Exception) -> str:
    """Return the last line of an error of a handler, or of its traceback."""
    lines = "".join(traceback.format_exception_only(error)).strip().splitlines()
    return (lines or [type(error).__name__])[-1][:_MAX_CHARACTERS]
