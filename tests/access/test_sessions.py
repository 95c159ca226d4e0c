"""Sessions are rows: a sign-out holds on every receiver and after a restart."""

from functools import partial
from hashlib import sha256

import pytest

from receiver.access.sessions import SESSION_SECONDS
from receiver.clock import now, to_micros
from receiver.domain.rows import SessionRow
from receiver.storage import sessions
from receiver.storage.sessions import begin_session, is_session, trim_sessions
from tests.conftest import StartService
from tests.harness.console_client import SESSION, ConsoleClient, find_form_token
from tests.harness.postgresql import Cluster
from tests.harness.storage import make_tables, update_rows
from tests.harness.store import opened

OPS = "the-ops-token-of-these-tests"
SECOND = 1_000_000


def test_signing_out_holds_on_every_receiver(service: StartService, postgresql_url: str) -> None:
    one, other = (ConsoleClient(service(postgresql_url, ops_tokens=OPS)) for _ in range(2))
    one.sign_in(OPS)
    other.cookies = dict(one.cookies)
    assert [operator.get("/ops").status for operator in (one, other)] == [200, 200]
    other.post("/ops/sign-out", {"form_token": find_form_token(other.get("/ops"))})
    assert [operator.get("/ops").status for operator in (one, other)] == [303, 303]


def test_signing_out_and_staying_signed_in_hold_after_a_restart(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    left, stayed = ConsoleClient(running), ConsoleClient(running)
    for operator in (left, stayed):
        operator.sign_in(OPS)
    kept = dict(left.cookies)
    left.post("/ops/sign-out", {"form_token": find_form_token(left.get("/ops"))})
    left.cookies = kept
    running.stop()
    running.restart()
    assert [operator.get("/ops").status for operator in (left, stayed)] == [303, 200]
    assert running.count("sessions") == 1


def test_of_a_session_only_a_digest_is_stored(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    (row,) = running.table("sessions")
    cookie = operator.cookies[SESSION]
    assert row["digest"] == sha256(cookie.rpartition(".")[0].encode()).hexdigest()
    assert (row["actor"], row["expires_at"] - row["began_at"]) == ("anna", SESSION_SECONDS * SECOND)
    assert not any(str(value) in cookie for value in row.values() if isinstance(value, str))


def test_a_session_whose_time_is_up_counts_no_more_and_is_removed(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    running.stop()
    update_rows(sqlite_url, "sessions", expires_at=to_micros(now()) - SECOND)
    running.restart()
    assert operator.get("/ops").status == 303
    running.stop()  # tidies up
    assert running.table("sessions") == []


def test_a_token_has_a_bounded_number_of_sessions_and_ends_its_own_oldest(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    make_tables(database_url)
    at = to_micros(now())

    def row(actor: str, number: int) -> SessionRow:
        return SessionRow(f"{actor}-{number}", actor, at + number, at + SECOND + number)

    with opened(database_url) as store:
        for session in (row("ben", 0), *(row("anna", number) for number in range(5))):
            store.transactions.run(partial(begin_session, row=session))
        on = {f"anna-{number}" for number in range(5) if is_session(store.database, f"anna-{number}", at)}
        assert on == {"anna-2", "anna-3", "anna-4"}
        assert is_session(store.database, "ben-0", at)
        store.transactions.run(lambda connection: trim_sessions(connection, at + SECOND + 3))
        assert [is_session(store.database, f"anna-{number}", at) for number in (3, 4)] == [False, True]
        assert not is_session(store.database, "anna-4", at + SECOND + 4)


def test_a_token_has_a_hundred_sessions_at_most(sqlite_url: str) -> None:
    make_tables(sqlite_url)
    at = to_micros(now())
    with opened(sqlite_url) as store:
        for number in range(102):
            row = SessionRow(f"anna-{number}", "anna", at + number, at + SECOND)
            store.transactions.run(partial(begin_session, row=row))
        ended = [number for number in range(102) if not is_session(store.database, f"anna-{number}", at)]
    assert ended == [0, 1]


def test_without_the_writing_process_sign_in_and_sign_out_fail_with_a_message(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    operator, other = ConsoleClient(running), ConsoleClient(running)
    operator.sign_in(OPS)
    form_token = find_form_token(operator.get("/ops"))
    running.stop()
    running.env["RECEIVER_COMMIT_TIMEOUT_SECONDS"] = "0.2"
    running.restart()
    with running.held_up():
        refused = other.sign_in(OPS)
        assert (refused.status, b"nobody can sign in. The commit was not done" in refused.body) == (503, True)
        assert SESSION not in other.cookies
        stays = operator.post("/ops/sign-out", {"form_token": form_token})
        assert (stays.status, b"You are still signed in." in stays.body) == (503, True)
        assert SESSION in operator.cookies


def test_while_the_database_is_away_a_page_says_so_and_the_session_continues_afterwards(
    service: StartService, own_cluster: Cluster
) -> None:
    running = service(own_cluster.create_database("away"), ops_tokens=OPS)
    operator = ConsoleClient(running)
    operator.sign_in(OPS)
    own_cluster.stop("immediate")
    for answer in (operator.get("/ops"), operator.post("/ops/sign-out", {}), operator.get("/ops/settings")):
        assert (answer.status, b"The database does not respond" in answer.body) == (503, True)
        assert b"You are still signed in" in answer.body
    refused = ConsoleClient(running).sign_in(OPS)
    assert (refused.status, b"nobody can sign in" in refused.body) == (503, True)
    own_cluster.start()
    assert operator.get("/ops/settings").status == 200


def test_a_forged_cookie_costs_no_question_to_the_database(service: StartService, own_cluster: Cluster) -> None:
    running = service(own_cluster.create_database("away"), ops_tokens=OPS)
    operator = ConsoleClient(running)
    own_cluster.stop("immediate")
    operator.cookies = {SESSION: f"{'x' * 43}.{'0' * 64}"}
    assert operator.get("/ops").status == 303
