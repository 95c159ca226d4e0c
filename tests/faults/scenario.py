"""A fault of the suite: a function of a fresh directory and a size that returns a row of the table."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.harness.traffic import Connectable, NewBodies, Senders


class Size(NamedTuple):
    """How much of everything."""

    seconds: float
    """How long the load lasts."""
    senders: int
    """Connections that send."""
    pause_seconds: float
    """Pause of each after a delivery. Without one, they use all the processor time that a fault lasts."""
    bodies: int
    """Mutated bodies."""
    connections: int
    """Connections that are open and say nothing."""

    def send_to(self, *services: Connectable, parcels: NewBodies | None = None) -> Senders:
        """Start the senders."""
        return Senders(*services, senders=self.senders, parcels=parcels, pause_seconds=self.pause_seconds)

    @property
    def is_long(self) -> bool:
        """Tell whether this is the form for whoever wants figures, not that of the tests."""
        return self.seconds > 10


LONG = Size(20.0, 16, 0.0, 10_000, 2_000)
SHORT = Size(1.0, 8, 0.02, 250, 100)


class Result(NamedTuple):
    """What became of the messages of one scenario."""

    fault: str
    database: str
    sent: int
    """Messages sent, each copy and each repetition counted."""
    answered: int
    """Those answered 2xx."""
    lost: int
    """Messages that were answered 2xx and are not there."""
    doubled: int
    """Messages with more than one effect, and trackers whose changes say so."""
    recovery_seconds: float | None
    """From the end of the fault, or the restart, to the first 2xx; None where nothing had to recover."""
    note: str = ""

    @property
    def is_good(self) -> bool:
        """Tell whether everything that was answered is there, once."""
        return self.answered > 0 and self.lost == self.doubled == 0


Scenario = Callable[[Path, Size], Result]


class Lacking(Exception):
    """This machine lacks what the scenario needs; the message says what."""
