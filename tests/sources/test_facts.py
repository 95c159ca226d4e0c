"""The facts at the top of a tracker: read from any shipment data, whatever its form."""

from typing import Any

from receiver.sources.facts import read_facts
from tests.harness.table import each_row

_RECIPIENT = {"name": "Ann", "address": "1 Main St", "postCode": "01234", "city": "Springfield", "subdivision": None}
_ESTIMATED = "courierEstimatedDeliveryDate"


@each_row(
    ("case", "source", "shipment", "expected"),
    [
        ("no shipment data", "ship24", None, {}),
        (
            "a recipient keeps leading zeros",
            "ship24",
            {"recipient": _RECIPIENT},
            {"Recipient": "Ann, 1 Main St, 01234, Springfield"},
        ),
        ("no recipient", "ship24", {"recipient": None, "delivery": None}, {}),
        (
            "a service",
            "ship24",
            {"delivery": {"service": " Express ", "signedBy": "B"}},
            {"Service": "Express", "Signed by": "B"},
        ),
        (
            "an estimate as written",
            "ship24",
            {"delivery": {"estimatedDeliveryDate": "2026-01-31"}},
            {"Estimated delivery": "2026-01-31"},
        ),
        (
            "a period",
            "ship24",
            {"delivery": {_ESTIMATED: {"from": "2026-01-30", "to": "2026-01-31"}}},
            {"Courier estimate": "2026-01-30 to 2026-01-31"},
        ),
        (
            "one end of a period",
            "ship24",
            {"delivery": {_ESTIMATED: {"from": None, "to": "2026-01-31"}}},
            {"Courier estimate": "2026-01-31"},
        ),
        ("unexpected forms", "ship24", {"delivery": [], "recipient": {"name": ["x"], "city": {}}}, {}),
        ("pounds", "shiipp", {"weight": "1,200.50 lbs", "weight_pounds": 1200.5}, {"Weight": "1200.5 lb"}),
        ("many pounds", "shiipp", {"weight_pounds": 1234567.0}, {"Weight": "1234567 lb"}),
        ("a weight that is no number", "shiipp", {"weight": "3 kg", "weight_pounds": None}, {"Weight": "3 kg"}),
        (
            "a person",
            "shiipp",
            {"first_name": "Ann", "last_name": "Lee", "shipper": "S"},
            {"Customer": "Ann Lee", "Shipper": "S"},
        ),
        ("a variable that was not filled in", "shiipp", {"description": "{{description}}", "shipper": " "}, {}),
        ("a manifest", "shiipp", {"airline_prefix": "001", "notes": "n"}, {"Airline prefix": "001", "Notes": "n"}),
    ],
)
def test_facts_have_labels_and_units(case: str, source: str, shipment: dict[str, Any] | None, expected: dict[str, str]) -> None:
    assert dict(read_facts(source, shipment)) == expected, case
