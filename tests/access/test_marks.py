"""Marks of tests: what `simulate` and `check` send is kept apart, and nobody else can hide a message with a mark."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from receiver.access.bearer import Secret
from receiver.access.marks import ACCEPTED, HEADER, read_mark, sign_mark
from receiver.clock import now
from tests.harness import ship24
from tests.harness.changes import SECRET, write_targets
from tests.harness.command import run_command
from tests.harness.console_client import ConsoleClient
from tests.harness.endpoint import Endpoint, answering
from tests.harness.service import SHIP24, TOKEN, Reply, Service, bearer, serving, wait_until
from tests.harness.table import each_row
from tests.monitoring.test_metrics import scrape

OPS = "the-ops-token-of-these-tests"
ANNA, OTTO = Secret("anna", OPS), Secret("otto", "another-ops-token-of-these-tests")
NOON = datetime(2026, 11, 26, 12, 0, 30, tzinfo=UTC)
RIGHT = f"Bearer {TOKEN}".encode()
RUN = "a1b2c3d4"
BODY = b'{"trackings": []}'


def value(at: datetime = NOON, by: Secret = ANNA, run: str = RUN, *, hands_on: bool = False, body: bytes = BODY) -> bytes:
    return sign_mark(by, "ship24", [RIGHT], body, run, at, hands_on=hands_on).encode()


@each_row("hands_on", [True, False])
def test_a_mark_says_its_run_whether_to_hand_on_and_for_which_body_it_is(hands_on: bool) -> None:
    mark = read_mark([OTTO, ANNA], "ship24", [RIGHT], value(hands_on=hands_on), NOON)
    assert mark is not None
    assert mark[:2] == (RUN, hands_on)
    assert (mark.covers(BODY), mark.covers(BODY + b" "), mark.covers(b"")) == (True, False, False)


@each_row("minutes", [-59, 0, 59])
def test_a_mark_counts_for_an_hour_and_for_clocks_that_differ_by_less(minutes: int) -> None:
    assert read_mark([ANNA], "ship24", [RIGHT], value(NOON + timedelta(minutes=minutes)), NOON) is not None


@each_row("minutes", [-61, 61, 60 * 24])
def test_an_old_mark_and_one_of_the_future_are_not_accepted(minutes: int) -> None:
    assert read_mark([ANNA], "ship24", [RIGHT], value(NOON + timedelta(minutes=minutes)), NOON) is None


def test_a_mark_belongs_to_one_ops_token_source_and_authorization() -> None:
    for tokens, source, authorization in [
        ([OTTO], "ship24", [RIGHT]),
        ([Secret("webhook", TOKEN)], "ship24", [RIGHT]),
        ([], "ship24", [RIGHT]),
        ([ANNA], "shiipp", [RIGHT]),
        ([ANNA], "ship24", [b"Bearer a-guess"]),
        ([ANNA], "ship24", [RIGHT, RIGHT]),
        ([ANNA], "ship24", []),
    ]:
        assert read_mark(tokens, source, authorization, value(), NOON) is None


@each_row("part", [b"run=", b"until=", b"hand-on=", b"body=", b"sign="])
def test_every_part_of_a_mark_is_signed(part: bytes) -> None:
    changed = value(hands_on=True).replace(b"hand-on=yes", b"hand-on=no") if part == b"hand-on=" else None
    if changed is None:
        before, _, rest = value().partition(part)
        changed = before + part + (b"1" if rest[:1] != b"1" else b"2") + rest[1:]
    assert changed != value()
    assert read_mark([ANNA], "ship24", [RIGHT], changed, NOON) is None


@each_row("sent", [b"", b"run=", OPS.encode(), b"9" * 5000, value()[:-1], value() + b" ", value().upper(), b"\xff" * 300])
def test_a_value_of_another_form_is_not_accepted(sent: bytes) -> None:
    assert read_mark([ANNA], "ship24", [RIGHT], sent, NOON) is None


def test_a_mark_gives_no_token_away() -> None:
    assert not [secret for secret in (OPS, TOKEN) if secret.encode() in value()]


class Shop(NamedTuple):
    """A service with a target, and the target."""

    service: Service
    target: Endpoint

    def mark(self, body: bytes, token: str = TOKEN, *, hands_on: bool = False, run: str = RUN) -> Reply:
        """Post a marked body."""
        sent = sign_mark(ANNA, "ship24", [f"Bearer {token}".encode()], body, run, now(), hands_on=hands_on)
        return self.service.post(body, token=token, headers=[(HEADER, sent)])

    def get(self, path: str) -> Any:
        return self.service.get(f"/ops/api/{path}", OPS).json()

    def run(self, *arguments: str) -> Any:
        done = run_command(*arguments, "--json", cwd=self.service.directory, env=self.service.env)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return json.loads(done.stdout)

    def settle(self) -> None:
        """Send a real change, and wait until the target has it: whatever was handed on before has arrived too."""
        tracker_id = f"fence-{len(self.target.changes)}"
        assert self.service.post(item(tracker_id, f"m-{tracker_id}")).outcomes() == ["applied"]
        wait_until(lambda: self.told(tracker_id), "the target has the change")
        wait_until(lambda: self.service.count("dispatches") == 0, "nothing waits")

    def told(self, tracker_id: str) -> list[str]:
        """Return the statuses that the target was told of a tracker."""
        return [change["status"] for change in self.target.changes if change["tracker_id"] == tracker_id]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("marked")
    with ExitStack() as stack:
        target = stack.enter_context(answering())
        write_targets(folder, shop=target.url)
        settings = {"ops_tokens": f"anna:{OPS}", "target_secrets": f"shop:{SECRET}"}
        yield Shop(stack.enter_context(serving(folder, f"sqlite:///{folder}/marked.db", **settings)), target)


def item(tracker_id: str, message_id: str, hour: int = 8, **fields: Any) -> bytes:
    event = ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00", status=message_id)
    return ship24.body(ship24.item(tracker_id=tracker_id, message_id=message_id, events=[event], **fields))


def test_check_reaches_no_target_counts_nowhere_and_is_shown_as_a_test(shop: Shop) -> None:
    before, counted = shop.get("stats"), scrape(shop.service)
    done = shop.run("check", f"{shop.service.url}{SHIP24}", "--expect-ops", "--token", TOKEN, "--timeout", "60")
    assert (done["passed"], done["counts"]["fail"]) == (True, 0)
    assert len(shop.service.table("deliveries", "id", test_run=done["prefix"][5:].lower())) == shop.service.count("deliveries")
    after = shop.get("stats")
    for name in ("sources", "since"):
        before.pop(name), after.pop(name) if name == "since" else None
    assert {source["received"] for source in after["sources"].values()} == {0}
    assert after["sources"]["ship24"]["last_delivery_at"] is None
    assert after["sources"]["ship24"]["lag"]["events"] == 0
    names = ("receiver_calls_total", "receiver_refused_total", "receiver_messages_total")
    assert {key: number for key, number in scrape(shop.service).items() if key[0] in names} == {
        key: number for key, number in counted.items() if key[0] in names
    }
    assert shop.service.count("token_uses", source="ship24") == 0
    assert shop.service.count("quarantine") > 0
    assert "quarantined" not in {concern["kind"] for concern in shop.get("overview")["concerns"]}
    shop.settle()
    assert {change["tracker_id"][:5] for change in shop.target.changes} == {"fence"}


@each_row("sent", [b"", b"x", value(), value(now(), OTTO), value(now(), body=b"another body")])
def test_a_delivery_whose_mark_is_not_accepted_is_a_real_one(shop: Shop, sent: bytes) -> None:
    number = shop.service.count("deliveries")
    reply = shop.service.post(item(f"real-{number}", f"real-{number}"), headers=[(HEADER, sent.decode("latin-1"))])
    assert (reply.status, reply.outcomes(), reply.headers.get(HEADER)) == (200, ["applied"], None)
    assert shop.service.value("deliveries", "test_run", id=reply.json()["delivery_id"]) is None
    assert shop.service.value("trackers", "test_run", tracker_id=f"real-{number}") is None
    wait_until(lambda: shop.told(f"real-{number}"), "the target has the change")


def test_a_test_with_real_names_is_quarantined_and_their_messages_still_take_effect(shop: Shop) -> None:
    """Promise 2: the id of a message that a test has used is still unknown."""
    bodies = [item("a-parcel", "a-message"), item(f"{RUN}-parcel", "a-message"), item("a-parcel", f"{RUN}-message")]
    for body in bodies:
        reply = shop.mark(body)
        assert (reply.status, reply.headers.get(HEADER)) == (200, ACCEPTED)
        (message,) = reply.json()["messages"]
        assert (message["message_id"], message["outcome"], message["reason"]) == (None, "quarantined", "not_of_test")
    assert shop.service.post(bodies[0]).outcomes() == ["applied"]
    wait_until(lambda: shop.told("a-parcel"), "the target has the change")
    assert shop.told("a-parcel") == ["a-message"]


def test_no_test_changes_a_tracker_that_real_messages_have_made(shop: Shop) -> None:
    tracker_id = f"{RUN}-known"
    assert shop.service.post(item(tracker_id, "real")).outcomes() == ["applied"]
    before = shop.service.table("trackers", tracker_id=tracker_id)
    for _ in range(2):
        (message,) = shop.mark(item(tracker_id, f"{RUN}-late", hour=9)).json()["messages"]
        assert (message["outcome"], message["reason"]) == ("quarantined", "test_of_real_tracker")
    assert shop.service.table("trackers", tracker_id=tracker_id) == before
    assert shop.service.count("messages", message_id=f"{RUN}-late") == 0


def test_a_real_message_makes_the_tracker_of_a_test_a_real_one(shop: Shop) -> None:
    tracker_id = f"{RUN}-both"
    assert shop.mark(item(tracker_id, f"{RUN}-both-1")).outcomes() == ["applied"]
    assert shop.service.value("trackers", "test_run", tracker_id=tracker_id) == RUN
    assert shop.service.post(item(tracker_id, "real-both", hour=9)).outcomes() == ["applied"]
    assert shop.service.value("trackers", "test_run", tracker_id=tracker_id) is None
    wait_until(lambda: shop.told(tracker_id), "the target has the change")
    assert shop.told(tracker_id) == ["real-both"]


def test_a_test_is_handed_on_where_that_is_asked(shop: Shop) -> None:
    assert shop.mark(item(f"{RUN}-silent", f"{RUN}-silent")).outcomes() == ["applied"]
    assert shop.mark(item(f"{RUN}-told", f"{RUN}-told"), hands_on=True).outcomes() == ["applied"]
    wait_until(lambda: shop.told(f"{RUN}-told"), "the target has the change")
    shop.settle()
    assert (shop.told(f"{RUN}-told"), shop.told(f"{RUN}-silent")) == ([f"{RUN}-told"], [])


def test_a_replay_of_a_test_hands_nothing_on_and_changes_no_real_tracker(shop: Shop) -> None:
    tracker_id = f"{RUN}-again"
    reply = shop.mark(item(tracker_id, f"{RUN}-again", hour=9).replace(b"2025-03-01T09", b"2225-03-01T09"), hands_on=True)
    assert reply.outcomes() == ["quarantined"]
    path = f"deliveries/{reply.json()['delivery_id']}/replay"
    real = item(tracker_id, "real-again")
    assert shop.service.post(real).outcomes() == ["applied"]
    answer = shop.service.call("POST", f"/ops/api/{path}", b'{"force": true}', bearer(OPS))
    (replayed,) = answer.json()["items"]
    assert replayed["after"] == {"outcome": "quarantined", "reason": "test_of_real_tracker"}
    assert shop.service.value("trackers", "status", tracker_id=tracker_id) == "real-again"


def test_the_undo_of_a_forced_test_hands_nothing_on(shop: Shop) -> None:
    tracker_id = f"{RUN}-undone"
    assert shop.mark(item(tracker_id, f"{RUN}-undone-1")).outcomes() == ["applied"]
    reply = shop.mark(item(tracker_id, f"{RUN}-undone-2", hour=9).replace(b"2025-03-01T09", b"2225-03-01T09"))
    path = f"/ops/api/deliveries/{reply.json()['delivery_id']}/replay"
    for options in (b'{"force": true}', b'{"undo": true}'):
        answer = shop.service.call("POST", path, options, bearer(OPS)).json()
        assert (answer["changed"], len(answer["trackers"])) == (True, 1)
    shop.settle()
    assert shop.told(tracker_id) == []


def test_a_refused_delivery_of_a_test_is_recorded_as_one_and_a_guess_under_its_mark_is_not(shop: Shop) -> None:
    reply = shop.mark(item(f"{RUN}-refused", f"{RUN}-refused"), token="a-wrong-token")
    assert (reply.status, reply.headers.get(HEADER)) == (401, ACCEPTED)
    assert shop.service.value("deliveries", "test_run", id=reply.json()["delivery_id"]) == RUN
    guess = sign_mark(ANNA, "ship24", [RIGHT], BODY, RUN, now(), hands_on=False)
    reply = shop.service.post(BODY, token="a-guess", headers=[(HEADER, guess)])
    assert (reply.status, reply.headers.get(HEADER)) == (401, None)
    assert shop.service.value("deliveries", "test_run", id=reply.json()["delivery_id"]) is None


def test_the_signature_is_stored_and_logged_nowhere(shop: Shop) -> None:
    body = item(f"{RUN}-kept", f"{RUN}-kept")
    sent = sign_mark(ANNA, "ship24", [RIGHT], body, RUN, now(), hands_on=False)
    reply = shop.service.post(body, headers=[(HEADER, sent)])
    shown = shop.get(f"deliveries/{reply.json()['delivery_id']}")
    assert (shown["test_run"], HEADER in dict(shown["headers"])) == (RUN, False)
    signature = sent.rpartition("sign=")[2]
    assert signature not in json.dumps(shown) + shop.service.logs()


def test_tests_are_filtered(shop: Shop) -> None:
    assert shop.mark(item(f"{RUN}-listed", f"{RUN}-listed")).outcomes() == ["applied"]
    assert shop.service.post(item("listed", "listed")).outcomes() == ["applied"]
    for path in ("trackers?", "deliveries?", "trackers?q=TN-&"):
        tests, real = (shop.get(f"{path}test={test}&limit=200")["items"] for test in ("true", "false"))
        assert {row["test_run"] for row in tests} >= {RUN}
        assert None not in {row["test_run"] for row in tests}
        assert {row["test_run"] for row in real} == {None}
        assert len(shop.get(f"{path}limit=200")["items"]) == len(tests) + len(real)


def test_the_console_marks_and_filters_what_a_test_has_sent(shop: Shop) -> None:
    reply = shop.mark(item(f"{RUN}-shown", f"{RUN}-shown"))
    assert shop.service.post(item("shown", "shown")).outcomes() == ["applied"]
    console = ConsoleClient(shop.service)
    console.sign_in(OPS)
    pages = (f"/ops/trackers/ship24/{RUN}-shown", f"/ops/deliveries/{reply.json()['delivery_id']}", "/ops/deliveries?test=true")
    for page in (*pages, "/ops/trackers?test=true"):
        assert b'chip is-test"' in console.get(page).body, page
    for page in ("/ops/trackers?test=false", "/ops/deliveries?test=false", "/ops/trackers/ship24/shown"):
        shown = console.get(page)
        assert (shown.status, b'chip is-test"' in shown.body) == (200, False), page


def test_without_an_ops_token_somebody_must_agree(shop: Shop) -> None:
    env = {name: value for name, value in shop.service.env.items() if name != "RECEIVER_OPS_TOKENS"}
    before = shop.service.count("deliveries")
    for command in ("check", "simulate"):
        words = (command, f"{shop.service.url}{SHIP24}", "--token", TOKEN)
        done = run_command(*words, cwd=shop.service.directory, env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "reach its targets. Give --ops-token, or add --unmarked." in done.stderr
        done = run_command(*words, cwd=shop.service.directory, env=env, typed="n\n")
        assert (done.returncode, "reach its targets" in done.stderr) == (1, True)
    assert shop.service.count("deliveries") == before


def test_a_test_that_is_not_confirmed_sends_nothing(shop: Shop) -> None:
    before = shop.service.count("deliveries")
    for command in ("check", "simulate"):
        words = (command, f"{shop.service.url}{SHIP24}", "--token", TOKEN, "--ops-token", OTTO.reveal())
        done = run_command(*words, cwd=shop.service.directory, env=shop.service.env)
        assert (done.returncode, done.stdout) == (2, "")
        assert "The receiver does not confirm that this is a test" in done.stderr
        assert "Traceback" not in done.stderr
    assert shop.service.count("deliveries") == before


def test_simulate_reaches_no_target(shop: Shop) -> None:
    words = ("simulate", f"{shop.service.url}{SHIP24}", "--token", TOKEN, "--calls", "10", "--rate", "400", "--run", "5e")
    assert shop.run(*words)["lost"]["count"] == 0
    shop.settle()
    assert not [change for change in shop.target.changes if "5e" in change["tracker_id"][:8]]
    assert shop.service.count("deliveries", test_run="0000005e") > 10


def test_tests_are_removed_with_one_command_identities_too(shop: Shop) -> None:
    tables = ("trackers", "events", "messages", "quarantine", "sightings", "bodies", "terms", "deliveries")
    other, real = "0b0b0b0b", item("stays", "stays")
    assert shop.service.post(real).outcomes() == ["applied"]
    shop.run("prune", "--tests")
    before = {table: shop.service.count(table) for table in tables}
    bodies = [item(f"{run}-gone", f"{run}-gone", hour) for run in (RUN, other) for hour in (8, 8, 9)]
    bodies += [item("a-real-name", f"{RUN}-foreign"), item(f"{RUN}-early", f"{RUN}-early").replace(b"2025-03", b"2225-03")]
    for body in bodies:
        assert shop.mark(body, run=other if other.encode() in body else RUN).status == 200
    due = shop.run("prune", "--tests", RUN, "--dry-run")
    assert due == {"test_run": RUN, "dry_run": True, "deliveries": 5, "trackers": 1}
    assert shop.run("prune", "--tests", RUN) == due | {"dry_run": False}
    assert shop.service.count("trackers", test_run=RUN) == shop.service.count("messages", message_id=f"{RUN}-gone") == 0
    assert shop.service.count("trackers", test_run=other) == 1
    assert shop.run("prune", "--tests")["trackers"] == 1
    assert {table: shop.service.count(table) for table in tables} == before
    assert shop.service.post(real).outcomes() == ["duplicate"]
    told = [(entry["actor"], entry["action"], entry["subject"]) for entry in shop.get("audit")["items"][:2]]
    assert told == [("anna", "prune tests", "all"), ("anna", "prune tests", RUN)]


def test_a_tracker_that_became_real_keeps_its_messages(shop: Shop) -> None:
    tracker_id = f"{RUN}-mixed"
    assert shop.mark(item(tracker_id, f"{RUN}-mixed")).outcomes() == ["applied"]
    assert shop.service.post(item(tracker_id, "real-mixed", hour=9)).outcomes() == ["applied"]
    shop.run("prune", "--tests")
    assert [event["message_id"] for event in shop.get(f"trackers/ship24/{tracker_id}")["events"]] == [
        "real-mixed",
        f"{RUN}-mixed",
    ]
    assert shop.get(f"messages/{RUN}-mixed")["outcome"] == "applied"


def test_a_test_that_was_handed_on_is_removed_with_what_waits(shop: Shop) -> None:
    shop.target.close()
    assert shop.mark(item(f"{RUN}-waits", f"{RUN}-waits"), hands_on=True).outcomes() == ["applied"]
    assert shop.service.count("dispatches", tracker_id=f"{RUN}-waits") == 1
    answer = shop.service.call("POST", "/ops/api/prune/tests", b'{"test_run": "a1b2c3d4"}', bearer(OPS))
    assert (answer.status, answer.json()["more"], answer.json()["trackers"]) == (200, False, 1)
    assert shop.service.count("dispatches", tracker_id=f"{RUN}-waits") == 0
    wrong = shop.service.call("POST", "/ops/api/prune/tests", b'{"test_run": "all"}', bearer(OPS))
    assert (wrong.status, wrong.json()["error"]["code"]) == (422, "unexpected_shape")
