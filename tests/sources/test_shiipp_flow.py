"""Shiipp's two webhooks through the whole service. Headings of Shiipp's troubleshooting page stand above their cases; those of
its customer sync are in test_customer_list, those of tokens in test_rotation.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver import clock
from receiver.domain.records import Delivery
from receiver.sources import Source, intake, make_sources
from receiver.storage.database import Database
from receiver.storage.transactions import Transactions
from receiver.writer.executor import CommandExecutor
from receiver.writer.inbox import Inbox
from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.load import together
from tests.harness.rows import Like, table_rows
from tests.harness.service import Reply, Service
from tests.harness.storage import make_tables

PACKAGE, MANIFEST = "/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status"
SHIIPP = "the-shiipp-token-of-these-tests"
PAYLOADS = Path(__file__).parents[1] / "payloads" / "shiipp"
_numbers = count(1)


@pytest.fixture
def running(shared_service: Callable[..., Service]) -> Service:
    return shared_service(shiipp_tokens=SHIIPP)


def send(to: Service, path: str, item: Any, token: str = SHIIPP) -> Reply:
    return to.post(item if isinstance(item, bytes) else orjson.dumps(item), path=path, token=token)


def status_of(manifest: str, **more: Any) -> dict[str, Any]:
    return {"manifest_number": "MAN-1", "status": manifest, **more}


def show(of: Service, tracker: str) -> Any:
    done = run_command("trackers", "show", tracker, "--json", cwd=of.directory, env=of.env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Webhook payload format is wrong


def test_every_body_is_answered_200_and_kept_whole(running: Service) -> None:
    for file in sorted(PAYLOADS.glob("*.json")):
        path = MANIFEST if file.stem.startswith(("manifest", "unknown")) else PACKAGE
        answer = send(running, path, file.read_bytes())
        assert answer.status == 200, file
        kept = running.table("bodies", "body", "answer", delivery_id=answer.json()["delivery_id"])
        assert [(bytes(row["body"]), bytes(row["answer"])) for row in kept] == [(file.read_bytes(), answer.body)]
    reasons = {row["reason"] for row in running.table("quarantine", "reason")}
    assert reasons == {"unmapped", "not_an_object"}


def test_an_unmapped_item_is_told_what_came_and_what_was_looked_for(running: Service) -> None:
    answer = send(running, PACKAGE, [{"ref": "hidden"}, {"package_id": "p"}])
    bad, good = answer.json()["messages"]
    assert (answer.status, answer.outcomes(), bad["reason"]) == (200, ["quarantined", "applied"], "unmapped")
    for word in ("ref", "package_id", "tracking_number"):
        assert word in bad["detail"]
    assert "hidden" not in bad["detail"]
    assert "detail" not in good
    kept = running.table("quarantine", "reason", "detail", "raw")
    assert [(row["reason"], row["detail"], bytes(row["raw"])) for row in kept] == [
        ("unmapped", bad["detail"], b'{"ref":"hidden"}')
    ]


def test_hostile_items_are_kept_apart_for_their_own_reason_or_not_at_all(service: StartService, database_url: str) -> None:
    running = service(database_url, shiipp_tokens=SHIIPP)  # PostgreSQL refuses NUL, and large values in an index
    characters = Random(1)
    one, two, three = ("".join(chr(characters.randrange(0x20000, 0x2A000)) for _ in range(200)) for _ in range(3))
    items = [
        (PACKAGE, {"\0": "\0"}, "unmapped"),
        (PACKAGE, {"package_id": "a\0b", "weight": "\0"}, None),
        (PACKAGE, {"tracking_number": one, "entry_time": two}, None),
        (MANIFEST, {"manifest_id": one, "status": two, "timestamp": three, "packages": ["\0", three, "a", "a"]}, None),
    ]
    reasons = [send(running, path, item).json()["messages"][0].get("reason") for path, item, _ in items]
    assert reasons == [reason for _, _, reason in items]


def test_a_sample_is_shown_as_it_would_be_mapped(running: Service, tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text('[shiipp_new_package]\nweight = ["mass"]\n', encoding="utf-8")
    env = running.env | {"RECEIVER_CONFIG": str(config)}

    def sample(body: object, *more: str) -> tuple[int, str]:
        file = tmp_path / "sample.json"
        file.write_text(json.dumps(body), encoding="utf-8")
        done = run_command("doctor", "--sample", str(file), *more, cwd=tmp_path, env=env)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    body = [{"TrackingNo": "x1", "mass": 3, "weight": 4}]
    code, text = sample(body, "--kind", "new-package", "--json")
    (item,) = json.loads(text)["items"]
    assert (code, item["tracker"], item["fields"]) == (0, "package:X1", {"tracking_number": "x1", "weight": 3})
    assert "package:X1" in sample(body, "--kind", "new-package")[1]
    code, text = sample([{"package_id": "p"}, {"colour": "red"}], "--kind", "new-package")
    assert code == 1
    assert "Received: colour" in " ".join(text.split())
    assert [sample(7, "--kind", "new-package")[0], sample(body)[0]] == [1, 2]


# My webhook endpoint isn't receiving calls


@pytest.mark.parametrize("slash", ["", "/"])
def test_both_spellings_of_both_paths_take_calls_without_a_redirect(running: Service, slash: str) -> None:
    assert send(running, PACKAGE + slash, {"package_id": "p"}).outcomes() == ["applied"]
    assert send(running, MANIFEST + slash, status_of("ready")).outcomes() == ["applied"]
    for path in (PACKAGE, MANIFEST):
        head = running.call("HEAD", path + slash)
        assert (head.status, head.body) == (200, b"")
        wrong = running.get(path + slash)
        assert (wrong.status, wrong.headers["allow"]) == (405, "POST, HEAD")


# How do I inspect raw webhook logs?


def test_every_attempt_is_on_record_with_payload_answer_status_and_time(running: Service) -> None:
    body = b'{"package_id": "p",\t"weight": "3 lbs"}'
    answers = [send(running, PACKAGE, body), send(running, PACKAGE, b"nothing"), send(running, MANIFEST, body, token="wrong")]
    done = run_command("deliveries", "list", "--source", "shiipp", "--json", cwd=running.directory, env=running.env)
    listed = json.loads(done.stdout)["items"]
    assert [row["status"] for row in listed] == [401, 400, 200]
    assert [row["id"] for row in reversed(listed)] == [answer.json()["delivery_id"] for answer in answers]
    shown = run_command("deliveries", "show", listed[2]["id"], "--body", cwd=running.directory, env=running.env)
    assert shown.stdout.encode() == body


# Once


def test_shipped_ready_shipped_is_three_changes_and_an_equal_body_is_a_duplicate(running: Service) -> None:
    for status in ("shipped", "ready", "shipped"):
        assert send(running, MANIFEST, status_of(status)).outcomes() == ["applied"]
        for _ in range(2):
            assert send(running, MANIFEST, [status_of(status)]).outcomes() == ["duplicate"]
    assert send(running, MANIFEST, status_of("shipped", notes="two pallets")).outcomes() == ["applied"]
    mixed = [status_of("ready"), status_of("ready"), status_of("shipped")]
    assert send(running, MANIFEST, mixed).outcomes() == ["applied", "duplicate", "applied"]
    events = show(running, "MAN-1")["events"]
    assert [event["status"] for event in events] == ["shipped", "ready", "shipped", "shipped", "ready", "shipped"]
    assert {event["basis"] for event in events} == {"arrival"}


def test_with_a_time_a_change_comes_once_and_an_older_one_moves_nothing(running: Service) -> None:
    late, early = status_of("shipped", updated_at="2025-03-02T10:00:00Z"), status_of("ready", updated_at="2025-03-01T10:00:00Z")
    assert [send(running, MANIFEST, item).outcomes() for item in (late, early, late, early)] == [
        *(["applied"], ["stale"], ["duplicate"], ["duplicate"])
    ]
    shown = show(running, "man-1")
    assert (shown["tracker"]["status"], [event["basis"] for event in shown["events"]]) == ("shipped", ["courier", "courier"])


def test_a_time_that_cannot_be_read_counts_as_arrival_and_the_row_says_so(running: Service) -> None:
    for time in ("soon", "01/03/2025"):
        assert send(running, PACKAGE, {"tracking_number": "T", "entry_time": time}).outcomes() == ["applied"]
    events = show(running, "T")["events"]
    assert [event["basis"] for event in events] == ["arrival", "arrival"]
    assert all(datetime.fromisoformat(event["occurrence"]).tzinfo is not None for event in events)


@pytest.mark.parametrize(("path", "item"), [(PACKAGE, {"tracking_number": "T"}), (MANIFEST, status_of("ready"))])
def test_of_twenty_copies_at_once_without_identity_and_time_one_is_applied(running: Service, path: str, item: Any) -> None:
    replies = together([lambda: send(running, path, item)] * 20)
    assert {reply.status for reply in replies} == {200}
    assert sorted(outcome for reply in replies for outcome in reply.outcomes()) == ["applied", *["duplicate"] * 19]
    assert running.count("events") == 1


# Packages and manifests


def test_a_package_shows_the_status_of_its_manifest_and_the_manifest_its_packages(running: Service) -> None:
    send(running, PACKAGE, (PAYLOADS / "package_and_manifest.json").read_bytes())
    manifest = show(running, "TN-LINKED")["tracker"]["manifest"]
    assert manifest.pop("tracker_id") == "manifest:man-1"
    assert set(manifest.values()) == {None}
    send(running, PACKAGE, (PAYLOADS / "tracking_number_only.json").read_bytes())
    send(running, MANIFEST, (PAYLOADS / "manifest_with_packages.json").read_bytes())
    for package in ("TN-LINKED", "tn-only"):
        assert show(running, package)["tracker"]["manifest"]["status"] == "shipped"
    manifest = show(running, "MAN-20240115-A3B2")["tracker"]
    assert (manifest["packages"], manifest["manifest"]) == (["package:TN-ONLY", "pkg-linked", "pkg-plain"], None)
    send(running, MANIFEST, {"manifest_id": "man-1", "status": "completed"})
    linked = show(running, "TN-LINKED")["tracker"]
    assert (linked["manifest"]["status"], linked["manifest"]["status_milestone"]) == ("completed", "completed")
    assert linked["status_milestone"] != "completed"
    done = run_command("trackers", "list", "--json", cwd=running.directory, env=running.env)
    items = {item["tracker_id"]: item["manifest"] for item in json.loads(done.stdout)["items"]}
    assert (items[linked["tracker_id"]], items["manifest:man-1"]) == (linked["manifest"], None)


def test_a_package_that_moves_to_another_manifest_and_back_shows_where_it_is(running: Service) -> None:
    send(running, PACKAGE, {"package_id": "p"})
    for manifest, status in (("one", "ready"), ("two", "draft"), ("one", "shipped")):
        send(running, MANIFEST, {"manifest_id": manifest, "status": status, "packages": ["p"]})
        assert show(running, "p")["tracker"]["manifest"]["tracker_id"] == f"manifest:{manifest}"


def test_packages_are_listed_by_manifest_and_by_present_customer_in_pages(running: Service) -> None:
    names = [f"p{number}" for number in range(3)]
    send(running, PACKAGE, [{"package_id": name, "user_code": "Former"} for name in names])
    send(running, PACKAGE, [{"message_id": f"again {name}", "package_id": name, "user_code": "NEW"} for name in names[1:]])
    send(running, MANIFEST, {"manifest_id": "m", "status": "ready", "packages": [*names, "unseen"]})
    send(running, MANIFEST, {"manifest_id": "other", "status": "ready", "packages": ["p2"]})

    def listed(*filters: str) -> list[str]:
        found: list[str] = []
        cursor: str | None = None
        while True:
            more: list[str] = ["--cursor", cursor] if cursor else []
            command = ("trackers", "list", "--json", "--limit", "1", *filters, *more)
            done = run_command(*command, cwd=running.directory, env=running.env)
            assert done.returncode == 0, done.stderr
            page = json.loads(done.stdout)
            found += [item["tracker_id"] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return found

    assert listed("--manifest", "manifest:m") == ["p0", "p1"]  # p2 moved to the other one
    assert listed("--customer", "new") == ["p1", "p2"]
    assert listed("--customer", "FORMER") == ["p0"]
    assert listed("--customer", "new", "--manifest", "manifest:m") == ["p1"]
    assert listed("--manifest", "manifest:m", "--q", "p1") == ["p1"]
    assert listed("--manifest", "manifest:m", "--source", "ship24") == []
    states = show(running, "manifest:m")["tracker"]["package_states"]
    assert {state["status_milestone"]: state["packages"] for state in states} == {None: 1, "received_at_warehouse": 2}


def test_weight_and_shipper_are_facts_with_units_and_not_only_in_the_json(running: Service) -> None:
    send(running, PACKAGE, {"package_id": "p", "weight": "3.50 lbs", "shipper": "Acme", "description": "{{description}}"})
    done = run_command("trackers", "show", "p", cwd=running.directory, env=running.env)
    facts = {" ".join(line.split()) for line in done.stdout.partition("Timeline")[0].splitlines()}
    assert {"weight 3.5 lb", "shipper Acme"} <= facts
    assert "description" not in done.stdout


# What people type and scan; details


def details_of(of: Service, tracker: str) -> Any:
    return show(of, tracker)["tracker"]["shipment"]


@pytest.mark.parametrize("around", ["\n", " ", "\r\n", "\u00a0", "\u200b", "\ufeff", "\u202a", "\u3000\t"])
@pytest.mark.parametrize("time", [{"entry_date_time": "2025-11-25T10:00:00"}, {}], ids=["with a time", "by state"])
def test_a_number_that_was_scanned_with_white_space_is_the_one_that_was_typed(
    running: Service, around: str, time: dict[str, str]
) -> None:
    scanned = {"tracking_number": f"{around}1Z999{around}", "user_code": "A1", **time}
    assert send(running, PACKAGE, scanned).outcomes() == ["applied"]
    assert send(running, PACKAGE, {"tracking_number": "1Z999", "user_code": "A1", **time}).outcomes() == ["duplicate"]
    assert running.count("trackers") == 1


def test_a_manifest_whose_year_was_mistyped_leaves_nothing(running: Service) -> None:
    wrong = status_of("ready", status_date_time="2062-11-26T10:00:00", notes="year mistyped")
    assert send(running, MANIFEST, wrong).outcomes() == ["quarantined"]
    assert running.count("trackers") == 0
    right = status_of("shipped", status_date_time="2025-11-26T10:00:00", notes="corrected")
    assert send(running, MANIFEST, right).outcomes() == ["applied"]
    assert send(running, MANIFEST, wrong | {"notes": "again"}).outcomes() == ["quarantined"]
    assert details_of(running, "MAN-1")["notes"] == "corrected"


def test_a_package_that_comes_again_shows_its_new_owner_and_moves_nothing(running: Service) -> None:
    for owner, outcome in (("", "applied"), ("A1", "duplicate"), ("A1", "duplicate"), ("B2", "duplicate"), ("A1", "duplicate")):
        assert send(running, PACKAGE, {"package_id": "p", "user_code": owner}).outcomes() == [outcome]
        assert details_of(running, "p").get("user_code", "") == owner
    shown = show(running, "p")
    assert (shown["tracker"]["client_tracker_id"], shown["tracker"]["changes"], len(shown["events"])) == ("A1", 1, 1)


# Any order. Times are distinct; without them the order of arrival is all there is. It always is for details: there is no clock.

_STATE = (
    "tracker_id, subject, tracking_number, client_tracker_id, shipment_reference, "
    "status, status_milestone, latest_occurrence, latest_event_id, latest_digest"
)


class ShiippStore:
    """An inbox on a database of its own, without a service."""

    def __init__(self, url: str) -> None:
        make_tables(url)
        self.url = url
        self._database = Database(url)
        self._database.take()
        self._transactions = Transactions(self._database)
        self._inbox = Inbox(CommandExecutor(self._database, self._transactions), timedelta(hours=48))

    def keep(self, source: Source, items: list[Any]) -> None:
        now = datetime.now(UTC)
        head = (clock.new_id(now), source.name, source.kind, "POST", source.path, clock.to_micros(now))
        delivery = Delivery(*head, None, None, "token-1", None, (), orjson.dumps(items))
        (answer,) = self._inbox.keep([intake.parse_delivery(source, delivery)], now)
        assert answer is not None
        assert answer.status == 200

    def state(self, prefix: str) -> list[tuple[Any, ...]]:
        rows = table_rows(self.url, "trackers", _STATE, order="tracker_id", tracker_id=Like(f"%{prefix}-%"))
        return [tuple(row.values()) for row in rows]

    def close(self) -> None:
        self._transactions.close()
        self._database.close()


@pytest.fixture
def stores(sqlite_url: str, tmp_path: Path) -> Iterator[tuple[ShiippStore, ShiippStore]]:
    tested, reference = ShiippStore(sqlite_url), ShiippStore(f"sqlite:///{tmp_path}/reference.db")
    yield tested, reference
    tested.close()
    reference.close()


@st.composite
def stories(draw: st.DrawFn, kind: str, prefix: str) -> list[dict[str, Any]]:
    """Items about a few packages or manifests, each at a time of its own, all times in one form (a bare date names no status)."""
    clocks = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.0000000Z", "%Y-%m-%dT%H:%M:%S-05:00"]
    form = draw(st.sampled_from([*clocks, "%Y-%m-%d"] if kind == "new-package" else clocks))
    days = draw(st.lists(st.integers(0, 27), min_size=1, max_size=8, unique=True))
    items = []
    for day in days:
        time = datetime(2025, 3, day + 1, 10, tzinfo=UTC).strftime(form)
        subject = f"{prefix}-{draw(st.integers(0, 2))}"
        more = {"weight": draw(st.sampled_from([None, 1, "2 lbs"])), "notes": draw(st.sampled_from(["", "fragile"]))}
        if kind == "new-package":
            named = draw(
                st.sampled_from([{"tracking_number": subject}, {"package_id": subject, "message_id": f"{prefix}/{day}"}])
            )
            items.append({**named, "entry_date_time": time, **more})
        else:
            status = draw(st.sampled_from(["draft", "ready", "shipped", "completed", "held"]))
            items.append({"manifest_id": subject, "status": status, "changed_at": time, **more})
    return items


@pytest.mark.parametrize("kind", ["new-package", "manifest-status"])
@settings(max_examples=25)
@given(data=st.data())
def test_any_order_duplication_and_regrouping_ends_in_the_same_state(
    stores: tuple[ShiippStore, ShiippStore], kind: str, data: st.DataObject
) -> None:
    tested, reference = stores
    (source,) = (source for source in make_sources({}, {}) if source.kind == kind)
    prefix = f"P{next(_numbers)}"  # tracking numbers are put into upper case
    items = data.draw(stories(kind, prefix))
    for item in items:
        reference.keep(source, [item])
    left = data.draw(st.permutations([*items, *data.draw(st.lists(st.sampled_from(items), max_size=6))]))
    while left:
        size = data.draw(st.integers(1, 5))
        tested.keep(source, left[:size])
        left = left[size:]
    assert tested.state(prefix) == reference.state(prefix) != []
