"""What the relay needs of a target: that it takes a change, or says why not. A new kind of target is one file with one class."""

from typing import Protocol

from receiver.domain.changes import Change, Subscription
from receiver.errors import ReceiverError

AT_ONCE = 32
"""Changes under way to one target, each of another tracker."""


class Target(Protocol):
    """Somebody who is told of changes."""

    subscription: Subscription
    timeout_seconds: float
    runs_foreign_code: bool
    """Whether a change can end the process that delivers it. Then, after such an end, what was under way is tried alone."""

    async def deliver(self, change: Change) -> None:
        """Hand a change over; returning means that it was taken. Raises NotTaken, TargetDown, TargetGone, or anything else.

        The same change may come again: its id is the same.
        """

    async def close(self) -> None:
        """Let go of connections."""


class NotTaken(ReceiverError):
    """The target did not take a change; it is tried again, at the earliest after `asked_seconds` if the target said so."""

    code = "not_taken"

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.asked_seconds = retry_after_seconds


class TargetDown(NotTaken):
    """The target takes nothing now, whatever it is given: no connection, no answer in time, 429, 5xx. This counts against it.

    All other failures are those of one change, and hold up its tracker alone.
    """

    code = "target_down"


class TimedOut(TargetDown, TimeoutError):
    """The target did not take a change in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"It did not take the change within {seconds:g} seconds.")


class TargetGone(ReceiverError):
    """The target wants no more; it is left alone until an operator resumes it."""

    code = "target_gone"
