"""Counters of this process for `/metrics`: plain numbers for each delivery, histograms for each commit.

Those that alerts look at begin at 0: `increase()` does not see the first value of a series.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Histogram

from receiver.access.operators import AREAS
from receiver.domain.imports import BROUGHT_IN, Imported
from receiver.domain.verdicts import OUTCOMES
from receiver.errors import AddressNotAllowed, StorageUnavailable, TooManyAttempts, Unauthorized
from receiver.sources import NAMES
from receiver.writer.wire import Batch

_Key = TypeVar("_Key")
_REFUSED = (Unauthorized.code, AddressNotAllowed.code)
_OPS_REFUSED = (Unauthorized.code, TooManyAttempts.code)
_STATUSES = (200, Unauthorized.status, AddressNotAllowed.status, StorageUnavailable.status)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Counters:
    """Counts since this process started."""

    def __init__(self) -> None:
        self.deliveries = _zeros(product(NAMES, _STATUSES))
        self.refused = _zeros(product(NAMES, _REFUSED))
        self.causes: Counter[tuple[str, str]] = Counter()
        self.ops_refused = _zeros(product(AREAS, _OPS_REFUSED))
        self.messages = _zeros(product(NAMES, OUTCOMES))
        self.undecidable = _zeros((name,) for name in NAMES)
        self.imported = _zeros(product(NAMES, BROUGHT_IN, OUTCOMES))
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


def _zeros(keys: Iterable[_Key]) -> Counter[_Key]:
    return Counter(dict.fromkeys(keys, 0))
