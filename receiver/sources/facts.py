"""The facts of a tracker that people ask for first, with labels and units: fields of its latest snapshot.

Source of Ship24's field paths: docs.ship24.com, "Data format". Shiipp's are our own names for the mapped fields
(`shiipp.PACKAGE_FIELDS`), with the weight in pounds where it is a number.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from receiver.domain.reading import read_short_text
from receiver.sources.field_paths import is_missing, look_up

_SHIP24 = {
    "Recipient": ("recipient.name", "recipient.address", "recipient.postCode", "recipient.city", "recipient.subdivision"),
    "Service": ("delivery.service",),
    "Signed by": ("delivery.signedBy",),
}
_ESTIMATES = {
    "Estimated delivery": "delivery.estimatedDeliveryDate",
    "Courier estimate": "delivery.courierEstimatedDeliveryDate",
    "Predicted delivery": "delivery.aiPredictiveDeliveryDate",
}
_SHIIPP = {
    "Customer": ("first_name", "last_name"),
    "Shipper": ("shipper",),
    "Description": ("description",),
    "Airline prefix": ("airline_prefix",),
    "Flight date": ("flight_date",),
    "Notes": ("notes",),
}


class Fact(NamedTuple):
    """A label, and the text of the value with its unit."""

    label: str
    value: str


def read_facts(source: str, shipment: Mapping[str, Any] | None) -> list[Fact]:
    """Return the facts in a tracker's shipment data; missing ones, and values of an unexpected form, are left out."""
    if shipment is None:
        return []
    if source == "ship24":
        estimates = {label: _read_estimate(look_up(shipment, path)) for label, path in _ESTIMATES.items()}
        found = {label: _join(shipment, paths, ", ") for label, paths in _SHIP24.items()} | estimates
    else:
        found = {"Weight": _read_weight(shipment)} | {label: _join(shipment, paths, " ") for label, paths in _SHIIPP.items()}
    return [Fact(label, value) for label, value in found.items() if value]


def _join(shipment: Mapping[str, Any], paths: tuple[str, ...], separator: str) -> str:
    return separator.join(filter(None, (_read(look_up(shipment, path)) for path in paths)))


def _read(value: object) -> str | None:
    return None if is_missing(value) else read_short_text(value)


def _read_estimate(value: object) -> str | None:
    """Return a date as written, or a period: the courier's estimate is an object, not a string."""
    if not isinstance(value, dict):
        return _read(value)
    first, last = _read(value.get("from")), _read(value.get("to"))
    return first or last if None in {first, last} or first == last else f"{first} to {last}"


def _read_weight(shipment: Mapping[str, Any]) -> str | None:
    """Return the weight in pounds, or as written where it is no number of pounds."""
    pounds = shipment.get("weight_pounds")
    if not isinstance(pounds, int | float):
        return _read(shipment.get("weight"))
    return f"{pounds:.3f}".rstrip("0").rstrip(".") + " lb"
