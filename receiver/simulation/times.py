"""Times of events in the four forms of `occurrenceDatetime`, in an order that no receiver can read in two ways.

Source: Ship24 documentation, "Data format". Times with and without a zone can stand in a circle (each newer than the next); so
two days lie between events whose forms differ, more than all zones are apart.
"""

from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

WALL, DAY = "", "day"
_ZONES = ("Z", ".000Z", "+02:00", "-05:30", "+14:00", "-11:00")
FORMS = (WALL, "+02:00", "Z", DAY)
"""One of each of the four; `_ZONES` are the spellings of the second and the third."""

_FIRST = datetime(2025, 3, 3, 8)  # noqa: DTZ001  a courier's wall clock; long enough ago never to be implausible
_APART = timedelta(days=2)


class Written(NamedTuple):
    """When an event happened: the courier's wall clock, the form it is written in, and the vendor's sequence number."""

    wall: datetime
    form: str
    order: int | None

    @property
    def text(self) -> str:
        """Return it as it is sent."""
        return self.wall.date().isoformat() if self.form == DAY else self.wall.isoformat() + self.form

    def moved(self, steps: int) -> "Written":
        """Return the next time that differs (1), or the one before (-1), as far as its form can tell."""
        step = timedelta(days=steps) if self.form == DAY else timedelta(seconds=steps)
        return Written(self.wall + step, self.form, None if self.order is None else self.order + steps)


def draw_times(rng: Random, count: int, form: str) -> list[Written]:
    """Return times, oldest first; the first one has this form."""
    wall = _FIRST + timedelta(seconds=rng.randrange(86_400 * 20))
    ordered = rng.random() < 0.7
    times = [Written(wall, form, 1 if ordered else None)]
    while len(times) < count:
        wall, form = _go_on(rng, wall, form, ordered=ordered)
        times.append(Written(wall, form, len(times) + 1 if ordered else None))
    return times


def _go_on(rng: Random, wall: datetime, form: str, *, ordered: bool) -> tuple[datetime, str]:
    if rng.random() < 0.2:
        other = rng.choice([each for each in (WALL, DAY, *_ZONES) if each != form])
        return wall + _APART + timedelta(seconds=rng.randrange(1, 86_400)), other
    if ordered and rng.random() < 0.1:
        return wall, form  # only `order` tells them apart
    if form == DAY:
        return wall + timedelta(hours=rng.randrange(1, 60) if ordered else rng.randrange(24, 72)), form
    return wall + timedelta(seconds=rng.randrange(60, 72_000)), form
