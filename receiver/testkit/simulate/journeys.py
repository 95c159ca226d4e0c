"""The journeys of parcels: sequences of events with Ship24's milestones, which also go back.

Source: Ship24 documentation, "Status": codes may be null while the category is not.
"""

from random import Random
from typing import NamedTuple

from receiver.testkit.simulate.times import FORMS, WrittenTime, draw_times


class Step(NamedTuple):
    """The content of an event: the courier's own words in any language, and the vendor's classification."""

    status: str
    milestone: str
    category: str | None
    code: str | None
    location: str | None


_STEPS = {
    "created": Step("Shipment information received", "info_received", "data", "data_order_created", None),
    "handed": Step("Prise en charge par le transporteur", "in_transit", "transit", "transit_handover", "Lyon, FR"),
    "sorted": Step("Sortiert im Paketzentrum Köln", "in_transit", "transit", None, "Köln, DE"),
    "left": Step("荷物が国際交換局を出発", "in_transit", "transit", "transit_origin_country_departure", "東京, JP"),
    "arrived": Step("Arrived in destination country", "in_transit", "destination", "destination_arrival", "Newark, US"),
    "customs": Step("Held by customs", "exception", "customs", "customs_exception", "Newark, US"),
    "cleared": Step("Liberado pela alfândega", "in_transit", "customs", "customs_cleared", "São Paulo, BR"),
    "out": Step("Out for delivery", "out_for_delivery", "delivery", "delivery_out_for_delivery", "Turku, FI"),
    "missed": Step("Nobody at home", "failed_attempt", "delivery", "delivery_attempted", None),
    "shop": Step("Noutopisteessä \N{PACKAGE}", "available_for_pickup", "delivery", "delivery_available_for_pickup", "Turku, FI"),
    "delivered": Step("Delivered, left with a neighbour", "delivered", "delivery", "delivery_delivered", "Turku, FI"),
    "returned": Step("Повернуто відправнику", "exception", "exception", "exception_return", "Київ, UA"),
}
_COURSES = tuple(
    tuple(course.split())
    for course in (
        "created handed left arrived customs cleared sorted out missed out delivered",
        "created handed sorted out delivered",
        "created handed left arrived cleared shop delivered",
        "handed sorted sorted out missed out missed shop returned",
        "created handed sorted left arrived customs cleared out missed out delivered",
    )
)


class JourneyEvent(NamedTuple):
    """One event of a journey. `id` is the vendor's, the same in every message."""

    id: str
    time: WrittenTime
    step: Step


class Journey(NamedTuple):
    """The journey of a parcel, oldest event first."""

    number: int
    tracker_id: str
    tracking_number: str
    events: tuple[JourneyEvent, ...]


class IdGenerator:
    """Makes IDs in the form of UUIDs: the eight digits of the run, then digits that depend on the seed only."""

    def __init__(self, run: str, rng: Random) -> None:
        self.run = run
        self._rng = rng

    def draw(self) -> str:
        """Return a new ID."""
        digits = f"{self._rng.getrandbits(88):022x}"
        return f"{self.run}-{digits[:4]}-4{digits[4:7]}-8{digits[7:10]}-{digits[10:]}"


def draw_journey(rng: Random, names: IdGenerator, number: int) -> Journey:
    """Return the journey of the parcel with this number. Four in a row begin with each form of a time."""
    course = _COURSES[number % len(_COURSES)]
    times = draw_times(rng, len(course), FORMS[number % len(FORMS)])
    events = tuple(JourneyEvent(names.draw(), time, _STEPS[step]) for time, step in zip(times, course, strict=True))
    return Journey(number, names.draw(), f"SIM{names.run.upper()}{number:06}", events)
