"""The steps from an installed service to its first message, as the overview shows them. Pure; times are microseconds."""

from collections.abc import Collection
from typing import NamedTuple

_SHOWN_FOR_MICROS = 2 * 3600 * 1_000_000  # after the hour of the first delivery: long enough to watch the last step turn green


class SourceSetup(NamedTuple):
    """A source that is on. `deliveries` counts all, rejected ones too; `is_limited`: only listed IP addresses are accepted."""

    name: str
    urls: tuple[str, ...]
    deliveries: int
    has_accepted: bool
    is_limited: bool
    window_closes_at: int = 0


class FirstStep(NamedTuple):
    """One step: `address`, `secret`, `window` or `message`."""

    name: str
    is_done: bool


def list_first_steps(sources: Collection[SourceSetup], first_accepted_at: int | None, now: int) -> list[FirstStep]:
    """Return the steps; none once the first delivery was accepted a while ago.

    `first_accepted_at` is its time, or the start of its hour.
    """
    if first_accepted_at is not None and first_accepted_at < now - _SHOWN_FOR_MICROS:
        return []
    has_accepted = any(source.has_accepted for source in sources)
    return [
        FirstStep("address", any(source.deliveries for source in sources) or has_accepted),
        FirstStep("secret", bool(sources)),
        FirstStep("window", has_accepted or any(not each.is_limited or each.window_closes_at > now for each in sources)),
        FirstStep("message", has_accepted),
    ]
