"""The rows of the outbox: changes that wait for a target, and delivered ones. Pure."""

from typing import NamedTuple


class DispatchRow(NamedTuple):
    """A change that waits for a target. `due_at` is the time of the next attempt, `claim` the id of the claim on it, if any.

    The changes of a tracker go to a target in the order of `move`: each one waits for the one before it. `error` is that of the
    last failed attempt. `attempts` counts the attempts with a result, `unsettled` the claims since then that ended without one.
    """

    target: str
    source: str
    tracker_id: str
    move: int
    event_id: str
    due_at: int
    attempts: int
    claim: str | None
    error: str | None
    made_at: int
    unsettled: int = 0


class DeliveredRow(NamedTuple):
    """A delivered change: the number of attempts, and the status of the answer (None: this kind of target has none).

    A change that is delivered again replaces its row.
    """

    target: str
    source: str
    tracker_id: str
    move: int
    change_id: str
    delivered_at: int
    attempts: int
    status: int | None
