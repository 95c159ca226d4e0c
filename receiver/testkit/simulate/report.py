"""The report of a run: figures, and how each was found. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from receiver.testkit.simulate.ledger import Findings
from receiver.testkit.simulate.records import TrafficPlan
from receiver.testkit.simulate.run import SimulationResult

_EXAMPLES = 20
_NO_VERDICTS = "unknown: its responses contain no verdicts"
_INTERRUPTED = "unknown: the run was interrupted"


class Figure(NamedTuple):
    """A count (None: unknown) and how it was found."""

    value: int | None
    how: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"count": self.value, "how": self.how}


class Report(NamedTuple):
    """The result of a run. `latency_ms` has quantiles by name; `examples` name what is wrong and why."""

    calls: dict[str, int]
    messages: dict[str, Any]
    answers: dict[str, int]
    seconds: float
    rate: float
    head: str
    test_call: str | None
    lost: Figure
    doubled: Figure
    wrong: Figure
    latency_ms: dict[str, float | None]
    behind_ms: float
    recovery_seconds: float
    examples: list[dict[str, str]]
    interrupted: bool

    @property
    def is_good(self) -> bool:
        """Return whether nothing is known to be lost, doubled or wrong, and the run came to its end."""
        return not self.interrupted and not any(figure.value for figure in (self.lost, self.doubled, self.wrong))

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        figures = {name: getattr(self, name).as_json() for name in ("lost", "doubled", "wrong")}
        rounded = {name: round(getattr(self, name), 3) for name in ("seconds", "rate", "behind_ms", "recovery_seconds")}
        latency = {name: None if value is None else round(value, 3) for name, value in self.latency_ms.items()}
        return {**self._asdict(), **figures, **rounded, "latency_ms": latency, "good": self.is_good}


def make_report(plan: TrafficPlan, result: SimulationResult) -> Report:
    """Return the report of a run."""
    ledger, found = result.ledger, result.ledger.find()
    compared = result.compared.wrong if result.compared is not None else {}
    found = found._replace(wrong=found.wrong | compared)
    lost, doubled, wrong = [Figure(None, _INTERRUPTED)] * 3 if result.interrupted else _figures(result, found)
    return Report(
        calls={
            "planned": len(plan.traffic),
            "made": ledger.made,
            "resent": len(plan.resend),
            "probes": len(plan.older) + len(plan.newer),
            "attempts": ledger.sent,
            "accepted": ledger.accepted,
            "refused": ledger.sent - ledger.accepted,
            "retries": ledger.retries,
            "given_up": ledger.failed,
        },
        messages={
            "sent": len(ledger.messages),
            "with_copies": ledger.carried,
            "accepted": ledger.accepted_messages(),
            "trackers": len({plan.messages[number].tracker for number in ledger.messages}),
            "outcomes": dict(ledger.outcomes),
        },
        answers=dict(sorted(ledger.statuses.items())),
        seconds=result.seconds,
        rate=ledger.made / result.seconds if result.seconds else 0.0,
        head=result.head,
        test_call=result.test_call,
        lost=lost,
        doubled=doubled,
        wrong=wrong,
        latency_ms=quantiles(ledger.latencies),
        behind_ms=ledger.behind * 1000,
        recovery_seconds=ledger.recovery,
        examples=list(_examples(plan, found))[:_EXAMPLES] if not result.interrupted else [],
        interrupted=result.interrupted,
    )


def quantiles(seconds: Sequence[float]) -> dict[str, float | None]:
    """Return quantiles in milliseconds: the smallest measured time that is not exceeded by at least that share of all."""
    ordered = sorted(seconds)
    shares = {"p50": 500, "p99": 990, "p99_9": 999, "max": 1000}  # in thousandths
    if not ordered:
        return dict.fromkeys(shares)
    return {name: ordered[max(0, -(-len(ordered) * share // 1000) - 1)] * 1000 for name, share in shares.items()}


def _figures(result: SimulationResult, found: Findings) -> list[Figure]:
    """Return the figures of lost, doubled and wrong."""
    if result.ledger.reads_verdicts:
        lost = Figure(len(found.lost), "sent again, each must be a duplicate")
        doubled = Figure(len(found.doubled), "of all copies, only one may be new")
    else:
        lost = Figure(len(found.lost) or None, "never accepted; nothing else is known" if found.lost else _NO_VERDICTS)
        doubled = Figure(None, _NO_VERDICTS)
    return [lost, doubled, _wrong(result, found)]


def _wrong(result: SimulationResult, found: Findings) -> Figure:
    probed, compared = result.ledger.probed_trackers(), result.compared
    ways = []
    if probed:
        ways.append(f"{probed:,} trackers probed")
    if compared is not None:
        part = f"of {compared.total:,} " if compared.trackers < compared.total else ""
        ways.append(f"{compared.trackers:,} {part}compared with the ops API")
    if not ways and not found.wrong:
        return Figure(None, "unknown: no probe was answered" if result.ledger.reads_verdicts else _NO_VERDICTS)
    return Figure(len(found.wrong), ", ".join(ways) or "by the probes that were answered")


def _examples(plan: TrafficPlan, found: Findings) -> list[dict[str, str]]:
    messages: Mapping[str, Mapping[int, str]] = {"lost": found.lost, "doubled": found.doubled}
    examples = [
        {"what": what, "id": plan.messages[number].id, "why": why}
        for what, numbers in messages.items()
        for number, why in list(numbers.items())[: _EXAMPLES // 2]
    ]
    for index, why in list(found.wrong.items())[: _EXAMPLES // 2]:
        expected = plan.trackers[index].expected
        examples.append({"what": "wrong", "id": expected.tracker_id if expected else "", "why": why})
    return examples
