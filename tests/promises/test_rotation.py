"""Tokens change while calls come in: two are accepted at once, and it is seen which one is still used.

Headings of Shiipp's troubleshooting page stand above their cases.
"""

import json
from collections.abc import Callable
from itertools import count
from threading import Event, Lock
from typing import Any

import orjson
import pytest

from receiver.access.bearer import make_fingerprint
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.console_client import ConsoleClient
from tests.harness.load import together
from tests.harness.service import SHIP24, TOKEN, Reply, Service, name_of, wait_until
from tests.harness.storage import Plus, update_rows

PACKAGE, MANIFEST, CUSTOMERS = "/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status", "/shiipp/customers"
OPS = "the-ops-token-of-these-tests"
OLD, NEW = "the-old-token-of-these-tests", "the-new-token-of-these-tests"
BOTH = f"spring:{OLD},autumn:{NEW}"
_numbers = count(1)
each_token_order = pytest.mark.parametrize("both", [f"{NEW},{OLD}", f"{OLD},{NEW}"], ids=["new first", "old first"])


def package() -> bytes:
    return orjson.dumps({"package_id": f"p{next(_numbers)}"})


def restart(of: Service, tokens: str) -> None:
    """Restart with other tokens of Shiipp, and wait until they are recorded."""
    assert of.stop() == 0
    of.env["RECEIVER_SHIIPP_TOKENS"] = tokens
    of.restart()
    fingerprints = {make_fingerprint(token.rpartition(":")[2].encode()) for token in tokens.split(",")}
    wait_until(lambda: present_tokens(of) == fingerprints, "the tokens are recorded")


def present_tokens(of: Service) -> set[str]:
    return {row["fingerprint"] for row in of.table("known_tokens", "fingerprint", removed_at=None, source="shiipp")}


def post(to: Service, token: str) -> int:
    return to.post(package(), path=PACKAGE, token=token).status


def findings(of: Service) -> list[dict[str, Any]]:
    """Return what doctor says about Shiipp's tokens."""
    done = run_command("doctor", "--json", cwd=of.directory, env=of.env)
    return [finding for finding in json.loads(done.stdout) if finding["subject"] == "shiipp token"]


def token_uses(of: Service) -> dict[str, str]:
    """Return what doctor says about the use of each token: `last used` or `never used`."""
    told = [finding["finding"].split(", ", 1) for finding in findings(of)]
    return {name: " ".join(use.split()[:2]) for name, use in told}


# Webhook returns 401 or authentication fails


def test_each_source_takes_its_own_tokens_only(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=OLD)
    for path in (PACKAGE, MANIFEST):
        for token in (TOKEN, "wrong", f"{OLD}x", None):
            answer = running.post(b"[]", path=path, token=token)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.json()["error"]["code"] == "unauthorized"
        assert running.post(b"[]", path=path, token=OLD).status == 200
    assert running.post(ship24.single(), path=SHIP24, token=OLD).status == 401
    assert running.post(ship24.single(), path=SHIP24, token=TOKEN).status == 200


def test_without_a_token_shiipp_is_off(service: StartService, sqlite_url: str) -> None:
    off = service(sqlite_url)
    assert post(off, OLD) == 404
    assert "RECEIVER_SHIIPP_TOKENS" in off.logs()


def test_two_tokens_are_accepted_under_their_names_and_doctor_shows_which_is_used(
    service: StartService, database_url: str
) -> None:
    running = service(database_url, shiipp_tokens=BOTH)
    assert token_uses(running) == {"spring": "never used", "autumn": "never used"}
    assert post(running, NEW) == 200
    assert token_uses(running) == {"spring": "never used", "autumn": "last used"}
    assert post(running, OLD) == 200
    assert token_uses(running) == {"spring": "last used", "autumn": "last used"}


@each_token_order
def test_tokens_without_names_keep_their_uses_wherever_they_stand_in_the_list(
    service: StartService, sqlite_url: str, both: str
) -> None:
    """Walk the guide "Change a token": each step, and what the console and doctor show then."""
    running = service(sqlite_url, shiipp_tokens=OLD, ops_tokens=OPS)
    old, new = name_of(OLD), name_of(NEW)
    assert post(running, OLD) == 200
    restart(running, both)
    assert token_uses(running) == {old: "last used", new: "never used"}
    assert (post(running, OLD), post(running, NEW)) == (200, 200)  # the sender switches
    assert token_uses(running) == {old: "last used", new: "last used"}
    two_days = 2 * 86_400 * 1_000_000
    update_rows(sqlite_url, "token_uses", {"token": old}, last_used_at=Plus(-two_days))
    update_rows(sqlite_url, "known_tokens", first_seen_at=Plus(-two_days))
    told = " ".join(finding["finding"] for finding in findings(running))
    assert f"replaced by {new}, safe to remove" in told
    assert f"replaced by {old}" not in told
    console = ConsoleClient(running)
    console.sign_in(OPS)
    page = " ".join(console.get("/ops/settings").body.decode().split())
    assert f"Replaced by <bdi>{new}</bdi>: safe to remove" in page
    restart(running, NEW)
    assert (post(running, NEW), post(running, OLD)) == (200, 401)
    assert token_uses(running) == {new: "last used"}


