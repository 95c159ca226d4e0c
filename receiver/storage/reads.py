"""Reads under way: who closes a database's readers can wait for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from receiver.errors import StorageUnavailable


class ActiveReads:
    """Counts the reads of all threads, until they are ended."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._under_way = 0
        self._ended = False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what the block reads as under way. Raises StorageUnavailable once reads were ended."""
        with self._changed:
            if self._ended:
                raise StorageUnavailable("The service stops. Try again.")
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def end(self, seconds: float) -> None:
        """Let no read begin any more, and wait for those under way, at most so long."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._under_way, seconds)
