"""The page that replays a delivery: it shows old and new times, warns of a date in the future, and takes a forced event back."""

import re

from tests.harness import ship24
from tests.harness.console_client import ConsoleClient
from tests.harness.service import Reply, Service

FAR_AHEAD = "2199-01-01T10:00:00"
WARNING = f"A date in the future blocks all later updates of this tracker until {FAR_AHEAD}."


def words(page: Reply) -> str:
    """Return the text of a page, on one line."""
    assert page.status == 200
    return " ".join(re.sub(r"<[^>]*>", " ", page.body.decode()).split())


def test_a_forced_event_of_the_future_is_warned_of_and_taken_back(running: Service, anna: ConsoleClient) -> None:
    running.post(ship24.single("m0", tracker_id="t", events=[ship24.event("e0", "2025-03-01T10:00:00", status="Sorted")]))
    far = ship24.event("far", FAR_AHEAD, status="Delivered at last")
    early = running.post(ship24.single("far", tracker_id="t", events=[far])).json()["delivery_id"]
    form = f"/ops/deliveries/{early}/replay"
    preview = words(anna.get(f"{form}?show=yes&force=yes"))
    assert f"Sorted 2025-03-01T10:00:00 → Delivered at last {FAR_AHEAD} {WARNING}" in preview
    assert WARNING not in words(anna.get("/ops/trackers/ship24/t"))
    done = anna.submit(form, command="replay", force="yes")
    assert WARNING in words(anna.get(done.headers["location"]))
    blocked = ship24.event("e2", "2025-03-02T10:00:00", status="Out for delivery")
    assert running.post(ship24.single("m2", tracker_id="t", events=[blocked])).outcomes() == ["stale"]
    tracker = anna.get("/ops/trackers/ship24/t")
    assert WARNING in words(tracker)
    assert "older than current status" in words(tracker)
    assert f'href="{form}"' in tracker.body.decode()
    preview = words(anna.get(f"{form}?show=yes&undo=yes"))
    assert f"Delivered at last {FAR_AHEAD} → Out for delivery 2025-03-02T10:00:00" in preview
    assert running.value("messages", "outcome", message_id="far") == "applied"
    assert "Changes made" in words(anna.get(anna.submit(form, command="replay", undo="yes").headers["location"]))
    assert running.value("trackers", "latest_event_id") == "e2"
    assert running.count("quarantine", reason="implausible_future") == 1
    after = words(anna.get("/ops/trackers/ship24/t"))
    assert WARNING not in after
    assert "older than current status" not in after
    assert "Nothing to take back" in words(anna.get(f"{form}?show=yes&undo=yes"))
    entries = running.table("audit", "actor", "detail", action="replay", order="done_at")
    assert [(row["actor"], row["detail"]) for row in entries] == [("anna", "force"), ("anna", "undo")]
