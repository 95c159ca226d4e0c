"""The times in which deliveries may have been lost: nothing served, everything failed, or a source was rejected or silent. Pure.

Times are microseconds since 1970, UTC.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal, NamedTuple, TypeAlias

from receiver.clock import iso

DowntimeKind: TypeAlias = Literal["stopped", "unavailable", "refused", "silent"]
"""`stopped`: no receiver served. `unavailable`: everything was answered 503. `refused`: every delivery of a source was rejected.
`silent`: a source sent nothing for longer than it usually does."""

SHORTEST_MICROS = 120_000_000
"""A shorter stop is not told: a restart takes less, and senders repeat what they cannot deliver."""

_MIN_REFUSED = 3  # a stranger's request may be one or two


class Downtime(NamedTuple):
    """One such time. `ended_at` None: it goes on. `source` None: all of them."""

    began_at: int
    ended_at: int | None
    kind: DowntimeKind
    source: str | None = None

    def source_to_reconcile(self, active_sources: Sequence[str]) -> str | None:
        """Return the source that can be asked what was lost, the one with an API first. A source without a token sent nothing."""
        concerned = active_sources if self.source is None else [self.source]
        return next((source for source in ("ship24", "shiipp") if source in concerned), None)

    def command(self, active_sources: Sequence[str]) -> str | None:
        """Return the command that brings in what was lost, None where there is none."""
        source = self.source_to_reconcile(active_sources)
        if source != "ship24":
            return None if source is None else f"receiver reconcile {source} --file PACKAGES"
        until = "" if self.ended_at is None else f" --until {iso(self.ended_at)}"
        return f"receiver reconcile ship24 --since {iso(self.began_at)}{until}"


class ServiceSpan(NamedTuple):
    """The time in which one receiver served."""

    began_at: int
    seen_at: int


class TrafficSpan(NamedTuple):
    """The deliveries of a source in a minute or an hour: accepted, rejected for their token or address, and failed."""

    began_at: int
    ended_at: int
    source: str
    accepted: int = 0
    refused: int = 0
    failed: int = 0


def find_downtimes(
    services: Iterable[ServiceSpan], traffic: Sequence[TrafficSpan], silences: Iterable[Downtime], now: int
) -> list[Downtime]:
    """Return the downtimes, the last one first. `silences` have the times of the alarm, which begins when a source is late."""
    found = [*find_stops(services, now), *find_failures(traffic)]
    for source in sorted({span.source for span in traffic}):
        found += find_rejections([span for span in traffic if span.source == source])
    found += [_begin_at_last(silence, traffic) for silence in silences]
    return sorted(found, key=lambda downtime: (downtime.began_at, downtime.kind, downtime.source or ""), reverse=True)


def find_stops(services: Iterable[ServiceSpan], now: int) -> Iterator[Downtime]:
    """Yield the gaps between the spans of all receivers together, and the time since the last one."""
    seen_at: int | None = None
    for span in sorted(services):
        if seen_at is not None and span.began_at - seen_at >= SHORTEST_MICROS:
            yield Downtime(seen_at, span.began_at, "stopped")
        seen_at = span.seen_at if seen_at is None else max(seen_at, span.seen_at)
    if seen_at is not None and now - seen_at >= SHORTEST_MICROS:
        yield Downtime(seen_at, None, "stopped")


def find_failures(traffic: Iterable[TrafficSpan]) -> Iterator[Downtime]:
    """Yield the times in which deliveries failed and none was accepted, of any source."""
    for run in _group(traffic, lambda span: span.failed > 0):
        yield Downtime(run[0].began_at, run[-1].ended_at, "unavailable")


def find_rejections(traffic: Sequence[TrafficSpan]) -> Iterator[Downtime]:
    """Yield the times in which every delivery of one source was rejected."""
    for run in _group(traffic, lambda span: span.refused > 0):
        if sum(span.refused for span in run) >= _MIN_REFUSED:
            yield Downtime(run[0].began_at, run[-1].ended_at, "refused", run[0].source)


def _group(traffic: Iterable[TrafficSpan], is_bad: Callable[[TrafficSpan], bool]) -> Iterator[list[TrafficSpan]]:
    """Yield runs of bad spans. A span with an accepted delivery ends a run; one without any delivery of interest does not."""
    run: list[TrafficSpan] = []
    for _, spans in groupby(sorted(traffic), key=lambda span: span.began_at):
        at_once = list(spans)
        if any(span.accepted for span in at_once):
            if run:
                yield run
            run = []
        else:
            run += [span for span in at_once if is_bad(span)]
    if run:
        yield run


def _begin_at_last(silence: Downtime, traffic: Iterable[TrafficSpan]) -> Downtime:
    """Return a silence that begins at the last accepted delivery before its alarm."""
    accepted = [
        span.began_at for span in traffic if span.source == silence.source and span.accepted and span.began_at <= silence.began_at
    ]
    return silence._replace(began_at=max(accepted, default=silence.began_at))
