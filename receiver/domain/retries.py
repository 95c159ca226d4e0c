"""The effect of deciding quarantined messages again, added up over many deliveries. Pure."""

from collections import Counter
from typing import Any, NamedTuple

from receiver.domain.replays import Movement, Replayed
from receiver.domain.verdicts import Verdict

_MAX_TRACKERS = 200  # that are named

Step = tuple[str | None, str | None, str, str | None]
"""Outcome and reason before (None: no verdict), outcome and reason after."""


class Retried(NamedTuple):
    """The effect on some deliveries, real or foreseen.

    `skipped` counts those that cannot be decided because their bodies are gone or damaged. `changing` has the ids of those whose
    messages change, `steps` the number of messages by verdict before and after. `moved` counts trackers; the first ones are in
    `trackers`.
    """

    deliveries: int
    skipped: int
    changing: tuple[str, ...]
    steps: Counter[Step]
    moved: int
    trackers: tuple[Movement, ...]

    @classmethod
    def of_none(cls) -> "Retried":
        """Return the effect on no delivery."""
        return cls(0, 0, (), Counter(), 0, ())

    def add(self, replayed: Replayed | None) -> "Retried":
        """Return the sum with a delivery; None stands for a skipped one."""
        if replayed is None:
            return self._replace(deliveries=self.deliveries + 1, skipped=self.skipped + 1)
        if not replayed.changed:
            return self._replace(deliveries=self.deliveries + 1)
        steps = Counter(_step(item.before, item.after) for item in replayed.items if item.changed)
        return Retried(
            self.deliveries + 1,
            self.skipped,
            (*self.changing, replayed.delivery_id),
            self.steps + steps,
            self.moved + len(replayed.trackers),
            (*self.trackers, *replayed.trackers)[:_MAX_TRACKERS],
        )

    def as_json(self) -> dict[str, Any]:
        """Return the effect in the shape of the API."""
        results = [
            {
                "before": None if outcome is None else {"outcome": outcome, "reason": reason},
                "after": {"outcome": after, "reason": after_reason},
                "messages": number,
            }
            for (outcome, reason, after, after_reason), number in self.steps.most_common()
        ]
        numbers = {"deliveries": self.deliveries, "changed": len(self.changing), "skipped": self.skipped}
        return {**numbers, "results": results, "trackers": self.moved}


def _step(before: Verdict | None, after: Verdict) -> Step:
    known = (None, None) if before is None else (before.outcome, before.reason)
    return *known, after.outcome, after.reason
