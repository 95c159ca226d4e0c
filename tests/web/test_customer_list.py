"""The customer list as Shiipp fetches it, from the real service. Headings of Shiipp's troubleshooting page stand above their
cases; those of its webhooks are in test_shiipp_flow, those of tokens and addresses in test_rotation.
"""

import json
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Connection

from receiver.clock import new_id, to_micros
from receiver.domain.customer_changes import CustomerUpload
from receiver.domain.rows import AuditRow
from receiver.errors import NotFound
from receiver.storage import queries
from receiver.storage.customers import KEPT_LISTS, latest_customer_list, list_customer_lists, read_customer_page
from receiver.storage.database import Database
from receiver.storage.queries.downtime import read_traffic_spans
from receiver.storage.transactions import Transactions
from receiver.writer.commands.operators import ImportCustomers, ReplaceCustomers, RestoreCustomers
from receiver.writer.executor import CommandExecutor
from tests.conftest import StartService
from tests.harness.command import run_command
from tests.harness.postgresql import Cluster
from tests.harness.raw_http import head_of
from tests.harness.rows import Like, read_rows
from tests.harness.service import DEADLINE_SECONDS, Reply, Service, bearer, wait_until
from tests.harness.storage import WAITING, delete_rows, make_tables
from tests.harness.store import NOW, opened

PATH = "/shiipp/customers"
SHIIPP = "the-shiipp-token-of-these-tests"
OPS = "the-ops-token-of-these-tests"
LARGE = 12_000  # with long names more than what may be on its way to a client that does not read


@pytest.fixture
def running(shared_service: Callable[..., Service]) -> Service:
    return shared_service(shiipp_tokens=SHIIPP, ops_tokens=OPS)


def run(of: Service, *arguments: str, code: int = 0) -> str:
    done = run_command("customers", *arguments, cwd=of.directory, env=of.env)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def put(into: Service, customers: object, *options: str, code: int = 0, name: str = "list.json") -> str:
    """Import a list, given as what JSON can say or as the text of a CSV file."""
    file = into.directory / name
    file.write_text(customers if isinstance(customers, str) else json.dumps(customers), encoding="utf-8")
    return run(into, "import", str(file), *options, code=code)


def ask(of: Service, method: str = "GET", *headers: tuple[str, str], path: str = PATH, token: str = SHIIPP) -> Reply:
    return of.call(method, path, headers=[("Authorization", f"Bearer {token}"), *headers])


def read_strictly(reply: Reply) -> list[str]:
    """Return the codes of a list; refuse what Shiipp would refuse or have to change."""
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    assert int(reply.headers["content-length"]) == len(reply.body)
    root = json.loads(reply.body)
    assert isinstance(root, list)
    codes = [customer["UserCode"] for customer in root]
    assert [code.strip().upper() for code in codes] == codes
    assert len(set(codes)) == len(codes)
    return codes


def many(number: int, letter: str = "C", **more: str) -> list[dict[str, str]]:
    return [{"UserCode": f"{letter}{place:06}", "FirstName": "Ann", **more} for place in range(number)]


def codes_of(customers: Iterable[dict[str, str]]) -> list[str]:
    return [customer["UserCode"] for customer in customers]


def large(letter: str) -> list[dict[str, str]]:
    return many(LARGE, letter, LastName="x" * 200, Branch="y" * 200)


def last_sync(of: Service, calls: int) -> Any:
    """Return the output of `customers list --last-sync` once so many deliveries are on record."""
    wait_until(lambda: of.count("deliveries", kind="customers") >= calls, f"{calls} calls are on record")
    return json.loads(run(of, "list", "--last-sync", "--json"))


