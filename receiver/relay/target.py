"""The interface of a target, and its errors. A new kind of target is one file with one class."""

import asyncio
from typing import Protocol

from receiver.domain.changes import Change, Subscription
from receiver.errors import ReceiverError

AT_ONCE = 32
"""Maximum number of changes in flight to one target, each of another tracker."""


class Target(Protocol):
    """A receiver of changes."""

    subscription: Subscription
    timeout_seconds: float
    runs_foreign_code: bool
    """Whether a change can end the process that delivers it. After such an end, each change that was in flight is tried alone."""

    async def deliver(self, change: Change) -> int | None:
        """Deliver a change. Return to acknowledge; raise NotAcknowledged, TargetUnavailable or anything else to retry.

        Return the status of the answer, or None if this kind of target has none. TargetGone stops the target. The same change
        may be delivered again, with the same ID.
        """

    async def close(self) -> None:
        """Close all connections."""


class NotAcknowledged(ReceiverError):
    """The target did not acknowledge a change. The change is retried, no earlier than the target's Retry-After.

    `answer` is the beginning of its answer (`excerpts.make_excerpt`). It is stored with the change and never logged, because it
    may have personal data. `answered` is the HTTP status, if there was one.
    """

    code = "not_acknowledged"

    def __init__(
        self, message: str, requested_seconds: float | None = None, answer: str = "", answered: int | None = None
    ) -> None:
        super().__init__(message)
        self.requested_seconds = requested_seconds
        self.answer = answer
        self.answered = answered


class TargetUnavailable(NotAcknowledged):
    """The target is unavailable: no connection, no response in time, 429 or 5xx. This counts against the target.

    All other failures count against one change, and hold up its tracker only.
    """

    code = "target_unavailable"


class TimedOut(TargetUnavailable, TimeoutError):
    """The target did not respond in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"It did not take the change within {seconds:g} seconds.")


class TargetGone(ReceiverError):
    """The target wants no more changes (410). It is stopped until an operator resumes it."""

    code = "target_gone"

    def __init__(self, message: str, answer: str = "", answered: int | None = None) -> None:
        super().__init__(message)
        self.answer = answer
        self.answered = answered


async def deliver_in_time(target: Target, change: Change) -> int | None:
    """Deliver a change; return the status of the answer. Raises the target's own errors, and TimedOut after the time-out."""
    limit = asyncio.timeout(target.timeout_seconds)
    try:
        async with limit:
            return await target.deliver(change)
    except TimeoutError:
        if limit.expired():
            raise TimedOut(target.timeout_seconds) from None
        raise


def describe_error(error: NotAcknowledged | TargetGone) -> str:
    """Return the message of an error and the beginning of the target's answer, on one line."""
    return f"{error.message} The answer begins: {error.answer}" if error.answer else error.message
