"""Packages and manifests as messages of Shiipp.

Source: docs.aeoral.com, "Webhook payload builder", "Manifests". The administrator designs the bodies; here the keys are the
vendor's own variables, in one of two styles. Statuses are set by hand and go back and forth; each has its time, so the order of
arrival does not matter.
"""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import Any, NamedTuple

from receiver.testkit.simulate.journeys import IdGenerator
from receiver.testkit.simulate.records import ExpectedState, Kind, SentMessage, TrackerScript, write_item
from receiver.testkit.simulate.times import WrittenTime, draw_times

_STATUSES = ("draft", "ready", "shipped", "ready", "shipped", "completed")
_RECEIVED = ("received at warehouse", "received_at_warehouse")  # the status and milestone that this service gives to a package
_PACKAGES = 4  # of five subjects; the fifth is a manifest
_PEOPLE = (("K1042", "Ana", "Souza"), ("K7", "", "O'Neill"), ("", "Unknown", "Customer"))

Style = Callable[[str], str]


class Subject(NamedTuple):
    """A package or a manifest. `style` spells its keys."""

    kind: Kind
    id: str
    number: int
    style: Style


def snake(name: str) -> str:
    """Return the key as the vendor's variable is written."""
    return name


def pascal(name: str) -> str:
    """Return the key as related products spell it, which administrators imitate."""
    return "".join("ID" if word == "id" else word.title() for word in name.split("_"))


class Shiipp:
    """Draws packages and manifests and writes their messages."""

    def __init__(self, rng: Random, names: IdGenerator) -> None:
        self._rng = rng
        self._names = names

    def write(self, number: int, room: int) -> TrackerScript:
        """Return the script of the package or manifest with this number, in at most `room` messages."""
        rng = self._rng
        kind: Kind = "new-package" if number % (_PACKAGES + 1) < _PACKAGES else "manifest-status"
        subject = Subject(kind, self._names.draw(), number, pascal if number % 2 else snake)
        statuses = _STATUSES if kind == "manifest-status" else _RECEIVED[:1]
        wall = draw_times(rng, 1, "")[0].wall
        times = []
        for order in range(len(statuses)):
            wall += timedelta(seconds=rng.randrange(60, 40_000))
            times.append(WrittenTime(wall, ".1234567-05:00" if number % 2 else "", order))
        steps = list(zip(times, statuses, strict=True))[:room]
        messages = tuple(self._write(subject, *each) for each in steps)
        time, status = steps[-1]
        if kind == "new-package":
            expected = ExpectedState("shiipp", subject.id, *_RECEIVED, time.text, messages[-1].id, frozenset((messages[-1].id,)))
            return TrackerScript(messages, expected, None, None)  # a package is logged only once
        events = frozenset(each.id for each in messages)
        expected = ExpectedState("shiipp", f"manifest:{subject.id}", status, status, time.text, messages[-1].id, events)
        older, newer = self._write(subject, time.moved(-1), "draft"), self._write(subject, time.moved(1), "completed")
        return TrackerScript(messages, expected, older, newer)

    def _write(self, subject: Subject, time: WrittenTime, status: str) -> SentMessage:
        """Return a message; its ID is the one that this service makes for it and its event."""
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
