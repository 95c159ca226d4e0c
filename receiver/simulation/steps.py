"""When a vendor calls again after a call that failed. Pure."""

_MINUTE = 60.0
_HOUR = 3600.0

TIMEOUT_SECONDS = 15.0
"""Within which an answer has to be there. Source: Ship24 documentation, "Webhooks"; Shiipp publishes none."""


def retry_steps(source: str, scale: float) -> tuple[float, ...]:
    """Return how many seconds are waited after each attempt that failed; `scale` shortens the vendor's own times.

    Ship24 makes 20 attempts in about six days, the first again after 12 minutes, at most 12 hours apart (read from its code).
    Shiipp tries up to five times more, ever further apart (its documentation; by how much is not said: ten minutes, doubled).
    """
    if source == "ship24":
        return tuple(min(12 * _MINUTE * 1.5**step, 12 * _HOUR) * scale for step in range(19))
    return tuple(10 * _MINUTE * 2**step * scale for step in range(5))
