"""Times of events in the four forms of `occurrenceDatetime`, in an unambiguous order.

Source: Ship24 documentation, "Data format". Times with and without a zone can form a circle (each newer than the next). So events
of different forms are two days apart, which is more than any two zones differ. Where all times have a zone, their instants
decide, and they may be close together.
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
"""One example of each form; `_ZONES` has all spellings of the second and the third."""

_FIRST = datetime(2025, 3, 3, 8)  # noqa: DTZ001  a courier's wall clock; long enough ago never to be implausible
_APART = timedelta(days=2)


class WrittenTime(NamedTuple):
    """The time of an event: the courier's wall clock, the form in which it is written, and the vendor's `order`."""

    wall: datetime
    form: str
    order: int | None

    @property
    def text(self) -> str:
        """Return the time as it is sent."""
        return self.wall.date().isoformat() if self.form == DAY else self.wall.isoformat() + self.form

    def moved(self, steps: int) -> "WrittenTime":
        """Return the next (1) or the previous (-1) time that this form can express."""
        step = timedelta(days=steps) if self.form == DAY else timedelta(seconds=steps)
        return WrittenTime(self.wall + step, self.form, None if self.order is None else self.order + steps)


def draw_times(rng: Random, count: int, form: str) -> list[WrittenTime]:
    """Return times, oldest first; the first one has this form. If it has a zone all have one, with any offset."""
    begin = _FIRST + timedelta(seconds=rng.randrange(86_400 * 20))
    ordered = rng.random() < 0.7
    draw = _draw_mixed if form in {WALL, DAY} else _draw_zoned
    drawn = islice(draw(rng, begin, form, ordered=ordered), count)
    return [WrittenTime(wall, each, position if ordered else None) for position, (wall, each) in enumerate(drawn, 1)]


def _draw_mixed(rng: Random, wall: datetime, form: str, *, ordered: bool) -> Iterator[tuple[datetime, str]]:
    """Yield times of all forms, two days apart where the form changes."""
    while True:
        yield wall, form
        if rng.random() < 0.2:
            form = rng.choice([each for each in (WALL, DAY, *_ZONES) if each != form])
            wall += _APART + timedelta(seconds=rng.randrange(1, 86_400))
        elif form == DAY:
            wall += timedelta(hours=rng.randrange(1, 60) if ordered else rng.randrange(24, 72))
        elif not ordered or rng.random() < 0.9:  # otherwise only `order` distinguishes the two
            wall += timedelta(seconds=rng.randrange(60, 72_000))


def _draw_zoned(rng: Random, begin: datetime, form: str, *, ordered: bool) -> Iterator[tuple[datetime, str]]:
    """Yield instants in any zone, often a few minutes apart; as written, later ones may look earlier."""
    instant = begin
    while True:
        yield instant + _ZONES[form], form
        form = rng.choice(list(_ZONES))
        if not ordered or rng.random() < 0.9:
            instant += timedelta(seconds=rng.randrange(60, 14_400))
