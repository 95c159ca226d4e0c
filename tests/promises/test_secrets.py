"""No secrets: planted tokens are searched for in rows, files, logs, answers and errors."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from receiver.settings import load
from receiver.storage.database import Database
from tests.conftest import StartService
from tests.harness import ship24
from tests.harness.command import run_command
from tests.harness.postgresql import Cluster
from tests.harness.raw_http import read_all, request
from tests.harness.service import SHIP24, Reply, Service, environment, wait_until
from tests.harness.storage import poison

PLANTED = "planted-Ship24-token"
OPS = "planted-Ops-token"
SHIIPP = "planted-Shiipp-token"
NEAR = "nearly-planted-token"
PASSWORD = "planted-p@ss/word"
EVERYWHERE = (PLANTED, OPS, SHIIPP, NEAR, PASSWORD)
_DUMPED = (
    *("deliveries", "bodies", "messages", "sightings", "events", "trackers", "terms"),
    *("quarantine", "known_tokens", "unknown_paths", "token_uses", "setup_windows", "tallies", "alarms", "audit", "sessions"),
)


def spellings(secret: str) -> Iterator[bytes]:
    """Give the forms in which a secret might be written down."""
    yield secret.encode()
    yield secret.lower().encode()
    yield quote(secret, safe="").encode()
    yield base64.b64encode(secret.encode()).rstrip(b"=")
    yield secret.encode().hex().encode()
    yield secret.encode("utf-16-le")


def assert_nowhere(places: dict[str, bytes]) -> None:
    found = [
        (secret, place) for secret in EVERYWHERE for form in spellings(secret) for place, data in places.items() if form in data
    ]
    assert found == []


def dump(running: Service) -> bytes:
    """Return every value of every table."""
    return b"\n".join(
        value if isinstance(value, bytes) else str(value).encode()
        for table in _DUMPED
        for row in running.table(table)
        for value in row.values()
    )


def call_with_secrets(running: Service) -> list[Reply]:
    """Send requests with secrets wherever a careless sender or an attacker puts them."""
    body = ship24.single()
    basic = base64.b64encode(f"user:{PLANTED}".encode()).decode()
    places: Sequence[Sequence[tuple[str, str]]] = [
        [("X-Api-Key", PLANTED)],
        [("Cookie", f"token={PLANTED}")],
        [("Proxy-Authorization", f"Bearer {PLANTED}")],
        [("X-Custom", f"Bearer {PLANTED}")],
        [("Referer", f"https://here/webhooks?token={PLANTED}&x={OPS}")],
        [("User-Agent", f"{SHIIPP} {OPS}")],
        [("X-Forwarded-For", f"{PLANTED}, 127.0.0.1")],
        [("Content-Type", f"application/json; token={PLANTED}")],
        [("Authorization", f"Basic {basic}")],
        [("Authorization", PLANTED)],
        [("Authorization", f"Bearer {PLANTED}"), ("Authorization", f"Bearer {NEAR}")],
        [("Authorization", f"Bearer {NEAR}")],
        [("Authorization", f"Bearer {PLANTED}x")],
        [("Authorization", f"Bearer {PASSWORD}")],
    ]
    answers = [running.post(body, token=None, headers=headers) for headers in places]
    answers += [running.post(ship24.single(), token=PLANTED, headers=headers) for headers in places]
    answers += [
        running.post(body, path=f"{path}?token={PLANTED}&key={NEAR}", token=None) for path in (SHIP24, "/nothing", "/ops/")
    ]
    answers += [running.post(body, path=f"/webhooks/{PLANTED}", token=None), running.get(f"/readyz?token={PLANTED}")]
    answers += [running.call(method, f"{SHIP24}?{PLANTED}", None, places[0]) for method in ("GET", "PUT")]
    answers += [running.post(broken, token=PLANTED) for broken in (b"{", b"[]", b"\xff", b'{"trackings": [1]}')]
    return answers


def break_the_rules(running: Service) -> bytes:
    """Send bytes with secrets that are no HTTP, and return the answers."""
    answers = []
    for text in (
        f"POST {SHIP24} HTTP/1.1\r\nAuthorization: Bearer {PLANTED}\r\nContent-Length: x{PLANTED}\r\n\r\n".encode(),
        f"{PLANTED} {SHIP24} HTTP/1.1\r\n\r\n".encode(),
        f"POST {SHIP24} HTTP/1.1\r\nAuthorization: Bearer {PLANTED}\0\r\n\r\n".encode(),
        request(b"{", "Connection: close", token=PLANTED) + PLANTED.encode(),
    ):
        with running.socket() as connection:
            connection.sendall(text)
            answers.append(read_all(connection))
    return b"".join(answers)


def settings_with_secrets(**more: str) -> dict[str, str]:
    tokens = {"ship24_tokens": f"main:{PLANTED}", "shiipp_tokens": SHIIPP, "ops_tokens": OPS}
    return {**tokens, "body_timeout_seconds": "5", **more}


def test_no_secret_is_in_a_file_a_row_a_log_or_an_answer_on_sqlite(
    service: StartService, sqlite_url: str, tmp_path: Path
) -> None:
    running = service(sqlite_url, **settings_with_secrets())
    poison(sqlite_url, "poisoned")
    answers = call_with_secrets(running)
    answers.append(running.post(ship24.single("poison", tracker_id="poisoned"), token=PLANTED))
    assert {200, 400, 401, 404, 405, 422} <= {answer.status for answer in answers}
    places = {f"answer {number}": repr(answer).encode() for number, answer in enumerate(answers)}
    places["broken"] = break_the_rules(running)
    places |= {str(file): file.read_bytes() for file in tmp_path.glob("receiver.db*")}
    assert any(name.endswith("-wal") for name in places)
    assert running.stop() == 0
    places |= {f"{file} at the end": file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert any(name.endswith("stderr.log at the end") for name in places)
    assert_nowhere(places)


def test_no_secret_is_in_a_row_a_log_or_an_answer_on_postgresql(service: StartService, own_cluster: Cluster) -> None:
    url = own_cluster.create_database("secretive").replace("postgres@", f"postgres:{quote(PASSWORD, safe='')}@")
    running = service(url, **settings_with_secrets())
    poison(url, "poisoned")
    answers = call_with_secrets(running)
    answers.append(running.post(ship24.single("poison", tracker_id="poisoned"), token=PLANTED))
    own_cluster.stop("immediate")
    answers.append(running.post(ship24.single(), token=PLANTED))
    answers.append(running.get("/readyz"))
    assert answers[-2].status == 503
    own_cluster.start()
    wait_until(lambda: running.get("/readyz").status == 200, "the service is ready again")
    places = {f"answer {number}": repr(answer).encode() for number, answer in enumerate(answers)}
    places |= {"rows": dump(running), "broken": break_the_rules(running)}
    assert running.stop() == 0
    places["log"] = running.log.read_bytes()
    assert b"storage_unavailable" in places["log"]
    assert_nowhere(places)


@pytest.mark.parametrize("command", ["serve", "migrate", "doctor"])
def test_no_command_prints_a_secret_when_the_database_cannot_be_reached(tmp_path: Path, command: str) -> None:
    url = f"postgresql://someone:{quote(PASSWORD, safe='')}@127.0.0.1:1/nothing"
    done = run_command(command, cwd=tmp_path, env=environment(url, port="0", **settings_with_secrets()))
    assert done.returncode != 0
    assert_nowhere({"stdout": done.stdout.encode(), "stderr": done.stderr.encode()})


@pytest.mark.parametrize(
    "wrong",
    [
        {"database_url": f"nonsense {PASSWORD}"},
        {"database_url": f"mysql://someone:{quote(PASSWORD, safe='')}@host/name"},
        {"database_url": f"postgresql://someone:{quote(PASSWORD, safe='')}@host:port/name"},
        {"port": PLANTED},
        {"ship24_tokens": f"{PLANTED},bad name:{NEAR}"},
        {"ops_tokens": PLANTED},
        {"trusted_proxies": PLANTED},
        {"ship24_ip_policy": PLANTED},
    ],
)
def test_no_error_about_a_setting_quotes_a_secret(tmp_path: Path, wrong: dict[str, str]) -> None:
    given = {"database_url": "sqlite:///x.db", **settings_with_secrets(), **wrong}
    done = run_command("serve", cwd=tmp_path, env=environment(**given))
    assert done.returncode == 2
    assert "RECEIVER_" in done.stderr
    assert_nowhere({"stdout": done.stdout.encode(), "stderr": done.stderr.encode()})


def test_no_object_shows_a_secret() -> None:
    url = f"postgresql://someone:{quote(PASSWORD, safe='')}@127.0.0.1:1/nothing"
    settings = load(environment(url, **settings_with_secrets()))
    database = Database(url)
    shown = [
        repr(settings),
        str(settings),
        repr(settings.access_policy("ship24")),
        repr(database),
        str(database),
        repr(database.url),
    ]
    shown += [repr(settings.ship24_tokens), settings.model_dump_json(exclude={"database_url"}, fallback=repr)]
    assert_nowhere({text[:40]: text.encode() for text in shown})
