"""Counters of this process for `/metrics`: plain numbers for each delivery, histograms for each commit."""

from collections import Counter

from prometheus_client import CollectorRegistry, Histogram

from receiver.domain.imports import Imported
from receiver.writer.wire import Batch

_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Counters:
    """Counts since this process started."""

    def __init__(self) -> None:
        self.deliveries: Counter[tuple[str, int]] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.causes: Counter[tuple[str, str]] = Counter()
        self.ops_refused: Counter[tuple[str, str]] = Counter()
        self.messages: Counter[tuple[str, str]] = Counter()
        self.undecidable: Counter[tuple[str]] = Counter()
        self.imported: Counter[tuple[str, str, str]] = Counter()
        self.unknown_paths = 0
        self.writer_lines_dropped = 0
        self.registry = CollectorRegistry()
        self._sizes = Histogram("receiver_batch_deliveries", "Deliveries in one commit", registry=self.registry, buckets=_SIZES)
        self._seconds = Histogram("receiver_commit_seconds", "Time of one commit", registry=self.registry, buckets=_SECONDS)

    def take_import(self, imported: Imported) -> None:
        """Count the messages of a delivery that was brought in."""
        self.imported.update({(imported.source, imported.origin, outcome): n for outcome, n in imported.counts.items() if n})

    def take(self, batch: Batch) -> None:
        """Count a commit."""
        self._sizes.observe(batch.deliveries)
        self._seconds.observe(batch.seconds)
        self.messages.update(batch.verdicts)
        self.undecidable.update({(source,): number for source, number in batch.undecidable.items()})
