"""Targets of a real service: from the settings to the target, and what operators see and do."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from receiver.access.bearer import Secret
from receiver.domain.changes import Subscription
from receiver.relay.signature import Signer
from receiver.settings.targets import TargetSettings, read_targets
from tests.conftest import lacking
from tests.harness import ship24
from tests.harness.changes import OTHER_SECRET, SECRET, write_targets
from tests.harness.command import run_command
from tests.harness.console_client import ConsoleClient, find_form_token
from tests.harness.endpoint import TAKE, Answer, Call, answering, say, write
from tests.harness.nats_server import SUBJECT, brokering, find_broker
from tests.harness.rows import Not
from tests.harness.service import Reply, Service, bearer, serving, wait_until
from tests.harness.storage import Plus, update_rows
from tests.harness.storage import change as change_database
from tests.harness.table import each_row

OPS = "planted-ops-token"
PLANTED = "planted-word-of-the-url"
SETTINGS = {"ops_tokens": OPS, "target_secrets": f"shop:{SECRET},shop:{OTHER_SECRET}"}

Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service that tells these targets: `start(database_url, shop="http://…")`."""
    with ExitStack() as stack:

        def run(database_url: str, settings: dict[str, str] | None = None, **urls: str) -> Service:
            directory = tmp_path / "service"
            write_targets(directory, **urls)
            return stack.enter_context(serving(directory, database_url, **SETTINGS if settings is None else settings))

        yield run


def moved(tracker_id: str, hour: int) -> bytes:
    event = ship24.event(occurrence=f"2025-03-01T{hour:02}:00:00")
    return ship24.body(ship24.item(tracker_id=tracker_id, events=[event]))


def run(service: Service, *arguments: str, code: int = 0) -> str:
    done = run_command(*arguments, cwd=service.directory, env={**service.env, "COLUMNS": "120"})
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done.stdout + done.stderr


def listed(service: Service) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in json.loads(run(service, "targets", "list", "--json"))["items"]}


def waiting(service: Service) -> int:
    return int(service.count("dispatches"))


def errors(service: Service) -> list[str]:
    """Return the errors of changes that wait."""
    return [row["error"] for row in service.table("dispatches", "error", error=Not(None))]


def give_up(service: Service) -> None:
    """Fail the first change of each tracker, as after three days."""
    names = "target, source, tracker_id, move, event_id"
    insert = f"INSERT INTO dead_changes ({names}, died_at, attempts, error) SELECT {names}, made_at, 13, 'shop answered 500.' "
    gone = "DELETE FROM dispatches WHERE move = 1"
    change_database(service.database_url, f"{insert} FROM dispatches WHERE move = 1", gone, "UPDATE dispatches SET due_at = 0")


def test_a_service_tells_a_target_what_moved_signed_with_each_of_its_secrets(start: Start, sqlite_url: str) -> None:
    with answering() as shop:
        running = start(sqlite_url, shop=shop.url)
        running.post(moved("t", 1))
        running.post(moved("t", 2))
        wait_until(lambda: waiting(running) == 0, "everything was taken")
        assert shop.moves("t") == [1, 2]
        for secret in (SECRET, OTHER_SECRET):
            assert Webhook(secret).verify(shop.calls[0].body, shop.calls[0].headers)["type"] == "tracker.changed"
        stored = running.table("events", "change_id", tracker_id="t", order="move")
        assert [call.headers["webhook-id"] for call in shop.calls] == [row["change_id"] for row in stored]


