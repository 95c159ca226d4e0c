"""The running reads of a database, so that closing its readers can wait for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from receiver.errors import StorageUnavailable


class ActiveReads:
    """A counter of the running reads of all threads."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._under_way = 0
        self._ended = False

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the block as a running read. Raises StorageUnavailable after `end`."""
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
        """Refuse new reads and wait for the running ones, at most `seconds`."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._under_way, seconds)
