"""Times of events in the four forms of `occurrenceDatetime`, in an order that no receiver can read in two ways.

Source: Ship24 documentation, "Data format". Times with and without a zone can stand in a circle (each newer than the next); so
two days lie between events whose forms differ, more than all zones are apart. Only where all of them have a zone, so that their
instants decide, they may be near each other in any.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from random import Random
from typing import NamedTuple

WALL, DAY = "", "day"
_ZONES = {
    "Z": timedelta(),
    ".000Z": timedelta(),
    "+02:00": timedelta(hours=2),
    "-05:30": -timedelta(hours=5, minutes=30),
    "+14:00": timedelta(hours=14),
    "-11:00": -timedelta(hours=11),
}
FORMS = (WALL, "+02:00", "Z", DAY)
"""One of each of the four; `_ZONES` are the spellings of the second and the third."""

_FIRST = datetime(2025, 3, 3, 8)  # noqa: DTZ001  a courier's wall clock; long enough ago never to be implausible
_APART = timedelta(days=2)


class WrittenTime(NamedTuple):
    """When an event happened: the courier's wall clock, the form it is written in, and the vendor's sequence number."""

    wall: datetime
    form: str
    order: int | None

    @property
    def text(self) -> str:
        """Return it as it is sent."""
        return self.wall.date().isoformat() if self.form == DAY else self.wall.isoformat() + self.form

    def moved(self, steps: int) -> "WrittenTime":
        """Return the next time that differs (1), or the one before (-1), as far as its form can tell."""
        step = timedelta(days=steps) if self.form == DAY else timedelta(seconds=steps)
        return WrittenTime(self.wall + step, self.form, None if self.order is None else self.order + steps)


def draw_times(rng: Random, count: int, form: str) -> list[WrittenTime]:
    """Return times, oldest first; the first one has this form. Where it has a zone all have one, of any offset."""
    begin = _FIRST + timedelta(seconds=rng.randrange(86_400 * 20))
    ordered = rng.random() < 0.7
    draw = _draw_mixed if form in {WALL, DAY} else _draw_zoned
    drawn = islice(draw(rng, begin, form, ordered=ordered), count)
    return [WrittenTime(wall, each, place if ordered else None) for place, (wall, each) in enumerate(drawn, 1)]


def _draw_mixed(rng: Random, wall: datetime, form: str, *, ordered: bool) -> Iterator[tuple[datetime, str]]:
    """Give times of all forms, two days apart where the form changes."""
    while True:
        yield wall, form
        if rng.random() < 0.2:
            form = rng.choice([each for each in (WALL, DAY, *_ZONES) if each != form])
            wall += _APART + timedelta(seconds=rng.randrange(1, 86_400))
        elif form == DAY:
            wall += timedelta(hours=rng.randrange(1, 60) if ordered else rng.randrange(24, 72))
        elif not ordered or rng.random() < 0.9:  # else only `order` tells the two apart
            wall += timedelta(seconds=rng.randrange(60, 72_000))


def _draw_zoned(rng: Random, begin: datetime, form: str, *, ordered: bool) -> Iterator[tuple[datetime, str]]:
    """Give instants in any zone, often a few minutes apart: as they are written, later ones may look earlier."""
    instant = begin
    while True:
        yield instant + _ZONES[form], form
        form = rng.choice(list(_ZONES))
        if not ordered or rng.random() < 0.9:
            instant += timedelta(seconds=rng.randrange(60, 14_400))
