"""Authentication of operators: wrong tokens are limited, counted and audited, and never lock out a right one."""

import asyncio
from typing import Any

import pytest

from receiver.clock import new_id, now, to_micros
from receiver.domain.rows import AuditRow
from receiver.errors import StorageUnavailable
from receiver.web.token_uses import TokenUses
from receiver.web.wrong_token_audit import WrongTokenAudit
from receiver.writer.commands import operators
from receiver.writer.commands.operators import WRONG_TOKEN, AddAuditEntry, NoteTokenUses, NoteWrongToken
from receiver.writer.executor import WriterCommand
from tests.conftest import StartService
from tests.harness.console_client import ConsoleClient
from tests.harness.rows import table_rows
from tests.harness.service import DEADLINE_SECONDS, Reply, Service, bearer, wait_until
from tests.harness.storage import make_tables
from tests.harness.store import opened

OPS = "the-ops-token-of-these-tests"
STATS = "/ops/api/stats"
PATHS = [
    ("GET", STATS),
    ("GET", "/ops/api/openapi.json"),
    ("POST", "/ops/api/setup-windows"),
    ("POST", "/ops/api/customers"),
    ("POST", "/ops/api/prune"),
    ("POST", "/ops/api/deliveries/x/replay"),
]


def ask(running: Service, token: str, client: str | None = None, path: str = STATS, method: str = "GET") -> Reply:
    """Ask with a token, through a proxy that names this client."""
    headers = bearer(token) + ([("X-Forwarded-For", client)] if client else [])
    return running.call(method, path, b"{}" if method == "POST" else None, headers)


def on_record(running: Service) -> list[dict[str, Any]]:
    rows = running.table("audit", action=WRONG_TOKEN, order="id")
    return [dict(row) for row in rows]


def counted(running: Service, area: str) -> dict[str, int]:
    """Return what `/metrics` has counted in one area, by code; a code that did not occur is left out."""
    lines = running.get("/metrics").body.decode().splitlines()
    found = [line for line in lines if line.startswith(f'receiver_ops_refused_total{{area="{area}"')]
    counts = {line.split('code="')[1].split('"')[0]: int(float(line.split()[-1])) for line in found}
    return {code: number for code, number in counts.items() if number}


def test_a_flood_of_guesses_is_limited_counted_and_on_record(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"anna:{OPS}")
    answers = [ask(running, f"guess-{number}") for number in range(200)]
    statuses = [answer.status for answer in answers]
    assert statuses[:10] == [401] * 10
    assert statuses.count(429) >= 180
    last = answers[-1]
    assert last.json()["error"]["code"] == "too_many_attempts"
    assert 1 <= int(last.headers["retry-after"]) <= 10
    assert sum(counted(running, "api").values()) == 200
    assert counted(running, "api")["too_many_attempts"] == statuses.count(429)
    wait_until(lambda: len(on_record(running)) == 10, "the first ones are on record")
    assert {(row["actor"], row["address"], row["subject"]) for row in on_record(running)} == {("nobody", "127.0.0.1", "api")}
    running.stop()
    *_, rest = on_record(running)
    assert rest["detail"].startswith("190 more since ")
    assert rest["detail"].endswith("from 1 address")
    assert "guess-" not in running.logs()


@pytest.mark.parametrize("trusted", ["", "127.0.0.1"], ids=["the address is that of a proxy", "the proxy is trusted"])
def test_a_right_token_is_never_refused_for_wrong_ones(service: StartService, sqlite_url: str, trusted: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, trusted_proxies=trusted)
    for _ in range(3):
        wait_until(lambda: ask(running, "wrong", "192.0.2.1").status == 429, "wrong tokens are refused")
        assert ask(running, OPS, "192.0.2.1").status == 200
        assert ask(running, OPS, "192.0.2.1", "/metrics").status == 200
    assert ConsoleClient(running, X_Forwarded_For="192.0.2.1").sign_in(OPS).status == 303


def test_the_limit_is_that_of_the_client_behind_trusted_proxies(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, trusted_proxies="127.0.0.1")
    for number in range(20):
        ask(running, "wrong", f"2001:db8::{number:x}")
    assert 429 in [ask(running, "wrong", "2001:db8::ffff").status for _ in range(3)]
    assert ask(running, "wrong", "2001:db8:0:1::1").status == 401
    forged = [ask(running, "wrong", "192.0.2.1, 2001:db8::1").status for _ in range(3)]
    assert 429 in forged, "what a client writes itself does not count"


