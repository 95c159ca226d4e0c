"""The page of a manifest: its packages and how many are at each milestone."""

import json
from collections.abc import Callable

from tests.harness.console_client import ConsoleClient
from tests.harness.service import Service

OPS, SHIIPP = "the-ops-token-of-these-tests", "the-shiipp-token-of-these-tests"


def test_a_manifest_counts_its_packages_and_leads_to_them_and_their_customers(shared_service: Callable[..., Service]) -> None:
    running = shared_service(ops_tokens=f"anna:{OPS}", shiipp_tokens=SHIIPP)
    manifest = {"manifest_id": "m", "status": "ready", "packages": ["p1", "unseen"]}
    package = {"package_id": "p1", "user_code": "C1", "weight": 3}
    for path, body in (("manifest-status", manifest), ("new-package", package)):
        assert running.post(json.dumps(body).encode(), path=f"/webhooks/shiipp/{path}", token=SHIIPP).status == 200
    anna = ConsoleClient(running)
    assert anna.sign_in(OPS).status == 303
    page = anna.get("/ops/trackers/shiipp/manifest%3Am").body.decode()
    for part in ("/ops/trackers?manifest=manifest%3Am", "/ops/trackers/shiipp/p1", "/ops/trackers?customer=C1", "not received"):
        assert part in page
    listed = anna.get("/ops/trackers?customer=c1&manifest=manifest%3Am").body.decode()
    assert "/ops/trackers/shiipp/p1" in listed
    assert "3 lb" in anna.get("/ops/trackers/shiipp/p1").body.decode()