def test_a_tracker_says_which_target_has_which_of_its_changes(start: Start, sqlite_url: str) -> None:
    with answering(say(204, body=b"")) as shop, answering(say(500)) as down:
        settings = {"ops_tokens": OPS, "target_secrets": f"shop:{SECRET},down:{SECRET}"}
        running = start(sqlite_url, settings, shop=shop.url, down=down.url)
        running.post(moved("t", 1))
        wait_until(lambda: running.count("delivered_changes") == 1 and errors(running), "each target has answered")
        answer = ask(running, "trackers/ship24/t")
        ((late, delivered),) = ([*change["targets"]] for change in answer["changes"])
        assert (delivered["state"], delivered["status"], delivered["attempts"]) == ("delivered", 204, 1)
        assert (late["state"], late["attempts"], late["delivered_at"]) == ("failing", 1, None)
        assert late["next_attempt_at"] > answer["changes"][0]["created_at"]
        assert answer["changes"][0]["change_id"] == shop.calls[0].headers["webhook-id"]
        assert json.loads(run(running, "trackers", "show", "t", "--json"))["changes"] == answer["changes"]
        shown = " ".join(run(running, "trackers", "show", "t").split())
        assert "answered 204" in shown
        assert "answered 500: fine" in shown
        console = ConsoleClient(running)
        console.sign_in(OPS)
        page = console.get("/ops/trackers/ship24/t").body.decode()
        assert ("answered 204" in page, "down answered 500." in page) == (True, True)


def test_a_service_tells_a_broker_too(start: Start, sqlite_url: str, tmp_path: Path) -> None:
    if find_broker() is None:
        lacking("nats-server is not installed (Debian package: nats-server)")
    with brokering(tmp_path, OPS) as broker, answering() as shop:
        running = start(
            sqlite_url, {**SETTINGS, "target_secrets": f"shop:{SECRET},broker:{OPS}"}, shop=shop.url, broker=broker.url
        )
        running.post(moved("t", 1))
        wait_until(lambda: errors(running), "the broker has no stream for the usual subject")
        assert errors(running) == ["broker: no stream of the broker has its subject."]
        running.stop()
        file = running.directory / "config" / "receiver.toml"
        file.write_text(file.read_text() + f'subject = "{SUBJECT}"\n')
        update_rows(sqlite_url, "dispatches", due_at=0)
        running.restart()
        wait_until(lambda: waiting(running) == 0, "everything was taken")
        assert [published.place for published in broker.published()] == [("t", 1)]
        assert shop.moves("t") == [1]


def test_after_a_failure_a_change_is_retried_by_itself(start: Start, sqlite_url: str) -> None:
    with answering(say(500), TAKE) as shop:
        running = start(sqlite_url, shop=shop.url)
        running.post(moved("t", 1))
        wait_until(lambda: waiting(running) == 0, "it was taken at the second try")
        first, second = shop.calls
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert second.at - first.at >= 4_000_000, "the first delay is five seconds, give or take a fifth"