def test_api_console_and_metrics_share_one_limit(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS, trusted_proxies="127.0.0.1")
    client = "192.0.2.1"
    assert [ask(running, "wrong", client, path, method).status for method, path in PATHS] == [401] * len(PATHS)
    assert ask(running, "wrong", client, "/metrics").status == 401
    operator = ConsoleClient(running, X_Forwarded_For=client)
    assert [operator.sign_in("wrong").status for _ in range(4)] == [403, 403, 403, 429]
    for method, path in [*PATHS, ("GET", "/metrics")]:
        answer = ask(running, "wrong", client, path, method)
        assert (answer.status, answer.json()["error"]["code"]) == (429, "too_many_attempts"), path
    assert counted(running, "console") == {"unauthorized": 3, "too_many_attempts": 1}
    assert counted(running, "metrics") == {"unauthorized": 1, "too_many_attempts": 1}
    wait_until(lambda: {row["subject"] for row in on_record(running)} >= {"api", "metrics", "console"}, "all are on record")
    assert {row["address"] for row in on_record(running)} == {client}


def test_a_token_may_be_pasted_with_white_space_around_it(shared_service: StartService) -> None:
    running = shared_service(ops_tokens=OPS)
    assert ConsoleClient(running).sign_in(f"\t{OPS} \n").headers["location"] == "/ops"


def test_a_request_without_a_token_is_no_guess(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=OPS)
    assert {running.get(STATS).status for _ in range(30)} == {401}
    assert counted(running, "api") == {}
    assert ask(running, "wrong").status == 401


# On record


class Written:
    """What was written, by a writing process that may be away."""

    def __init__(self) -> None:
        self.rows: list[AuditRow] = []
        self.is_away = False
        self.arrived = asyncio.Event()

    async def do(self, command: WriterCommand[Any]) -> Any:
        assert isinstance(command, NoteWrongToken)
        if self.is_away:
            raise StorageUnavailable("The database is away.")
        self.rows.append(command.entry)
        self.arrived.set()


def test_many_wrong_tokens_are_audited_as_a_sum() -> None:
    async def run() -> list[AuditRow]:
        written = Written()
        notes = WrongTokenAudit(written.do, first_sum_seconds=0.0)
        for number in range(1000):
            notes.note("api", f"192.0.2.{number % 200}")
        task = asyncio.create_task(notes.run())
        while len(written.rows) < 11:
            written.arrived.clear()
            await asyncio.wait_for(written.arrived.wait(), DEADLINE_SECONDS)
        task.cancel()
        return written.rows

    *singles, rest = asyncio.run(run())
    assert [row.address for row in singles] == [f"192.0.2.{number}" for number in range(10)]
    assert rest.detail is not None
    assert rest.detail.startswith("990 more since ")
    assert rest.detail.endswith("from 100 addresses or more")


def test_what_could_not_be_written_is_written_when_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.web.wrong_token_audit._AGAIN_SECONDS", 0.0)

    async def run() -> int:
        written = Written()
        written.is_away = True
        notes = WrongTokenAudit(written.do)
        for _ in range(20):
            notes.note("api", None)
        await notes.close()
        assert written.rows == []
        written.is_away = False
        notes.note("api", None)
        await notes.close()
        return len(written.rows)

    assert asyncio.run(run()) == 12  # ten one by one, a sum of ten, a sum of one


def test_audit_entries_of_strangers_are_bounded_and_push_out_no_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "MAX_WRONG_TOKENS", 5)
    make_tables(database_url)
    at = now()
    ours = AuditRow(new_id(at), to_micros(at), "anna", None, "prune", "database", None)
    guesses = [AuditRow(new_id(at), to_micros(at), "nobody", None, WRONG_TOKEN, "api", str(number)) for number in range(9)]
    with opened(database_url) as store:
        store.executor.do(AddAuditEntry(ours))
        for row in sorted(guesses):
            store.executor.do(NoteWrongToken(row))
            store.executor.do(NoteWrongToken(row))  # repeated after a commit that seemed to fail
    kept = {row["id"] for row in table_rows(database_url, "audit", "id")}
    assert kept == {ours.id, *(row.id for row in sorted(guesses)[-5:])}


def uses(running: Service) -> dict[str, int]:
    """Return when each ops token was last used."""
    rows = running.table("token_uses", "token", "last_used_at", source="ops")
    return {row["token"]: row["last_used_at"] for row in rows}


def test_a_token_that_is_used_through_the_api_alone_does_not_look_idle(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, ops_tokens=f"anna:{OPS},otto:another-{OPS},idle:unused-{OPS}")
    before = to_micros(now())
    assert ask(running, "wrong").status == 401
    assert ask(running, OPS).status == 200
    assert ask(running, f"another-{OPS}", path="/ops/api/setup-windows", method="POST").status == 422
    wait_until(lambda: uses(running).keys() == {"anna", "otto"}, "both are noted")
    assert min(uses(running).values()) >= before


def test_a_use_is_written_once_a_minute_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[NoteTokenUses] = []
    noted = TokenUses(told.append)
    for token in ("anna", "anna", "otto", "anna"):
        noted.note(token)
    assert [list(command.uses) for command in told] == [[("ops", "anna")], [("ops", "otto")]]
    monkeypatch.setattr("receiver.web.token_uses._PAUSE_SECONDS", 0.0)
    noted.note("anna")
    assert len(told) == 3