def test_a_name_that_passes_to_another_token_does_not_take_the_use_along(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=f"main:{OLD}", ops_tokens=OPS)
    assert post(running, OLD) == 200
    restart(running, f"main:{NEW}")
    assert token_uses(running) == {"main": "never used"}
    assert 'token="main"' not in running.get("/metrics").body.decode()
    assert post(running, NEW) == 200
    assert token_uses(running) == {"main": "last used"}


def test_looking_with_doctor_does_not_make_a_token_look_used(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=BOTH, ops_tokens="the-ops-token-of-these-tests")
    for _ in range(2):
        assert token_uses(running) == {"spring": "never used", "autumn": "never used"}


def test_a_delivery_without_messages_is_a_use_too(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=BOTH)
    assert running.post(b"[]", path=PACKAGE, token=OLD).status == 200
    assert token_uses(running) == {"spring": "last used", "autumn": "never used"}


def test_fetching_the_customer_list_is_a_use_too(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=BOTH)
    assert running.call("GET", CUSTOMERS, headers=[("Authorization", f"Bearer {NEW}")]).status == 503  # nothing is imported yet
    assert token_uses(running)["autumn"] == "last used"


def test_a_switch_under_load_gives_no_401(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=BOTH)
    switched, lock, statuses = Event(), Lock(), list[tuple[str, int]]()

    def sender() -> None:
        with lock:
            connection = running.connect()
        left = 20  # deliveries after the switch
        while left:
            token = NEW if switched.is_set() else OLD
            reply = running.post(package(), path=PACKAGE, token=token, connection=connection)
            with lock:
                statuses.append((token, reply.status))
            left -= token == NEW
        connection.close()

    def switch() -> None:
        wait_until(lambda: len(statuses) >= 100, "calls are answered")
        switched.set()

    calls: list[Callable[[], None]] = [sender] * 8
    together([*calls, switch])
    assert set(statuses) == {(OLD, 200), (NEW, 200)}
    assert running.count("messages") == len(statuses)


@pytest.mark.parametrize("path", [PACKAGE, MANIFEST])
def test_a_rotation_from_its_beginning_to_its_end(service: StartService, sqlite_url: str, path: str) -> None:
    running = service(sqlite_url, shiipp_tokens=f"spring:{OLD}")
    for tokens, expected in ((f"spring:{OLD}", (200, 401)), (BOTH, (200, 200)), (f"autumn:{NEW}", (401, 200))):
        assert running.stop() == 0
        running.env["RECEIVER_SHIIPP_TOKENS"] = tokens
        running.restart()
        assert tuple(running.post(b"[]", path=path, token=token).status for token in (OLD, NEW)) == expected


# Sync failed with HTTP 401 or 403


def fetch(of: Service, token: str, method: str = "GET") -> Reply:
    return of.call(method, CUSTOMERS, headers=[("Authorization", f"Bearer {token}")])


def test_only_shiipps_token_fetches_the_list_and_each_refusal_is_on_record(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=OLD, ops_tokens="the-ops-token-of-these-tests")
    for token in (TOKEN, "wrong", "", "the-ops-token-of-these-tests"):
        for method in ("GET", "HEAD"):
            reply = fetch(running, token, method)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert fetch(running, "wrong").json()["error"]["code"] == "unauthorized"
    listed = run_command("customers", "list", "--last-sync", "--json", cwd=running.directory, env=running.env)
    refused = json.loads(listed.stdout)["items"]
    assert [(row["status"], row["received"]) for row in refused] == [(401, 0)] * 5  # HEAD is no sync
    assert all(row["reason"] for row in refused)


def test_another_method_is_405_with_the_allowed_ones(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=OLD)
    for method in ("POST", "PUT", "DELETE"):
        reply = fetch(running, OLD, method)
        assert (reply.status, {name.strip() for name in reply.headers["allow"].split(",")}) == (405, {"GET", "HEAD"})


def test_an_address_that_is_not_allowed_is_403_and_without_a_token_the_list_is_off(
    service: StartService, sqlite_url: str
) -> None:
    strict = service(sqlite_url, shiipp_tokens=OLD, shiipp_ip_policy="enforce", shiipp_allowed_ips="192.0.2.1")
    reply = fetch(strict, OLD)
    assert (reply.status, reply.json()["error"]["code"]) == (403, "address_not_allowed")
    (recorded,) = strict.table("deliveries", "status", "client", kind="customers")
    assert (recorded["status"], recorded["client"]) == (403, "127.0.0.1")
    assert strict.stop() == 0
    off = service(sqlite_url)
    assert (fetch(off, OLD).status, fetch(off, OLD).json()["error"]["code"]) == (404, "not_found")