def test_after_a_kill_nothing_is_lost_and_only_changes_in_flight_are_repeated(start: Start, sqlite_url: str) -> None:
    def choose(call: Call) -> Answer:
        return write(b"", goes_on=True) if call.change["tracker_id"] == "held" and not released else TAKE

    released: list[bool] = []
    with answering(choose=choose) as shop:
        running = start(sqlite_url, shop=shop.url)
        for number in range(30):
            running.post(moved(f"t{number % 10}", number // 10))
        running.post(moved("held", 1))
        running.post(moved("held", 2))
        wait_until(
            lambda: waiting(running) == 2 and shop.moves("held") == [1],
            "all but the held ones were taken, one of these is under way",
        )
        running.kill()
        assert waiting(running) == 2
        update_rows(sqlite_url, "dispatches", due_at=0)  # the lease of the dead relay has run out
        released.append(True)
        running.restart()
        wait_until(lambda: waiting(running) == 0, "the held ones were taken")
        assert shop.moves("held") == [1, 1, 2]
        assert [shop.moves(f"t{number}") for number in range(10)] == [[1, 2, 3]] * 10
        first, again = (call for call in shop.calls if call.change["tracker_id"] == "held" and call.change["sequence"] == 1)
        assert first.headers["webhook-id"] == again.headers["webhook-id"]


def test_a_target_that_answered_410_gets_nothing_until_an_operator_resumes_it(start: Start, database_url: str) -> None:
    with answering(say(410), TAKE) as shop:
        running = start(database_url, shop=shop.url)
        with relay_of(running):
            running.post(moved("t", 1))
            wait_until(lambda: told(running)["stopped_at"], "it is stopped")
            running.post(moved("t", 2))
            wait_until(lambda: waiting(running) == 2, "changes wait")
            assert told(running)["stop_reason"] == "shop answered 410 and gets no more changes."
            assert "stopped" in run(running, "targets", "list")
            assert run(running, "targets", "resume", "shop") == "Resumed: shop.\n"
            wait_until(lambda: waiting(running) == 0, "everything was taken")
            assert shop.moves("t") == [1, 1, 2]
    assert "shop is not paused or stopped" in run(running, "targets", "resume", "shop", code=1)
    assert audited(running) == [("targets resume", "shop")]


def test_a_paused_target_gets_nothing_also_after_a_restart_until_an_operator_resumes_it(start: Start, database_url: str) -> None:
    with answering() as shop:
        running = start(database_url, shop=shop.url)
        console = ConsoleClient(running)
        console.sign_in(OPS)
        assert "Paused: shop." in run(running, "targets", "pause", "shop")
        assert "shop is paused or stopped already" in run(running, "targets", "pause", "shop", code=1)
        assert "shop is paused or stopped" in run(running, "targets", "flush", "shop", code=1)
        running.stop()
        running.restart()
        with relay_of(running):
            running.post(moved("t", 1))
            assert "paused" in run(running, "targets", "list")
            assert (told(running)["stopped_at"], told(running)["paused_at"] is None) == (None, False)
            assert "Paused" in console.get("/ops/targets").body.decode()
            assert (waiting(running), shop.calls) == (1, [])
            sent = console.submit("/ops/targets", target="shop", command="resume")
            assert (sent.status, sent.headers["location"]) == (303, "/ops/targets")
            wait_until(lambda: waiting(running) == 0, "everything was taken")
    done = [entry for entry in audited(running) if entry[1] == "shop"]
    assert done == [("targets pause", "shop"), ("targets resume", "shop")]


def test_operators_send_a_change_again(start: Start, sqlite_url: str) -> None:
    with answering() as shop:
        running = start(sqlite_url, shop=shop.url)
        running.post(moved("t", 1))
        wait_until(lambda: running.count("delivered_changes") == 1, "it was taken")
        assert "sent again to shop" in run(running, "targets", "resend", "--tracker", "TN-t", "--target", "shop")
        wait_until(lambda: len(shop.calls) == 2, "it came again")
        assert shop.calls[0].body == shop.calls[1].body
        assert shop.calls[0].headers["webhook-id"] == shop.calls[1].headers["webhook-id"]
        wait_until(lambda: waiting(running) == 0, "and was taken again")
        sent = order(running, "targets/resend", {"source": "ship24", "tracker_id": "t"}).json()
        assert (sent["targets"], sent["sequence"], sent["change_id"]) == (["shop"], 1, shop.calls[0].headers["webhook-id"])
        wait_until(lambda: waiting(running) == 0, "and once more")
        operator = ConsoleClient(running)
        operator.sign_in(OPS)
        fields = {"source": "ship24", "tracker_id": "t", "target": "shop", "basis": "events", "sequence": "1"}
        token = find_form_token(operator.get("/ops/trackers/ship24/t"))
        answer = operator.post("/ops/targets/resend", {"form_token": token, **fields})
        assert (answer.status, answer.headers["location"]) == (303, "/ops/trackers/ship24/t#changes")
        wait_until(lambda: len(shop.calls) == 4, "it came by the button too")
        assert operator.post("/ops/targets/resend", {"form_token": token, **fields, "sequence": "none"}).status == 422
        assert operator.post("/ops/targets/resend", {"form_token": token, **fields, "target": "other"}).status == 404
        assert order(running, "targets/resend", {"source": "ship24", "tracker_id": "t", "target": "other"}).status == 404
        assert "name no target other" in run(running, "targets", "resend", "--tracker", "t", "--target", "other", code=1)
    assert [entry for entry in audited(running) if entry[0] == "targets resend"] == [("targets resend", "ship24/t")] * 3


def test_operators_send_a_test_change_which_is_marked_and_never_stored(start: Start, sqlite_url: str) -> None:
    with answering(say(503, body=b"no stock"), TAKE) as shop:
        running = start(sqlite_url, shop=shop.url)
        wait_until(lambda: "relay_started" in running.logs(), "the relay runs")
        assert order(running, "targets/pause", {"target": "shop"}).status == 200  # a test does not wait for its end
        failed = order(running, "targets/test", {"target": "shop"}).json()
        said = "shop answered 503. The answer begins: no stock"
        assert failed == {"target": "shop", "delivered": False, "status": 503, "answer": said}
        assert run(running, "targets", "test", "shop").startswith("Delivered: It answered 2")
        operator = ConsoleClient(running)
        operator.sign_in(OPS)
        token = find_form_token(operator.get("/ops/targets"))
        sent = operator.post("/ops/targets/test", {"form_token": token, "target": "shop"})
        page = operator.get(sent.headers["location"])
        assert (page.status, b"Delivered" in page.body) == (200, True)
        assert order(running, "targets/test", {"target": "other"}).status == 404
        calls = shop.calls
    assert [Webhook(SECRET).verify(call.body, call.headers)["type"] for call in calls] == ["target.test"] * 3
    assert [(call.headers["receiver-test"], call.change["test"], call.change["source"]) for call in calls] == [
        ("true", True, "test")
    ] * 3
    assert len({call.headers["webhook-id"] for call in calls}) == 3
    assert [running.count(table) for table in ("trackers", "dispatches", "delivered_changes", "dead_changes")] == [0] * 4
    assert [entry for entry in audited(running) if entry[0] == "targets test"] == [("targets test", "shop")] * 3


def test_a_test_change_that_a_target_does_not_take_ends_the_command_with_1(start: Start, sqlite_url: str) -> None:
    with answering(say(401, body=f"bad signature, not {SECRET}".encode())) as shop:
        running = start(sqlite_url, shop=shop.url)
        wait_until(lambda: "relay_started" in running.logs(), "the relay runs")
        shown = run(running, "targets", "test", "shop", code=1)
    assert shown == "Failed: shop answered 401. The answer begins: bad signature, not [secret]\n"


def test_a_new_secret_has_the_form_that_the_settings_want(start: Start, sqlite_url: str) -> None:
    running = start(sqlite_url, shop="https://shop.example/")
    made = [run(running, "targets", "secret", "shop") for _ in range(2)]
    assert made[0] != made[1]
    name, _, value = made[0].splitlines()[0].partition(":")
    assert name == "shop"
    Signer("shop", [Secret("shop", value)])
    assert "RECEIVER_TARGET_SECRETS" in made[0]


def test_operators_have_a_failing_target_tried_at_once(start: Start, sqlite_url: str) -> None:
    with answering(say(404), say(404), TAKE) as shop:
        running = start(sqlite_url, shop=shop.url)
        running.post(moved("t", 1))
        wait_until(lambda: told(running)["last_error"], "the failure is on record")
        update_rows(sqlite_url, "dispatches", due_at=Plus(3_600_000_000))
        assert order(running, "targets/flush", {"target": "shop"}).json() == {"target": "shop", "changes": 1}
        wait_until(lambda: len(shop.calls) == 2, "it was tried again")
        wait_until(lambda: not running.table("dispatches", "claim")[0]["claim"], "and failed again")
        update_rows(sqlite_url, "dispatches", due_at=Plus(3_600_000_000))
        assert "Due now: 1 change for shop" in run(running, "targets", "flush", "shop")
        wait_until(lambda: waiting(running) == 0, "it was taken")
        console = ConsoleClient(running)
        console.sign_in(OPS)
        assert console.submit("/ops/targets", target="shop", command="stop").status == 422
        assert console.submit("/ops/targets", target="nobody", command="pause").status == 404
        assert console.submit("/ops/targets", target="shop", command="drop").status == 409
    assert [entry for entry in audited(running) if entry[1] == "shop"] == [("targets flush", "shop")] * 2


def test_failed_changes_are_listed_and_wait_again_when_an_operator_retries_them(start: Start, database_url: str) -> None:
    def choose(call: Call) -> Answer:
        return say(500) if call.change["sequence"] == 1 and not released else TAKE

    released: list[bool] = []
    with answering(choose=choose) as shop:
        running = start(database_url, shop=shop.url)
        with relay_of(running):
            running.post(moved("t", 1))
            running.post(moved("t", 2))
            wait_until(lambda: told(running)["last_error"], "the failure is on record")
            state = told(running)
            assert (state["kind"], state["waiting"], state["last_error"]) == (
                "http",
                2,
                "shop answered 500. The answer begins: fine",
            )
            assert state["failing_since"] == state["oldest_due_at"]
            assert "failing since" in run(running, "targets", "list")
            give_up(running)
            (dead,) = json.loads(run(running, "targets", "dead", "--json"))["items"]
            assert (dead["target"], dead["tracker_id"], dead["sequence"], dead["attempts"]) == ("shop", "t", 1, 13)
            assert "shop answered 500." in run(running, "targets", "dead", "--target", "shop")
            assert "No failed changes found." in run(running, "targets", "dead", "--target", "other")
            wait_until(lambda: 2 in shop.moves("t"), "the next one goes on")
            assert told(running)["dead"] == 1
            released.append(True)
            assert run(running, "targets", "retry", "shop") == "Queued for retry: 1 change for shop.\n"
            wait_until(lambda: waiting(running) == 0, "it was told again")
            assert shop.moves("t")[-1] == 1
    assert "shop has no failed changes; 0 are waiting." in run(running, "targets", "retry", "shop", code=1)
    assert audited(running) == [("targets retry", "shop")]


def test_the_api_tells_the_same_and_takes_the_same_orders(start: Start, sqlite_url: str) -> None:
    with answering(say(410), TAKE) as shop:
        running = start(sqlite_url, shop=shop.url)
        running.post(moved("t", 1))
        wait_until(lambda: told(running)["stopped_at"] and told(running)["last_error"], "it is stopped, and the answer on record")
        assert ask(running, "targets")["items"] == list(listed(running).values())
        assert order(running, "targets/resume", {"target": "shop"}).json() == {"target": "shop", "resumed": True}
        assert order(running, "targets/resume", {"target": "shop"}).json() == {"target": "shop", "resumed": False}
        wait_until(lambda: waiting(running) == 0, "it was taken")
        assert order(running, "targets/retry", {"target": "shop"}).json() == {"target": "shop", "changes": 0}
        assert order(running, "targets/resume", {"name": "shop"}).status == 422
    assert audited(running)[0] == ("targets resume", "shop")


def test_dead_changes_are_listed_page_by_page(start: Start, sqlite_url: str) -> None:
    with answering(say(500)) as shop:
        running = start(sqlite_url, shop=shop.url)
        for number in range(7):
            running.post(moved(f"t{number}", 1))
        give_up(running)
        wait_until(lambda: waiting(running) == 0, "all were given up")
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = ask(running, f"targets/dead?limit=3{cursor and '&cursor='}{cursor}")
            found += [item["tracker_id"] for item in page["items"]]
            cursor = page["next"]
        assert found == [f"t{number}" for number in range(7)]
        assert ask(running, "targets/dead?target=%00") == {"items": [], "next": None}
        assert retry_on_page(running, tracker="TN-t3", since="yesterday") == (200, "Queued for retry: 1 change.")
        assert told(running)["dead"] == 6
        assert retry_on_page(running, source="shiipp") == (200, "No failed change matches. Nothing was changed.")
        assert retry_on_page(running, tracker="nothing")[0] == 404
        assert retry_on_page(running, since="soon")[0] == 422
        assert told(running)["dead"] == 6


def retry_on_page(service: Service, **fields: str) -> tuple[int, str]:
    """Retry failed changes on the page Targets; return the status and the result."""
    console = ConsoleClient(service)
    console.sign_in(OPS)
    chosen = {"since": "", "source": "", "tracker": "", **fields}
    sent = console.submit("/ops/targets", target="shop", command="retry", **chosen)
    page = console.get(sent.headers["location"]) if sent.status == 303 else sent
    return page.status, "".join(re.findall(r"</h2>\n<p>(.*?)</p>", page.body.decode()))


def test_what_waits_for_a_target_that_is_no_longer_in_the_settings_is_shown(start: Start, sqlite_url: str) -> None:
    with answering(say(500)) as shop:
        running = start(sqlite_url, shop=shop.url)
        running.post(moved("t", 1))
        wait_until(lambda: told(running)["last_error"], "the failure is on record")
    write_targets(running.directory)
    running.env.pop("RECEIVER_TARGET_SECRETS")
    state = listed(running)["shop"]
    assert (state["kind"], state["waiting"]) == (None, 1)
    assert "not in the settings" in " ".join(run(running, "targets", "list").split())


def test_secrets_and_what_follows_a_url_are_in_no_log_row_page_or_error(start: Start, sqlite_url: str) -> None:
    nonsense = write(b"HTTP/1.1 500 No\r\nX-Ok: 1\r\nthis is no header " + PLANTED.encode() + b"\r\n\r\n")
    with answering(nonsense) as shop, answering(say(410, body=PLANTED.encode())) as gone:
        urls = {"shop": f"{shop.url}?key={PLANTED}", "gone": f"{gone.url}/{PLANTED}", "nobody": f"http://127.0.0.1:1/{PLANTED}"}
        secrets = ",".join([f"shop:{SECRET}", f"gone:{SECRET}", f"nobody:{OTHER_SECRET}"])
        running = start(sqlite_url, {**SETTINGS, "target_secrets": secrets}, **urls)
        running.post(moved("t", 1))
        wait_until(lambda: len(errors(running)) == 3, "all failures are on record")
        shown = [run(running, "targets", "list"), run(running, "targets", "list", "--json"), run(running, "doctor")]
        shown += [running.get("/ops/api/targets", OPS).body.decode(), running.get("/metrics", OPS).body.decode()]
    assert running.stop() == 0
    files = {str(file): file.read_bytes() for file in Path(sqlite_url.removeprefix("sqlite:///")).parent.glob("receiver.db*")}
    places = {**files, "log": running.log.read_bytes(), "shown": "\n".join(shown).encode()}
    assert b"change_deferred" in places["log"]
    for secret in (PLANTED, SECRET, OTHER_SECRET, SECRET.removeprefix("whsec_"), OTHER_SECRET.removeprefix("whsec_"), OPS):
        assert [name for name, data in places.items() if secret.encode() in data] == []


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ("", "RECEIVER_TARGET_SECRETS: target shop has no secret"),
        ("shop:planted-secret", "RECEIVER_TARGET_SECRETS: target shop: expected whsec_"),
        (f"shop:{SECRET},other:{SECRET}", "RECEIVER_TARGET_SECRETS: entry 2 is not for one of the targets: shop"),
    ],
)
def test_a_target_without_a_good_secret_is_named_before_anything_is_served(
    start: Start, sqlite_url: str, secrets: str, words: str
) -> None:
    running = start(sqlite_url, {})
    running.stop()
    write_targets(running.directory, shop="https://shop.example/")
    done = run_command("serve", cwd=running.directory, env={**running.env, "RECEIVER_TARGET_SECRETS": secrets})
    assert (done.returncode, "planted" in done.stderr, "Traceback" in done.stderr) == (2, False, False)
    assert words in done.stderr


