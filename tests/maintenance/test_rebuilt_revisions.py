"""A rebuild with revisions, moves back and mended messages ends in the same content."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import ship24
from tests.harness.ship24 import Item
from tests.harness.storage import clear_rows, delete_rows, make_tables
from tests.harness.strategies import arrivals
from tests.maintenance.test_rebuild import OWN, SOURCES, DeliveryStore, check_same

FAR_AHEAD = "9999-01-01T10:00:00"
EXACT = OWN - {"events.change_id"}
"""What may differ: ids of changes may not."""

PRUNED = EXACT | {"events.shipment_milestone", "kept_changes.shipment_milestone"}
"""Of pruned messages the last view is kept, not that at each change."""


def item(message_id: str, event_id: str, hour: int, built: int | None, *more: Item, **fields: Any) -> Item:
    """Return a message with one event, and with more of them."""
    at = None if built is None else f"2025-03-02T00:00:{built:02}.000Z"
    said = {"status": f"{event_id} at {hour}", "order": hour, **fields}
    event = ship24.event(event_id, f"2025-03-01T{hour:02}:00:00", **said)
    return ship24.item(message_id, "t", [event, *more], at, shipment={"statusMilestone": message_id})


CORRECTED = [
    item("m1", "a", 8, 1),
    item("m2", "b", 12, 2),
    item("m3", "b", 13, 3),
    item("m4", "b", 7, 4),
    item("m5", "b", 13, 5),
    item("m6", "a", 9, 6),
    item("m7", "a", 8, 0),
    ship24.item("mended", "t", [ship24.event("c", FAR_AHEAD)], "2025-03-02T00:00:07.000Z"),
    item("mended", "c", 14, 7),
    item("partly", "d", 10, 8, ship24.event("e", "soon")),
    item("partly", "d", 10, 8, ship24.event("e", "2025-03-01T15:00:00")),
    item("late", "c", 14, 9, courierCode="another"),
]
"""A tracker that moves, is corrected, moves back, comes again to where it was; and mended messages."""


@pytest.mark.parametrize("kept", ["all", "none", "the first", "the last"])
def test_a_tracker_with_corrections_is_rebuilt_with_its_changes(post: DeliveryStore, into: str, kept: str) -> None:
    ids = [post.group(each) for each in CORRECTED]
    gone = {"all": [], "none": ids, "the first": ids[3:], "the last": ids[:-3]}[kept]
    for delivery_id in gone:
        delete_rows(post.url, "bodies", delivery_id=delivery_id)
    check_same(post, into, EXACT if kept == "all" else PRUNED)


@pytest.mark.parametrize("how", [None, "force", "undo", "retry"])
def test_deliveries_that_are_decided_again_leave_corrections_as_they_are(post: DeliveryStore, into: str, how: str | None) -> None:
    for delivery_id in [post.group(each) for each in CORRECTED]:
        post.replay(delivery_id, how)
    check_same(post, into, EXACT)


@st.composite
def messages(draw: st.DrawFn) -> list[Item]:
    """Messages about three events in several contents, some implausible; some with the id of another one."""
    contents = [
        ship24.event(f"e{name}", occurrence, order=order, status=f"e{name} {order}", courierCode=courier)
        for name in range(3)
        for order, occurrence in enumerate(["2025-03-01T08:00:00", "2025-03-01T09:00:00", "soon", FAR_AHEAD])
        for courier in ("x", "y")
    ]
    found = []
    for _ in range(draw(st.integers(1, 8))):
        events = draw(st.lists(st.sampled_from(contents), min_size=1, max_size=3, unique_by=lambda event: str(event["eventId"])))
        number, second = draw(st.integers(0, 5)), draw(st.sampled_from([None, 0, 1, 2]))
        built = None if second is None else f"2025-03-02T00:00:0{second}.000Z"
        block = {"statusMilestone": draw(st.sampled_from("pqr"))}
        found.append(ship24.item(f"m{number}", draw(st.sampled_from("tu")), events, built, shipment=block))
    return found


@settings(max_examples=6)
@given(data=st.data())
def test_any_corrections_are_rebuilt(post: DeliveryStore, into: str, data: st.DataObject) -> None:
    clear_rows(post.url)
    make_tables(into)
    clear_rows(into)
    ids = []
    for batch in data.draw(arrivals(data.draw(messages()))):
        ids += post.call(*((SOURCES[0], body) for body in batch))
        if data.draw(st.integers(0, 4)) == 0:
            post.replay(data.draw(st.sampled_from(ids)), data.draw(st.sampled_from([None, "force", "undo", "retry"])))
    check_same(post, into, EXACT)
