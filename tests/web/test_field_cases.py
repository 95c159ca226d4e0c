"""Problems that users of similar software reported, one test for each kind, on the real service."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.postgresql import Cluster
from tests.harness.raw_http import read_all
from tests.harness.service import SHIP24, TOKEN, Reply, Service, environment, serving, wait_until
from tests.harness.table import each_row

PACKAGE, MANIFEST = "/webhooks/shiipp/new-package", "/webhooks/shiipp/manifest-status"
POSTED = {SHIP24: b'{"trackings":[]}', PACKAGE: b"[]", MANIFEST: b"[]"}
SHIIPP, OPS = "the-shiipp-token-of-these-tests", "the-ops-token-of-these-tests"
every_path = pytest.mark.parametrize("path", POSTED)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("field")
    with serving(folder, f"sqlite:///{folder}/field.db", shiipp_tokens=SHIIPP, ops_tokens=OPS) as service:
        yield service


def token_of(path: str) -> str:
    return TOKEN if path == SHIP24 else SHIIPP


def post(running: Service, path: str, body: object, *headers: tuple[str, str]) -> Reply:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return running.post(sent, path, token_of(path), headers)


def tracker(running: Service, source: str, tracker_id: str) -> Any:
    return running.get(f"/ops/api/trackers/{source}/{quote(tracker_id, safe='')}", OPS).json()


# A clock of the sender's that is far ahead


AHEAD = ["2062-11-26T10:00:00", "2062-11-26", "2062-11-26 10:00", "9999-12-31T23:59:59-14:00", "2062-11-26T10:00:00Z\n"]


@each_row("ahead", AHEAD)
@each_row("path", [PACKAGE, MANIFEST])
def test_details_that_came_with_a_clock_far_ahead_never_show(running: Service, path: str, ahead: str) -> None:
    name = f"{path[-8:]} {ahead.strip()}"
    key, field = ("package_id", "entry_date_time") if path == PACKAGE else ("manifest_id", "status_date_time")
    wrong = {key: name, "status": "ready", field: ahead, "notes": "mistyped", "description": "mistyped", "user_code": "wrong"}
    right = {key: name, "status": "shipped", field: "2025-11-26T10:00:00", "description": "right"}
    followed = name if path == PACKAGE else f"manifest:{name}"
    assert post(running, path, wrong).outcomes() == ["quarantined"]
    assert tracker(running, "shiipp", followed)["error"]["code"] == "not_found"
    for body in (right, wrong | {"status": "again"}):
        post(running, path, body)
        shown = tracker(running, "shiipp", followed)["tracker"]
        assert "mistyped" not in json.dumps(shown)
        assert shown["latest_occurrence"] == right[field]


@each_row("ahead", ["2062-11-20T05:00:00Z", "2062-11-20T05:00:00", "9999-12-31T23:59:59-12:00"])
@each_row("ahead_first", [True, False])
def test_a_message_built_far_ahead_hides_no_later_details(running: Service, ahead: str, ahead_first: bool) -> None:
    name = f"built {ahead} {ahead_first}"
    views = {ahead: "exception", "2025-11-20T06:00:00Z": "delivered"}
    for at in sorted(views, reverse=ahead_first):
        post(running, SHIP24, ship24.body(ship24.item(None, name, [], at, shipment={"statusMilestone": views[at]})))
    assert tracker(running, "ship24", name)["tracker"]["shipment_milestone"] == "delivered"


# White space around what is typed or scanned


AROUND = ["\n", "\r\n", "\t ", "\u00a0", "\u200b", "\x1d", "\x02", "\x7f\x03", "\u00ad", "\u061c"]
SCANNED: dict[str, tuple[str, Mapping[str, str]]] = {
    "tracking number": (PACKAGE, {"tracking_number": "1Z%s", "entry_date_time": "2025-11-25T10:00:00"}),
    "package id": (PACKAGE, {"package_id": "p-%s"}),
    "entry time": (PACKAGE, {"tracking_number": "2Z%s", "entry_date_time": "2025-11-25T10:00:00"}),
    "user code": (PACKAGE, {"tracking_number": "3Z%s", "user_code": "A1"}),
    "manifest number": (MANIFEST, {"manifest_number": "M%s", "status": "ready", "status_date_time": "2025-11-26T10:00:00"}),
    "manifest by state": (MANIFEST, {"manifest_id": "N%s", "status": "ready"}),
}


@each_row("around", AROUND, ids=ascii)
@each_row("case", SCANNED)
def test_what_was_scanned_with_white_space_around_is_what_was_typed(running: Service, case: str, around: str) -> None:
    path, fields = SCANNED[case]
    typed = {name: value.replace("%s", str(AROUND.index(around))) for name, value in fields.items()}
    scanned = {name: f"{around}{value}{around}" for name, value in typed.items()}
    assert [post(running, path, body).outcomes() for body in (scanned, typed)] == [["applied"], ["duplicate"]]


# JSON that templates write


@each_row("put", ["\n", "\r\n", "\t", "\x00", "\x1f"], ids=ascii)
@each_row("form", [b"%s", b"[%s]", b"\xef\xbb\xbf%s\r\n"])
@each_row("path", [PACKAGE, MANIFEST])
def test_control_characters_that_a_template_put_into_a_text_are_read(running: Service, path: str, form: bytes, put: str) -> None:
    number = [form.hex(), put.encode().hex(), path[-3:]]
    item = f'{{"package_id":"t-{number}","manifest_id":"t-{number}","status":"ready","notes":"a{put}b","description":"a{put}b"}}'
    assert post(running, path, form % item.replace("'", "").encode()).outcomes() == ["applied"]


# A body that a proxy compressed


CODED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZIP": gzip.compress,
    "deflate": zlib.compress,
    "gzip, deflate": lambda body: zlib.compress(gzip.compress(body)),
    "identity": bytes,
}


@pytest.mark.parametrize("coding", CODED)
@every_path
def test_a_compressed_body_is_read_on_every_path(running: Service, path: str, coding: str) -> None:
    assert post(running, path, CODED[coding](POSTED[path]), ("Content-Encoding", coding)).status == 200


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br"])
@every_path
def test_another_encoding_is_415_and_named_on_every_path(running: Service, path: str, coding: str) -> None:
    answer = post(running, path, b"anything", ("Content-Encoding", coding))
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (415, "unsupported_encoding")
    assert coding.rpartition(" ")[2] in error["message"]


# An offer to upgrade


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("offer", ["h2c", "websocket", "HTTP/2.0, h2c"])
@every_path
def test_an_offer_to_upgrade_is_ignored_on_every_path(running: Service, path: str, offer: str, chunked: bool) -> None:
    body = POSTED[path]
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    lines = [
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_of(path)}\r\nConnection: Upgrade, HTTP2-Settings",
        f"Upgrade: {offer}\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA",
    ]
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    with running.socket() as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n" + framing + b"\r\n\r\n" + sent)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = read_all(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 2


# What the surroundings and the operator put into the settings


LINKS = {
    "RECEIVER_SERVICE_HOST": "10.0.48.109",
    "RECEIVER_SERVICE_PORT": "8080",
    "RECEIVER_PORT": "tcp://10.0.48.109:8080",
    "RECEIVER_PORT_8080_TCP": "tcp://10.0.48.109:8080",
    "RECEIVER_PORT_8080_TCP_PROTO": "tcp",
    "RECEIVER_PORT_8080_TCP_PORT": "8080",
    "RECEIVER_PORT_8080_TCP_ADDR": "10.0.48.109",
}


@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_service_named_receiver_beside_it_is_ignored_and_logged_once(tmp_path: Path, place: str) -> None:
    service = Service(tmp_path, f"sqlite:///{tmp_path}/receiver.db")
    service.env["PORT"] = service.env.pop("RECEIVER_PORT")
    if place == "environment":
        service.env.update(LINKS)
    else:
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in LINKS.items()))
    service.migrate()
    try:
        assert service.start().post(b'{"trackings":[]}').status == 200
    finally:
        service.close()
    assert service.logs().count("RECEIVER_PORT_8080_TCP_PROTO") == 1
    for words in (("migrate",), ("trackers", "list")):
        done = run_command(*words, cwd=tmp_path, env=service.env)
        assert (done.returncode, "RECEIVER_PORT" in done.stderr) == (0, False)


@pytest.mark.parametrize(
    ("source", "wrong"), [("SHIP24", '"%s"'), ("SHIIPP", "Bearer %s"), ("OPS", "name:%s\u00e9"), ("SHIP24", "\u201c%s\u201d")]
)
def test_a_token_that_no_header_carries_is_refused_at_the_start(tmp_path: Path, source: str, wrong: str) -> None:
    env = environment(f"sqlite:///{tmp_path}/receiver.db") | {f"RECEIVER_{source}_TOKENS": wrong.replace("%s", "planted-secret")}
    done = run_command("serve", cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr.count("\n"), "planted" in done.stderr) == (2, 1, False)
    assert f"RECEIVER_{source}_TOKENS" in done.stderr


# An error of the database is never blamed on a message


LOST = {
    "a table": (
        ["ALTER TABLE messages OWNER TO postgres", "REVOKE ALL ON messages FROM app"],
        ["ALTER TABLE messages OWNER TO app"],
    ),
    "the right to add": (
        ["ALTER TABLE events OWNER TO postgres", "GRANT SELECT, UPDATE ON events TO app"],
        ["ALTER TABLE events OWNER TO app"],
    ),
    "the schema": (
        ["ALTER SCHEMA public OWNER TO postgres", "REVOKE ALL ON SCHEMA public FROM app, PUBLIC"],
        ["ALTER SCHEMA public OWNER TO app"],
    ),
    "a table's name": (["ALTER TABLE trackers RENAME TO elsewhere"], ["ALTER TABLE elsewhere RENAME TO trackers"]),
    "the login": (["ALTER ROLE app NOLOGIN", "{end}"], ["ALTER ROLE app LOGIN"]),
    "writing": (
        ["ALTER ROLE app SET default_transaction_read_only = on", "{end}"],
        ["ALTER ROLE app RESET default_transaction_read_only", "{end}"],
    ),
}
"""What a role loses, and how it gets it back. `{end}` ends its sessions."""


def test_every_error_of_the_database_is_503_and_the_retry_applies(tmp_path: Path, own_cluster: Cluster) -> None:
    own_cluster.create_database("granted")
    for statement in ("CREATE ROLE app LOGIN", "ALTER DATABASE granted OWNER TO app", "ALTER SCHEMA public OWNER TO app"):
        own_cluster.execute(statement, "granted")
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
    with serving(tmp_path, f"postgresql://app@127.0.0.1:{own_cluster.port}/granted") as service:
        for number, (lost, (take, give)) in enumerate(LOST.items()):
            body = ship24.single(f"m{number}")
            for statement in take:
                own_cluster.execute(statement.format(end=end), "granted")
            assert service.post(body).status == 503, lost
            for statement in give:
                own_cluster.execute(statement.format(end=end), "granted")
            wait_until(lambda body=body: service.post(body).status == 200, f"{lost} is back")  # type: ignore[misc]
            assert service.post(body).outcomes() == ["duplicate"], lost
        assert service.count("quarantine") == 0
        assert service.count("events", outcome="applied") == len(LOST)