GOOD = {"name": "shop", "url": "https://shop.example/a?b=c"}


def test_a_table_is_read_as_a_target() -> None:
    whole = {
        **GOOD,
        "sources": ["ship24"],
        "milestones": ["delivered"],
        "milestone_changed": True,
        "timeout_seconds": 3,
        "allow_private": True,
        "subject": "a.b",
    }
    subscription = Subscription("shop", frozenset({"ship24"}), frozenset({"delivered"}), milestone_changed=True)
    assert read_targets([whole], ["ship24"]) == (TargetSettings(subscription, GOOD["url"], 3.0, True, "a.b"),)
    (plain,) = read_targets([GOOD], ["ship24"])
    assert plain == TargetSettings(Subscription("shop"), GOOD["url"])
    assert [read_targets([{**GOOD, "url": f"{scheme}://h"}], [])[0].kind for scheme in ("http", "https", "nats")] == [
        "http",
        "http",
        "nats",
    ]


@each_row(
    ("wrong", "words"),
    [
        ({"name": ""}, "a target needs a name"),
        ({"name": "a b"}, "a target needs a name"),
        ({"name": "é"}, "a target needs a name"),
        ({"name": "x" * 41}, "a target needs a name"),
        ({"urll": "x"}, "shop: urll is not a key of a target; the nearest one is url"),
        ({"url": None}, "shop: url: expected"),
        ({"url": "ftp://host/"}, "shop: url: expected"),
        ({"url": "https:///path"}, "shop: url: expected"),
        ({"url": "https://host:port/"}, "shop: url: expected"),
        ({"url": "https://host:99999/"}, "shop: url: expected"),
        ({"url": "https://[::1/"}, "shop: url: expected"),
        ({"url": "https://host/a b"}, "shop: url: expected"),
        ({"url": "https://host/\r\nX: y"}, "shop: url: expected"),
        ({"url": "https://host\\@other/"}, "shop: url: expected"),
        ({"url": "https://hóst/"}, "shop: url: expected"),
        ({"url": "https://user:planted@host/"}, "shop: url: remove the user and password"),
        ({"url": "https://:@host/"}, "shop: url: remove the user and password"),
        ({"sources": ["ship42"]}, "shop: sources: ship42 is not one of ship24"),
        ({"milestones": []}, "shop: milestones: expected a list"),
        ({"milestones": "delivered"}, "shop: milestones: expected a list"),
        ({"milestone_changed": "yes"}, "shop: milestone_changed: expected true or false"),
        ({"timeout_seconds": 0}, "shop: timeout_seconds: expected"),
        ({"timeout_seconds": 61}, "shop: timeout_seconds: expected"),
        ({"timeout_seconds": True}, "shop: timeout_seconds: expected"),
        ({"subject": "a.*"}, "shop: subject: expected"),
        ({"subject": "a b"}, "shop: subject: expected"),
    ],
)
def test_a_wrong_table_is_refused_in_words(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read_targets([{**GOOD, **wrong}], ["ship24"])
    assert "planted" not in str(refused.value)


@each_row("value", ["shop", [1], {"name": "shop"}])
def test_anything_else_is_no_list_of_targets(value: object) -> None:
    with pytest.raises(ValueError, match="expected tables in the file"):
        read_targets(value, [])


def test_two_targets_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="its own name"):
        read_targets([GOOD, GOOD], [])


@contextmanager
def relay_of(running: Service) -> Iterator[None]:
    """Relay in a process of its own where the service does not."""
    if running.database_url.startswith("sqlite"):
        yield
        return
    with (running.directory / "relay.log").open("ab") as log:
        command = [sys.executable, "-m", "receiver", "relay"]
        process = subprocess.Popen(command, cwd=running.directory, env=running.env, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def audited(running: Service) -> list[tuple[str, str]]:
    return [(row["action"], row["subject"]) for row in running.table("audit", "action", "subject", order="id")]


def ask(running: Service, path: str) -> Any:
    return running.get(f"/ops/api/{path}", OPS).json()


def told(running: Service) -> dict[str, Any]:
    """Return what the API says of the target `shop`."""
    (item,) = ask(running, "targets")["items"]
    assert item["name"] == "shop"
    return dict(item)


def order(running: Service, path: str, ordered: dict[str, Any]) -> Reply:
    return running.call("POST", f"/ops/api/{path}", json.dumps(ordered).encode(), bearer(OPS))
