"""A defect in our own parser: the delivery is answered 500, stored, counted, and applied by a replay after the fix."""

import gzip
import sys
from pathlib import Path

import pytest

from tests.harness import failing_parser, ship24
from tests.harness.command import run_command
from tests.harness.service import ROOT, Service, bearer, serving

OPS = "the-ops-token-of-these-tests"
DEFECT = (sys.executable, "-P", str(ROOT / "tests/harness/failing_parser.py"))
BODY = ship24.body(ship24.item("unread", "t", [ship24.event("e", status=failing_parser.MARK.decode())]))
LARGE = BODY + b" " * 40_000


@pytest.mark.parametrize(
    ("body", "headers", "by"),
    [(BODY, [], "api"), (LARGE, [], "command"), (gzip.compress(BODY), [("Content-Encoding", "gzip")], "api")],
    ids=["small, read where it arrives", "large, read by the writing process", "compressed"],
)
def test_a_body_that_our_code_fails_to_read_is_500_and_a_replay_after_the_fix_applies_it(
    tmp_path: Path, sqlite_url: str, body: bytes, headers: list[tuple[str, str]], by: str
) -> None:
    with serving(tmp_path / "defect", sqlite_url, DEFECT, ops_tokens=OPS) as broken:
        answer = broken.post(body, headers=headers)
        assert (answer.status, answer.json()["error"]["code"]) == (500, "internal")
        assert b"private-content" not in answer.body
        assert broken.post(ship24.single("fine", tracker_id="other")).outcomes() == ["applied"]
        delivery_id = answer.json()["delivery_id"]
        listed = broken.get("/ops/api/deliveries?outcome=failed", OPS).json()["items"]
        assert [(each["id"], each["status"], each["code"]) for each in listed] == [(delivery_id, 500, "internal")]
        assert 'receiver_calls_total{source="ship24",status="500"} 1.0' in broken.get("/metrics", OPS).body.decode()
        assert "delivery_failed" in broken.logs()
        assert "private-content" not in broken.logs()
    with serving(tmp_path / "fixed", sqlite_url, ops_tokens=OPS) as fixed:
        replay(fixed, delivery_id, by)
        assert fixed.get("/ops/api/trackers/ship24/t", OPS).json()["tracker"]["latest_event_id"] == "e"
        assert fixed.post(BODY).outcomes() == ["duplicate"]


def replay(service: Service, delivery_id: str, by: str) -> None:
    if by == "api":
        answer = service.call("POST", f"/ops/api/deliveries/{delivery_id}/replay", b"{}", bearer(OPS))
        assert [item["after"]["outcome"] for item in answer.json()["items"]] == ["applied"]
    else:
        done = run_command("deliveries", "replay", delivery_id, "--yes", cwd=service.directory, env=service.env)
        assert done.returncode == 0, done.stderr
