"""Packages and manifests as Shiipp's messages.

Source: docs.aeoral.com, "Webhook payload builder", "Manifests". The administrator designs the bodies; here the keys are the
vendor's own variables, in one of two styles. Statuses are set by hand and go back and forth; each comes with its time, so that
the order of arrival need not be believed.
"""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from receiver.testkit.simulate.lives import Names
from receiver.testkit.simulate.records import ExpectedState, Kind, SentMessage, TrackerScript, write_item
from receiver.testkit.simulate.times import WrittenTime, draw_times

_STATUSES = ("draft", "ready", "shipped", "ready", "shipped", "completed")
_RECEIVED = ("received at warehouse", "received_at_warehouse")  # what a receiver of ours makes of a package
_PACKAGES = 4  # of five calls' subjects; the fifth is a manifest
_PEOPLE = (("K1042", "Ana", "Souza"), ("K7", "", "O'Neill"), ("", "Unknown", "Customer"))

Style = Callable[[str], str]


class Subject(NamedTuple):
    """A package or a manifest; `style` is how its keys are spelt."""

    kind: Kind
    id: str
    number: int
    style: Style


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

    def tell(self, number: int, room: int) -> TrackerScript:
        """Return what is told of the package or the manifest with this number, in at most `room` messages."""
        rng = self._rng
        kind: Kind = "new-package" if number % (_PACKAGES + 1) < _PACKAGES else "manifest-status"
        subject = Subject(kind, self._names.draw(), number, pascal if number % 2 else snake)
        statuses = _STATUSES if kind == "manifest-status" else _RECEIVED[:1]
        wall = draw_times(rng, 1, "")[0].wall
        times = []
        for place in range(len(statuses)):
            wall += timedelta(seconds=rng.randrange(60, 40_000))
            times.append(WrittenTime(wall, ".1234567-05:00" if number % 2 else "", place))
        happened = list(zip(times, statuses, strict=True))[:room]
        told = tuple(self._write(subject, *each) for each in happened)
        time, status = happened[-1]
        if kind == "new-package":
            expected = ExpectedState("shiipp", subject.id, *_RECEIVED, time.text, told[-1].id, frozenset((told[-1].id,)))
            return TrackerScript(told, expected, None, None)  # it is logged only once
        events = frozenset(each.id for each in told)
        expected = ExpectedState("shiipp", f"manifest:{subject.id}", status, status, time.text, told[-1].id, events)
        older, newer = self._write(subject, time.moved(-1), "draft"), self._write(subject, time.moved(1), "completed")
        return TrackerScript(told, expected, older, newer)

    def _write(self, subject: Subject, time: WrittenTime, status: str) -> SentMessage:
        """Write a message; its id is what our rules name it and its event."""
        if subject.kind == "new-package":
            name, fields = f"package:{subject.id}", self._package(subject, time)
        else:
            name, fields = f"manifest:{subject.id}:{status}@{time.text}", self._manifest(subject, time, status)
        return SentMessage(name, subject.kind, write_item({subject.style(key): value for key, value in fields.items()}))

    def _package(self, subject: Subject, time: WrittenTime) -> dict[str, Any]:
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

    def _manifest(self, subject: Subject, time: WrittenTime, status: str) -> dict[str, Any]:
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
