"""Packages and manifests as Shiipp's messages.

Source: docs.aeoral.com, "Webhook payload builder", "Manifests". The administrator designs the bodies; here the keys are the
vendor's own variables, in one of two styles. Statuses are set by hand and go back and forth; each comes with its time, so that
the order of arrival need not be believed.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

import orjson

from receiver.simulation.lives import Names
from receiver.simulation.records import Kind, Truth
from receiver.simulation.times import Written, draw_times

_STATUSES = ("draft", "ready", "shipped", "ready", "shipped", "completed")
_RECEIVED = ("received at warehouse", "received_at_warehouse")  # what a receiver of ours makes of a package
_PACKAGES = 4  # of five calls' subjects; the fifth is a manifest
_PEOPLE = (("K1042", "Ana", "Souza"), ("K7", "", "O'Neill"), ("", "Unknown", "Customer"))

Style = Callable[[str], str]


class Subject(NamedTuple):
    """A package or a manifest; `style` is how its keys are spelt, `times` are those of its messages, oldest first."""

    kind: Kind
    id: str
    number: int
    style: Style
    times: tuple[Written, ...]


class Reported(NamedTuple):
    """A message; its `id` is what our rules name it and its event. None is told by another message."""

    id: str
    item: bytes
    time: str
    status: str
    echoed: bool = False


def snake(name: str) -> str:
    """Leave a key as the vendor's variable is written."""
    return name


def pascal(name: str) -> str:
    """Spell a key as neighbouring products do, which administrators imitate."""
    return "".join("ID" if word == "id" else word.title() for word in name.split("_"))


class Shiipp:
    """Draws subjects and writes them down."""

    def __init__(self, rng: Random, names: Names) -> None:
        self._rng = rng
        self._names = names

    def draw(self, number: int, room: int) -> tuple[Subject, list[Reported]]:
        """Return a subject and at most `room` messages of it, in the order in which things happen."""
        rng = self._rng
        kind: Kind = "new-package" if number % (_PACKAGES + 1) < _PACKAGES else "manifest-status"
        statuses = _STATUSES if kind == "manifest-status" else _RECEIVED[:1]
        style = pascal if number % 2 else snake
        wall = draw_times(rng, 1, "")[0].wall
        times = []
        for place in range(len(statuses)):
            wall += timedelta(seconds=rng.randrange(60, 40_000))
            times.append(Written(wall, ".1234567-05:00" if style is pascal else "", place))
        subject = Subject(kind, self._names.draw(), number, style, tuple(times))
        return subject, [self._write(subject, *pair) for pair in zip(times, statuses, strict=True)][:room]

    def truth(self, subject: Subject, told: Sequence[Reported]) -> Truth:
        """Return what these messages say in the end."""
        last = told[-1]
        names = (last.status, last.status) if subject.kind == "manifest-status" else _RECEIVED
        return Truth("shiipp", tracker_of(subject), *names, last.time, last.id, frozenset(each.id for each in told))

    def ask(self, subject: Subject, truth: Truth, steps: int) -> Reported | None:
        """Return a new message just newer (1) or just older (-1) than a truth; None of a package, which is logged only once."""
        if subject.kind == "new-package":
            return None
        last = next(time for time in subject.times if time.text == truth.occurrence)
        return self._write(subject, last.moved(steps), "completed" if steps > 0 else "draft")

    def _write(self, subject: Subject, time: Written, status: str) -> Reported:
        fields = self._package(subject, time) if subject.kind == "new-package" else self._manifest(subject, time, status)
        item = orjson.dumps({subject.style(name): value for name, value in fields.items()})
        by_status = f":{status}@{time.text}" if subject.kind == "manifest-status" else ""
        prefix = "package:" if subject.kind == "new-package" else "manifest:"
        return Reported(f"{prefix}{subject.id}{by_status}", item, time.text, status)

    def _package(self, subject: Subject, time: Written) -> dict[str, Any]:
        rng = self._rng
        weight = round(rng.uniform(0.2, 90), 1)
        code, first, last = rng.choice(_PEOPLE)
        return {
            "package_id": subject.id,
            "tracking_number": f"SIM{self._names.run.upper()}{subject.number:06}",
            "house_number": f"H{subject.number}",
            "weight": weight if rng.random() < 0.5 else str(weight),
            "user_code": code,
            "first_name": first,
            "last_name": last,
            "shipper": "{{shipper_name}}" if rng.random() < 0.1 else "ACME",
            "description": rng.choice(("", "shoes", "書籍")),
            "entry_date_time": time.text,
        }

    def _manifest(self, subject: Subject, time: Written, status: str) -> dict[str, Any]:
        return {
            "manifest_id": subject.id,
            "manifest_number": f"MAN-20250303-{self._names.run.upper()}{subject.number}",
            "awb_number": f"{subject.number:08}",
            "airline_prefix": "729",
            "flight_date": "2025-03-20",
            "status": status,
            "status_date_time": time.text,
            "notes": None,
        }


def tracker_of(subject: Subject) -> str:
    """Return the id by which the receiver knows a subject."""
    return subject.id if subject.kind == "new-package" else f"manifest:{subject.id}"
