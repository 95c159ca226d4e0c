"""Metrics: counts of this process, figures from the database, and no label from outside."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from receiver.clock import now, to_micros
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.service import TOKEN, Service, bearer, wait_until
from tests.harness.storage import add_row, change, delete_rows, make_tables

OPS = "the-ops-token-of-these-tests"
GROUPED = Path("tests/payloads/ship24/grouped.json").read_bytes()

Sample = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(running: Service, token: str | None = None) -> Sample:
    """Return all samples by name and labels."""
    answer = running.get("/metrics", token)
    assert answer.status == 200, answer.body
    families = text_string_to_metric_families(answer.body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def labelled(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def test_deliveries_verdicts_and_rejections_are_counted(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    running.post(GROUPED)
    running.post(GROUPED)
    running.post(b"no json")
    running.post(GROUPED, token="wrong")
    found = scrape(running)
    assert found[labelled("receiver_calls_total", source="ship24", status="200")] == 2
    assert found[labelled("receiver_calls_total", source="ship24", status="400")] == 1
    assert found[labelled("receiver_calls_total", source="ship24", status="401")] == 1
    assert found[labelled("receiver_refused_total", source="ship24", code="unauthorized")] == 1
    verdicts = {
        o: found[labelled("receiver_messages_total", source="ship24", outcome=o)] for o in ("applied", "stale", "duplicate")
    }
    assert verdicts == {"applied": 2, "stale": 1, "duplicate": 3}
    assert found[labelled("receiver_commit_seconds_count")] == found[labelled("receiver_batch_deliveries_count")] == 4
    assert found[labelled("receiver_batch_deliveries_sum")] == 4


def test_what_the_database_knows_is_there_too(service: StartService, database_url: str) -> None:
    running = service(database_url, ship24_tokens=f"main:{TOKEN}")
    running.post(ship24.single())
    silence = labelled("receiver_alarm", alarm="silence", subject="shiipp")

    def is_told() -> bool:  # the watch, which looks once in 30 seconds, ends the alarm if it comes in between
        delete_rows(database_url, "alarms")
        add_row(database_url, "alarms", name="silence", subject="shiipp", began_at=1, message="quiet")
        return scrape(running).get(silence) == 1

    wait_until(is_told, "the alarm is told")
    found = scrape(running)
    assert found[labelled("receiver_database_up")] == 1
    assert found[labelled("receiver_database_bytes")] > 10_000
    assert found[labelled("receiver_last_call_timestamp_seconds", source="ship24")] > 1_700_000_000
    assert found[labelled("receiver_token_last_use_timestamp_seconds", source="ship24", token="main")] > 1_700_000_000
    assert found[labelled("receiver_lag_seconds", source="ship24", quantile="0.50")] > 0
    assert found[labelled("receiver_queue_deliveries")] == 0


def test_nothing_from_outside_becomes_a_label(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url)
    odd = "outside-word"
    running.post(
        ship24.body(ship24.item(odd, odd, [ship24.event(odd, status=odd, statusMilestone=odd)])), headers=[("x-odd", odd)]
    )
    running.post(b"{}", path=f"/webhooks/ship24?{odd}={odd}")
    running.call("POST", f"/{odd}", b"{}", bearer(odd))
    running.call("BREW", "/webhooks/ship24")
    assert odd.encode() not in running.get("/metrics").body


def test_bound_to_loopback_it_is_open_but_not_through_a_proxy(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    assert running.get("/metrics").status == 200
    for header in (("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.1")):
        assert running.call("GET", "/metrics", headers=[header]).status == 401
        assert running.call("GET", "/metrics", headers=[header, *bearer(OPS)]).status == 200


def test_bound_to_all_addresses_it_asks_for_an_ops_token(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, host="0.0.0.0", ops_tokens=OPS)
    assert [running.get("/metrics", token).status for token in (None, TOKEN, OPS)] == [401, 401, 200]
    closed = service(sqlite_url.replace("receiver.db", "another.db"), host="0.0.0.0")
    assert closed.get("/metrics").status == 404


def test_without_the_database_it_tells_what_the_process_knows(service: StartService, sqlite_url: str, tmp_path: Path) -> None:
    running = service(sqlite_url)
    running.post(ship24.single())
    change(sqlite_url, "ALTER TABLE token_uses RENAME TO moved")
    wait_until(lambda: scrape(running)[labelled("receiver_database_up")] == 0, "the database is reported")
    assert scrape(running)[labelled("receiver_calls_total", source="ship24", status="200")] == 1


def test_what_waits_for_each_target_is_a_metric_also_where_the_settings_do_not_name_it(
    service: StartService, database_url: str
) -> None:
    make_tables(database_url)
    hour_ago = to_micros(now()) - 3_600_000_000
    change = {"target": "old", "source": "ship24", "tracker_id": "t", "event_id": "e"}
    failed = {"move": 1, "due_at": 4 * 10**18, "attempts": 5, "error": "old answered 500."}
    for state in (failed, {"move": 2, "due_at": 1 << 62, "attempts": 0}):
        add_row(database_url, "dispatches", made_at=hour_ago, **change, **state)
    add_row(database_url, "dead_changes", move=3, died_at=hour_ago, attempts=13, error="no", **change)
    found = scrape(service(database_url))
    counts = {name: found[labelled(f"receiver_target_{name}", target="old")] for name in ("waiting", "failures", "dead")}
    assert counts == {"waiting": 2, "failures": 1, "dead": 1}
    assert 3600 <= found[labelled("receiver_target_oldest_age_seconds", target="old")] < 7200
