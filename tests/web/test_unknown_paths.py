"""Paths that are nearly right: with a right token, the answer names the right path, and the request is recorded."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.web.unknown import find_nearest
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.rows import delivery_row
from tests.harness.service import SHIP24, TOKEN, Reply, Service, serving, wait_until
from tests.harness.table import each_row

PACKAGE, MANIFEST = "/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status"
CUSTOMERS = "/shiipp/customers"
OPS, SHIIPP_TOKEN = "the-ops-token-of-these-tests", "the-other-token-of-these-tests"
_LIST = f"Webhook URLs: {SHIP24}, {PACKAGE}, {MANIFEST}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("paths")
    url = f"sqlite:///{folder}/paths.db"
    with serving(folder, url, ship24_tokens=f"main:{TOKEN}", shiipp_tokens=SHIIPP_TOKEN, ops_tokens=OPS) as service:
        yield service


def count_deliveries(service: Service) -> int:
    return int(service.count("deliveries"))


def message_of(answer: Reply) -> str:
    return str(answer.json()["error"]["message"])


_NEAR = {
    "//webhooks/ship24": [SHIP24],
    "/webhooks//ship24": [SHIP24],
    "/Webhooks/Ship24": [SHIP24],
    "/WEBHOOKS/SHIP24/": [SHIP24],
    "/webhook/ship24": [SHIP24],
    "/ship24": [SHIP24],
    "/webhooks": [SHIP24],
    "/": [SHIP24],
    "/webhooks/ship24/tracking": [SHIP24],
    "/webhooks/webhooks/ship24": [SHIP24],
    "/webhooks%20/ship24": [SHIP24],
    "/webhooks/shiipp": [PACKAGE, MANIFEST],
    "/webhooks/shiipp/new_package": [PACKAGE],
    "/webhooks/new-package": [PACKAGE],
    "/webhooks/shiipp/new-packages": [PACKAGE],
    "/webhooks/shiipp/manifest": [MANIFEST],
    "/webhooks/shiipp/new-manifest": [PACKAGE, MANIFEST],
    "/webhooks/shiipp/package-status": [PACKAGE, MANIFEST],
    "/Shiipp/customer": [CUSTOMERS],
    "/webhooks/shiipp/customers": [CUSTOMERS],
}


@each_row(("path", "meant"), _NEAR.items(), ids=_NEAR.keys())
def test_a_right_token_at_a_path_that_is_nearly_ours_is_on_record_with_a_hint(
    running: Service, path: str, meant: list[str]
) -> None:
    token = TOKEN if meant == [SHIP24] else SHIIPP_TOKEN
    answer = running.post(ship24.single(), path, token)
    assert (answer.status, answer.json()["error"]["code"]) == (404, "not_found")
    assert message_of(answer) == f"Unknown path. Did you mean {' or '.join(meant)}?"
    delivery_id = answer.json()["delivery_id"]
    listed = running.get("/ops/api/deliveries?outcome=refused&status=404&limit=1", OPS).json()["items"][0]
    assert (listed["id"], listed["status"], listed["outcome"]) == (delivery_id, 404, "refused")
    row = delivery_row(running.database_url, delivery_id)
    assert (row["source"], row["reason"], row["body_bytes"]) == (answer_source(meant), message_of(answer), 0)
    assert bytes(row["body"] or b"") == b""


def answer_source(meant: list[str]) -> str:
    return "ship24" if meant == [SHIP24] else "shiipp"


@each_row("token", [None, "wrong"])
@each_row("path", ["//webhooks/ship24", "/webhook/ship24", "/", "/wp-login.php"])
def test_a_stranger_at_an_unknown_path_gets_the_paths_and_leaves_no_record(
    running: Service, path: str, token: str | None
) -> None:
    before = count_deliveries(running)
    answer = running.post(b"{}", path, token)
    assert (answer.status, message_of(answer)) == (404, f"Unknown path. {_LIST}")
    assert "delivery_id" not in answer.json()
    assert count_deliveries(running) == before


def unknown_paths(of: Service) -> dict[str | None, dict[str, Any]]:
    return {item["path"]: item for item in of.get("/ops/api/stats", OPS).json()["unknown_paths"]}


def requests_to(of: Service, path: str | None) -> int:
    return int(unknown_paths(of).get(path, {"requests": 0})["requests"])


def test_posts_to_unknown_paths_are_counted_with_the_right_path(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    secret = "a-wrong-token-that-stands-in-a-path"
    posts = {"/webhook/ship24": 2, "/ship24/…": 1, None: 3}
    for path in ("/webhook/ship24", "/webhook/ship24/", f"/ship24/{secret}", "/wp-login.php", "/.env", "/xmlrpc"):
        assert running.post(b"{}", path, "wrong").status == 404
    running.get("/webhook/ship24/looked-at")
    wait_until(lambda: {path: requests_to(running, path) for path in posts} == posts, "they are recorded")
    found = unknown_paths(running)
    assert {path: item["nearest"] for path, item in found.items()} == {"/webhook/ship24": SHIP24, "/ship24/…": SHIP24, None: None}
    assert "receiver_unknown_paths_total 6.0" in running.get("/metrics").body.decode()
    shown = run_command("stats", cwd=running.directory, env=running.env).stdout
    assert re.search(rf"/webhook/ship24\s+{SHIP24}\s+2\s", shown)
    assert secret not in shown + repr(running.table("unknown_paths")) + running.logs()


def test_a_token_in_the_path_is_never_written_down(running: Service) -> None:
    answer = running.post(b"{}", f"/webhooks/ship24/{TOKEN}/{'x' * 1000}")
    (row,) = running.table("deliveries", id=answer.json()["delivery_id"])
    assert row["path"].startswith("/webhooks/ship24/[secret]/x")
    assert len(row["path"]) == 200
    assert TOKEN not in str(dict(row))
    assert TOKEN not in running.logs()


def test_a_request_at_an_unknown_path_does_not_count_as_a_use_of_its_token(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ship24_tokens=f"main:{TOKEN}")
    answer = running.post(b"{}", "/webhook/ship24%00")
    (row,) = running.table("deliveries", "token", "note", id=answer.json()["delivery_id"])
    assert dict(row) == {"token": None, "note": "unknown path, right token (main)"}
    assert running.table("token_uses", source="ship24") == []


def test_the_answer_names_only_sources_that_are_on(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    assert message_of(running.get("/nothing")) == f"Unknown path. Webhook URLs: {SHIP24}"
    quiet = service(sqlite_url.replace("receiver.db", "quiet.db"), ship24_tokens="")
    assert message_of(quiet.get("/nothing")) == "Unknown path. There are no webhook URLs: no source has a token."


def test_a_slash_at_the_end_is_accepted_everywhere_without_a_redirect(running: Service) -> None:
    assert running.post(ship24.single("slash"), f"{SHIP24}/").outcomes() == ["applied"]
    assert running.call("HEAD", f"{PACKAGE}/").status == 200
    for path in ("/healthz/", "/readyz/", "/metrics/", "/ops/sign-in/", "/ops/api/trackers/", "/ops/api/openapi.json/"):
        assert running.get(path, OPS).status == 200
    assert running.get("/shiipp/customers/", SHIIPP_TOKEN).status == 503  # no list was imported yet


def test_words_in_another_order_or_number_are_near() -> None:
    known = ["/a/ones/two", "/a/three"]
    assert find_nearest("/two/one", known) == ["/a/ones/two"]
    assert find_nearest("/a", known) == ["/a/three"]
    assert find_nearest("/nothing", known) == known