@contextmanager
def slow_reader(of: Service) -> Iterator[socket.socket]:
    """Give a connection that has asked for the list and reads nothing more than what the block reads."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(("127.0.0.1", of.port))
        connection.sendall(head_of("GET", path=PATH, token=SHIIPP))
        yield connection


def read_slowly(connection: socket.socket) -> Reply:
    with closing(HTTPResponse(connection)) as response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, response.read())


# Invalid JSON response


def test_the_list_is_an_array_that_a_strict_client_takes(running: Service) -> None:
    put(running, "user_code;last_name\n cust002 ;Smith\ncust001;Ünal\n", name="list.csv")
    for path in (PATH, f"{PATH}/"):
        reply = ask(running, path=path)
        assert read_strictly(reply) == ["CUST001", "CUST002"]
        assert reply.headers["content-type"] == "application/json"
        assert json.loads(reply.body)[0] == {"UserCode": "CUST001", "LastName": "Ünal"}


def test_a_list_of_many_pages_is_whole_and_in_order(running: Service) -> None:
    customers = many(5000)
    put(running, customers[::-1])
    assert read_strictly(ask(running)) == codes_of(customers)
    assert json.loads(ask(running).body) == customers


def test_codes_of_any_alphabet_are_served_whole_whatever_the_database_sorts_by(
    service: StartService, cluster: Cluster, sqlite_url: str
) -> None:
    codes = sorted({f"{head}{tail}" for head in "aÄßzé_-. 1Ωя🌀" for tail in map(str, range(200))})
    expected = {code.strip().upper() for code in codes}
    for url in (sqlite_url, cluster.create_database("sorted_by_people", icu_locale="de-DE")):
        sorting = service(url, shiipp_tokens=SHIIPP, ops_tokens=OPS)
        put(sorting, [{"UserCode": code} for code in expected])
        assert set(read_strictly(ask(sorting))) == expected
        sorting.stop()


# Sync failed with HTTP 500 or non-200


def test_before_any_import_the_answer_is_503_with_what_to_do_and_never_an_empty_list(running: Service) -> None:
    reply = ask(running)
    assert (reply.status, reply.json()["error"]["code"]) == (503, "no_customer_list")
    assert "customers import" in reply.json()["error"]["message"]
    assert int(reply.headers["retry-after"]) > 0
    put(running, [], code=1)
    assert [ask(running).status, last_sync(running, 2)["items"][0]["status"]] == [503, 503]


def test_an_empty_list_is_served_only_if_somebody_said_so(running: Service) -> None:
    put(running, many(3))
    assert ("--allow-empty" in put(running, [], code=1), len(read_strictly(ask(running)))) == (True, 3)
    put(running, [], "--allow-empty")
    reply = ask(running)
    assert (read_strictly(reply), reply.body) == ([], b"[]")


def test_an_empty_list_through_the_api_needs_the_same_consent(running: Service) -> None:
    put(running, many(3))
    refused = running.call("POST", "/ops/api/customers", b'{"rows": []}', bearer(OPS))
    assert (refused.status, "allow_empty" in refused.json()["error"]["message"]) == (422, True)
    assert len(read_strictly(ask(running))) == 3
    assert running.call("POST", "/ops/api/customers", b'{"rows": [], "allow_empty": true}', bearer(OPS)).status == 200
    assert ask(running).body == b"[]"


def test_neither_time_nor_order_of_a_list_is_the_callers(running: Service) -> None:
    for more in ({"list_id": "zzz"}, {"imported_at": 1}):
        wrong = json.dumps({"rows": [["A", '{"UserCode":"A"}']], **more}).encode()
        assert running.call("POST", "/ops/api/customers", wrong, bearer(OPS)).status == 422
    before = datetime.now(UTC)
    put(running, many(1))
    told = json.loads(run(running, "list", "--last-sync", "--json"))["list"]
    assert before.replace(microsecond=0) <= datetime.fromisoformat(told["imported_at"]) <= datetime.now(UTC)


def test_the_last_imported_list_is_served_whatever_the_clocks_say(database_url: str) -> None:
    make_tables(database_url)
    with opened(database_url) as store:
        served = ""
        names = [new_id(NOW + timedelta(days=days)) for days in (400, 0, -5, 0, 1)]
        for list_id in ("zzz from a caller", *names):
            rows = [(f"C{number}", list_id) for number in range(3)]
            store.executor.do(ReplaceCustomers(list_id, 1, rows))
            latest = latest_customer_list(store.database)
            assert latest is not None
            assert (latest.id, read_customer_page(store.database, list_id, "")) == (list_id, rows)
            assert not served or len(read_customer_page(store.database, served, "")) == 3  # a client may still be reading it
            served = list_id


def test_of_two_imports_at_once_the_one_that_commits_last_is_served_whole(postgresql_url: str) -> None:
    make_tables(postgresql_url)
    early, late = new_id(NOW), new_id(NOW + timedelta(days=1))
    with opened(postgresql_url) as store, closing(Transactions(store.database)) as other, ThreadPoolExecutor() as threads:
        elsewhere = CommandExecutor(store.database, other)

        def import_slowly(writing: Connection) -> Future[int]:
            ReplaceCustomers(late, 1, [("A", "late")]).write(store.executor, writing)
            second = threads.submit(elsewhere.do, ReplaceCustomers(early, 1, [("B", "early")]))
            wait_until(lambda: read_rows(postgresql_url, WAITING), "the second import waits")
            return second

        store.transactions.run(import_slowly).result()
        latest = latest_customer_list(store.database)
        assert latest is not None
        assert (latest.id, read_customer_page(store.database, latest.id, "")) == (early, [("B", "early")])
        elsewhere.do(ReplaceCustomers(early, 1, [("B", "again")]))  # a transaction that is repeated
        assert read_customer_page(store.database, early, "") == [("B", "early")]


def test_a_list_that_lost_its_customers_is_503_or_breaks_off_but_is_never_short(running: Service) -> None:
    put(running, many(3000))
    delete_rows(running.database_url, "customers", user_code=Like("C002%"))
    with pytest.raises(IncompleteRead):
        ask(running)
    assert last_sync(running, 1)["items"][0]["received"] < 3000
    delete_rows(running.database_url, "customers")
    reply = ask(running)
    assert (reply.status, reply.json()["error"]["code"]) == (503, "storage_unavailable")


def test_while_postgresql_is_down_the_answer_is_503_and_then_the_list_again(service: StartService, own_cluster: Cluster) -> None:
    running = service(own_cluster.create_database("away"), shiipp_tokens=SHIIPP)
    put(running, many(3))
    assert len(read_strictly(ask(running))) == 3
    own_cluster.stop("immediate")
    for _ in range(3):
        reply = ask(running)
        assert (reply.status, reply.json()["error"]["code"]) == (503, "storage_unavailable")
    own_cluster.start()
    wait_until(lambda: running.get("/readyz").status == 200, "the service is ready again")
    assert len(read_strictly(ask(running))) == 3


# Imports


def test_an_import_that_is_refused_changes_nothing(running: Service) -> None:
    put(running, many(3))
    before = ask(running)
    for name, wrong in (("list.csv", "UserCode\nA\nB\na\n"), ("list.json", '{"customers": []}'), ("list.csv", "Name\nAnn\n")):
        assert put(running, wrong, code=1, name=name)
    after = ask(running)
    assert (after.body, after.headers["etag"]) == (before.body, before.headers["etag"])


def test_a_dry_run_shows_the_difference_and_changes_nothing(running: Service) -> None:
    put(running, [{"UserCode": "A", "FirstName": "Ann"}, {"UserCode": "B"}, {"UserCode": "C"}])
    served, audited = ask(running).body, running.get("/ops/api/audit", OPS).json()["items"]
    rows = [{"UserCode": "A", "FirstName": "Anna"}, {"UserCode": "B"}, {"UserCode": "D"}]
    text = put(running, rows, "--dry-run")
    assert "Nothing was imported" in text
    assert "1 added, 1 changed, 1 removed, 1 unchanged." in text
    assert "Those that are removed here stay in Shiipp" in text
    shown = json.loads(run(running, "import", "list.json", "--dry-run", "--json"))
    body = {"rows": [[row["UserCode"], json.dumps(row)] for row in rows], "dry_run": True}
    assert running.call("POST", "/ops/api/customers", json.dumps(body).encode(), bearer(OPS)).json() == shown
    assert [(change["change"], change["before"], change["after"]) for change in shown["changes"]] == [
        ("added", None, {"UserCode": "D"}),
        ("changed", {"UserCode": "A", "FirstName": "Ann"}, {"UserCode": "A", "FirstName": "Anna"}),
        ("removed", {"UserCode": "C"}, None),
    ]
    assert (ask(running).body, running.get("/ops/api/audit", OPS).json()["items"]) == (served, audited)
    assert json.loads(run(running, "import", "list.json", "--json")) == shown
    assert read_strictly(ask(running)) == ["A", "B", "D"]


def test_the_difference_is_that_to_the_served_list_whatever_holds_the_database(database_url: str) -> None:
    make_tables(database_url)
    entry = AuditRow("1", 1, "anna", None, "customers import", "customers", None)
    with opened(database_url) as store:
        first, second = (new_id(NOW + timedelta(days=days)) for days in (0, 1))
        made = [ImportCustomers(entry, first, 1, CustomerUpload([("A", "1"), ("B", "1")]))]
        made += [
            ImportCustomers(entry._replace(id="2"), second, 2, CustomerUpload([("B", "2")], dry_run)) for dry_run in (True, False)
        ]
        found = [store.executor.do(command).summary() for command in made]
    counts = "0 added, 1 changed, 1 removed, 0 unchanged"
    assert found == ["2 added, 0 changed, 0 removed, 0 unchanged", counts, counts]


def test_the_list_before_the_served_one_is_restored_and_shown_first(running: Service) -> None:
    put(running, many(2, "A"))
    first = ask(running).body
    assert "no earlier customer list" in run(running, "restore", code=1)
    put(running, many(1, "B"))
    put(running, "[]", "--allow-empty")
    text = run(running, "restore", "--dry-run")
    assert "1 added, 0 changed, 0 removed, 0 unchanged." in text  # the last one with customers
    assert ask(running).body == b"[]"
    *_, oldest = running.get("/ops/api/customers/lists", OPS).json()["items"]
    assert json.loads(run(running, "lists", "--json"))["items"][-1] == oldest
    body = json.dumps({"list": oldest["id"]}).encode()
    done = running.call("POST", "/ops/api/customers/restore", body, bearer(OPS)).json()
    assert (done["customers"], done["added"], ask(running).body) == (2, 2, first)
    entry = running.get("/ops/api/audit", OPS).json()["items"][0]
    assert (entry["action"], entry["subject"], "2 added" in entry["detail"]) == ("customers restore", oldest["id"], True)
    assert running.call("POST", "/ops/api/customers/restore", b'{"list": "none"}', bearer(OPS)).status == 404


def test_a_bounded_number_of_lists_is_kept_and_a_repeated_restore_changes_nothing(database_url: str) -> None:
    make_tables(database_url)
    entry = AuditRow("1", 1, "anna", None, "customers restore", "customers", None)
    with opened(database_url) as store:
        names = [new_id(NOW + timedelta(days=days)) for days in range(KEPT_LISTS + 3)]
        for name in names[:-1]:
            store.executor.do(ReplaceCustomers(name, 1, [("A", name)]))
        kept = [one["id"] for one in list_customer_lists(store.database)]
        assert kept == names[-2:0:-1]
        command = RestoreCustomers(entry, names[-1], 2, kept[-1], dry_run=False)
        differences = [store.executor.do(command), store.executor.do(replace(command, entry=entry._replace(id="2")))]
        assert [found.changed for found in differences] == [1, 1]
        assert read_customer_page(store.database, names[-1], "") == [("A", kept[-1])]
        assert read_customer_page(store.database, kept[-1], "") == []  # it is beyond the bound now
        with pytest.raises(NotFound):
            store.executor.do(RestoreCustomers(entry, new_id(NOW + timedelta(days=99)), 3, kept[-1], dry_run=True))


def test_customers_are_found_by_code_and_name_in_pages(running: Service) -> None:
    assert running.get("/ops/api/customers", OPS).status == 404
    put(running, [*many(1100), {"UserCode": "z1", "FirstName": "Émile", "LastName": "Smith"}, {"UserCode": "Z2"}])
    for term, expected in (("%C3%A9MILE", ["Z1"]), ("z", ["Z1", "Z2"]), ("smith%20emile", []), ("smith%20z1", ["Z1"])):
        found = running.get(f"/ops/api/customers?q={term}", OPS).json()
        assert (codes_of(found["items"]), found["next"]) == (expected, None)
    codes: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = running.get(f"/ops/api/customers?q=ann&limit=200{cursor and '&cursor='}{cursor}", OPS).json()
        codes, cursor = codes + codes_of(page["items"]), page["next"]
    assert codes == codes_of(many(1100))
    assert codes_of(json.loads(run(running, "list", "--q", "ÉMILE smith", "--json"))["items"]) == ["Z1"]


def test_what_is_served_can_be_listed_and_exported_and_imported_again(running: Service, tmp_path: Path) -> None:
    assert "customers import" in run(running, "list", code=1)
    put(running, [{"UserCode": "b", "branch": 'Ünal; "x", y'}, {"UserCode": "a"}])
    served = ask(running).body
    assert json.loads(run(running, "list", "--json"))["items"] == json.loads(served)
    for name in ("out.csv", "out.json"):
        run(running, "export", str(tmp_path / name))
    put(running, many(1))
    for name in ("out.csv", "out.json"):
        run(running, "import", str(tmp_path / name))
        assert ask(running).body == served


def test_a_client_that_reads_during_an_import_gets_the_whole_old_list(running: Service) -> None:
    put(running, large("A"))
    with slow_reader(running) as connection:
        connection.recv(1, socket.MSG_PEEK)  # the answer has begun
        put(running, large("B"))
        assert {code[0] for code in read_strictly(ask(running))} == {"B"}
        assert read_strictly(read_slowly(connection)) == codes_of(large("A"))


def test_a_client_that_is_overtaken_by_many_imports_gets_no_short_list(running: Service) -> None:
    put(running, large("A"))
    with slow_reader(running) as connection:
        connection.recv(1, socket.MSG_PEEK)
        for _ in range(KEPT_LISTS + 1):
            put(running, many(1, "B"))
        with pytest.raises(IncompleteRead):
            read_slowly(connection)
    (sync,) = last_sync(running, 1)["items"]
    assert sync["received"] < LARGE


# Customers are missing after sync. When does the sync run?


def test_every_sync_is_on_record_with_its_count_and_time(running: Service) -> None:
    before = datetime.now(UTC)
    put(running, many(1500))
    tag = ask(running).headers["etag"]
    ask(running, "GET", ("If-None-Match", tag))
    ask(running, "HEAD")
    ask(running, token="wrong")
    told = last_sync(running, 4)
    assert [(row["status"], row["received"]) for row in told["items"]] == [(401, 0), (304, 0), (200, 1500)]
    times = [datetime.fromisoformat(row["received_at"]) for row in told["items"]]
    assert before.replace(microsecond=0) <= times[-1] <= times[0] <= datetime.now(UTC)
    assert told["list"]["customers"] == 1500
    text = " ".join(run(running, "list", "--last-sync").split())
    assert re.search(r"last sync\W+1,500 customers", text)
    assert "Sync Now" not in text
    put(running, many(1501))
    assert "Sync Now" in run(running, "list", "--last-sync")


def test_a_sync_is_counted_as_a_delivery_and_never_taken_for_a_webhook(service: StartService, sqlite_url: str) -> None:
    running = service(sqlite_url, shiipp_tokens=SHIIPP, ops_tokens=OPS)
    put(running, many(3))
    assert ask(running).status == 200

    def count_shiipp() -> Any:
        return running.get("/ops/api/stats", OPS).json()["sources"]["shiipp"]

    wait_until(lambda: count_shiipp()["outcomes"]["accepted"] == 1, "it is counted")
    found = count_shiipp()
    assert (found["deliveries"], found["received"], found["codes"], found["last_delivery_at"]) == (1, 0, {}, None)
    with closing(Database(running.database_url)) as database:
        assert queries.read_results(database, "shiipp", 0) == []
        assert queries.find_first_accepted(database) is None
        assert read_traffic_spans(database, 0, to_micros(datetime.now(UTC))) == []
    kinds = {concern["kind"] for concern in running.get("/ops/api/overview", OPS).json()["concerns"]}
    assert "no_delivery" in kinds


def test_a_sync_that_the_client_broke_off_is_not_on_record_as_a_whole_one(running: Service) -> None:
    put(running, large("A"))
    with slow_reader(running) as connection:
        connection.recv(1, socket.MSG_PEEK)
    (sync,) = last_sync(running, 1)["items"]
    assert sync["received"] < LARGE


def test_304_is_only_for_those_who_ask_for_it(running: Service) -> None:
    put(running, many(3))
    whole = ask(running)
    tag = whole.headers["etag"]
    assert re.fullmatch(r'"[^"]+"', tag)
    for value in (tag, f'"other", {tag}', f"W/{tag}"):
        reply = ask(running, "GET", ("If-None-Match", value))
        assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag)
    for value in ('"other"', ""):
        assert ask(running, "GET", ("If-None-Match", value)).body == whole.body
    assert ask(running, "GET", ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT")).status == 200
    head = ask(running, "HEAD")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-type", "content-length", "etag"):
        assert head.headers[name] == whole.headers[name]
    put(running, many(4))
    assert len(read_strictly(ask(running, "GET", ("If-None-Match", tag)))) == 4


# Memory


def test_a_hundred_thousand_customers_do_not_grow_the_service(service: StartService, sqlite_url: str) -> None:
    make_tables(sqlite_url)
    with opened(sqlite_url) as store:
        customers = many(100_000, LastName="Smith of the long street", Branch="Miami")
        store.executor.do(ReplaceCustomers("large", 1, [(customer["UserCode"], json.dumps(customer)) for customer in customers]))
    running = service(sqlite_url, shiipp_tokens=SHIIPP)
    assert running.process is not None
    process = psutil.Process(running.process.pid)
    before, most = process.memory_info().rss, 0
    for _ in range(2):
        with slow_reader(running) as connection:
            pieces = 0
            while piece := connection.recv(2**20):
                pieces += len(piece)
                most = max(most, process.memory_info().rss)
                if pieces > 9_000_000:
                    break
    assert len(read_strictly(ask(running))) == 100_000
    most = max(most, process.memory_info().rss)
    assert most - before < 60 * 2**20
