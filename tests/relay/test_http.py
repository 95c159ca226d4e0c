"""HTTP targets: changes are signed and sent to allowed addresses only, and a misbehaving target harms nothing else."""

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from receiver.access.bearer import Secret
from receiver.domain.changes import Change
from receiver.errors import ConfigurationError
from receiver.relay.connections import Connections
from receiver.relay.http import HttpTarget, Post, read_retry_after
from receiver.relay.signature import Signer
from receiver.relay.target import NotAcknowledged, TargetGone, TargetUnavailable, describe_error
from receiver.settings.targets import TargetSettings
from tests.harness.changes import OTHER_SECRET, SECRET, change, secrets, target
from tests.harness.endpoint import CLOSE, HANG, TAKE, Answer, Call, Endpoint, Wire, answering, drip, say, write
from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS, wait_until
from tests.harness.table import each_row

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\n"


def post(settings: TargetSettings, *changes: Change, by: Sequence[Secret] = (), at_once: bool = False) -> list[Exception | None]:
    """Hand changes over, one after the other, as a lane does; return what was raised for each."""

    async def one(poster: HttpTarget, given: Change) -> Exception | None:
        try:
            async with asyncio.timeout(poster.timeout_seconds):
                status = await poster.deliver(given)
        except Exception as error:
            return error
        assert 200 <= status < 300
        return None

    async def run() -> list[Exception | None]:
        poster = HttpTarget(settings, by or secrets(SECRET))
        try:
            if at_once:
                return list(await asyncio.gather(*(one(poster, given) for given in changes)))
            return [await one(poster, given) for given in changes]
        finally:
            await poster.close()

    return asyncio.run(run())


def post_one(endpoint: Endpoint, seconds: float = 10.0) -> Exception | None:
    return post(target(endpoint.url, seconds=seconds), change())[0]


def test_a_change_is_posted_as_json_with_a_signature_that_the_librarys_own_verifier_takes() -> None:
    with answering() as endpoint:
        assert post(target(f"{endpoint.url}?key=1&b=%20"), change()) == [None]
        (call,) = endpoint.calls
    assert (call.path, call.headers["content-type"]) == ("/told?key=1&b=%20", "application/json")
    said = Webhook(SECRET).verify(call.body, call.headers)
    assert said == {"type": "tracker.changed", "timestamp": "2025-03-01T10:00:00.123Z", "data": change().as_json()}
    assert call.headers["webhook-id"] == change().id


@each_row("known", [SECRET, OTHER_SECRET])
def test_while_secrets_rotate_either_one_verifies(known: str) -> None:
    with answering() as endpoint:
        post(target(endpoint.url), change(), by=secrets(SECRET, OTHER_SECRET))
        (call,) = endpoint.calls
    Webhook(known).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(call.body, call.headers)


def test_a_change_that_is_sent_again_has_the_same_id_and_body() -> None:
    with answering(say(500), TAKE) as endpoint:
        post(target(endpoint.url), change(), change())
        first, second = endpoint.calls
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)


@each_row("given", ["", "whsec_", "A" * 32, "whsec_tooshort", "whsec_" + "A" * 400, "whsec_" + "é" * 32])
def test_a_secret_that_is_missing_or_of_another_form_is_refused_without_being_quoted(given: str) -> None:
    with pytest.raises(ConfigurationError, match="RECEIVER_TARGET_SECRETS: target shop") as refused:
        Signer("shop", secrets(given) if given else [])
    assert len(given) < 8 or given not in refused.value.message


@each_row(
    "answer",
    [
        pytest.param(say(200), id="200"),
        pytest.param(say(204, body=b""), id="204"),
        pytest.param(say(299), id="299"),
        pytest.param(say(200, body=b"x" * 100_000), id="a large body"),
        pytest.param(write(OK + b"Content-Length: 1000\r\n\r\nok", goes_on=True), id="Content-Length too long, and hangs"),
        pytest.param(write(OK + b"Content-Length: 1000\r\n\r\nok"), id="Content-Length too long, and closes"),
        pytest.param(write(OK + b"Content-Length: nonsense\r\n\r\nok"), id="Content-Length that is none"),
        pytest.param(write(OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"), id="chunks that are none"),
        pytest.param(write(OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"), id="gzip that is none"),
        pytest.param(write(OK + b"X-Ok: 1\r\nthis is no header\r\nX-Too: late\r\n\r\n"), id="a header that is none"),
        pytest.param(drip(OK + b"Content-Length: 99999\r\n\r\n"), id="a body that drips"),
        pytest.param(drip(OK + b"Content-Length: 999\r\n\r\n"), id="a small body that drips"),
        pytest.param(drip(OK + b"Transfer-Encoding: chunked\r\n\r\n"), id="the size of a chunk that drips"),
        pytest.param(drip(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "), id="a trailer that drips"),
        pytest.param(write(OK + b"\r\n"), id="no length"),
    ],
)
def test_any_2xx_means_delivered_whatever_its_body(answer: Answer) -> None:
    with answering(answer) as endpoint:
        assert post_one(endpoint) is None
        wait_until(lambda: endpoint.ended == 1, "the connection is let go of")


@each_row(
    ("answer", "words"),
    [
        (say(500), "shop answered 500."),
        (say(404), "shop answered 404."),
        (say(400, body=b"the body says planted-thing"), "shop answered 400."),
        (say(301, "Location: http://127.0.0.1:1/planted-thing"), "shop answered 301."),
        (say(304, body=b""), "shop answered 304."),
        (CLOSE, "shop did not answer: RemoteDisconnected."),
        (write(b"planted-thing\r\n\r\n"), "shop did not answer: BadStatusLine."),
        (write(b"HTTP/1.1 abc planted-thing\r\n\r\n"), "shop did not answer: BadStatusLine."),
        (write(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nok"), "shop did not answer: InvalidHeader."),
        (write(b"HTTP/1.1 200 OK\r\nX: " + b"planted-thing" * 6000 + b"\r\n\r\n"), "shop did not answer: LineTooLong."),
        (write(b"HTTP/1.1 200 OK\r\n" + b"X: planted-thing\r\n" * 200 + b"\r\n"), "shop did not answer: HTTPException."),
    ],
)
def test_everything_else_means_not_taken_and_nothing_that_was_said_is_repeated(answer: Answer, words: str) -> None:
    with answering(answer) as endpoint:
        error = post_one(endpoint)
    assert isinstance(error, NotAcknowledged)
    assert (error.message, error.requested_seconds) == (words, None)


@each_row(
    ("answer", "begins"),
    [
        (say(500, body=b"no\r\nstock"), "no stock"),
        (say(500, "Connection: close", body=b"no stock"), "no stock"),
        (say(410, body=b"we moved"), "we moved"),
        (say(500, "Content-Encoding: gzip", body=b"\x1f\x8b"), ""),
        (
            say(403, body=f"{SECRET} and {SECRET.removeprefix('whsec_')} at /told?key=planted".encode()),
            "[secret] and [secret] at /told?[secret]",
        ),
        (
            write(b"HTTP/1.1 500 No\r\nContent-Length: 90\r\n\r\nand then nothing", goes_on=True),
            "and then nothing",
        ),
    ],
)
def test_an_error_has_the_beginning_of_the_answer_without_secrets(answer: Answer, begins: str) -> None:
    with answering(answer) as endpoint:
        (error,) = post(target(f"{endpoint.url}?key=planted"), change())
    assert isinstance(error, NotAcknowledged | TargetGone)
    assert error.answer == begins
    assert "The answer begins" in describe_error(error) or not begins


def test_a_redirect_is_not_followed() -> None:
    with answering() as stranger, answering(say(307, f"Location: {stranger.url}")) as endpoint:
        error = post_one(endpoint)
        assert (stranger.connections, len(endpoint.calls)) == (0, 1)
    assert isinstance(error, NotAcknowledged)


def test_410_stops_the_target() -> None:
    with answering(say(410)) as endpoint:
        error = post_one(endpoint)
    assert isinstance(error, TargetGone)
    assert error.message == "shop answered 410 and gets no more changes."


@each_row("status", [429, 503])
def test_retry_after_is_respected(status: int) -> None:
    with answering(say(status, "Retry-After: 120")) as endpoint:
        error = post_one(endpoint)
    assert isinstance(error, TargetUnavailable)
    assert (error.message, error.requested_seconds) == (f"shop answered {status}.", 120)


@each_row(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("-5", None),
        ("1.5", None),
        ("9" * 5000, None),
        ("²", None),
        ("soon", None),
        ("Sun, 22 Nov 2026 10:02:00 GMT", 120),
        ("Sunday, 22-Nov-26 10:02:00 GMT", 120),
        ("Sun Nov 22 10:02:00 2026", 120),
        ("Sun, 22 Nov 2026 11:02:00 +0100", 120),
        ("Sun, 22 Nov 2020 10:00:00 GMT", 0),
        ("Sun, 99 Nov 2026 10:00:00 GMT", None),
        ("Sun, 22 Nov 99999999999999999999 10:00:00 GMT", None),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


@each_row(
    "answer",
    [
        pytest.param(HANG, id="hangs"),
        pytest.param(drip(b""), id="drips a status line"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Long: "), id="drips a header"),
        pytest.param(write(b"HTTP/1.1 100 Continue\r\n\r\n", goes_on=True), id="says to continue, and hangs"),
        pytest.param(write(b"HTTP/1.1 102 Processing\r\n\r\n", goes_on=True), id="says that it works, and hangs"),
    ],
)
def test_one_that_hangs_or_drips_is_cut_off_when_its_time_is_up(answer: Answer) -> None:
    with answering(answer) as endpoint:
        assert isinstance(post_one(endpoint, seconds=1.0), TimeoutError)
        wait_until(lambda: endpoint.ended == 1, "the connection is let go of while the other side goes on")


def after_interim(answer: Answer, *heads: str) -> Answer:
    """Write these interim responses, and then an answer."""

    def give(call: Call, wire: Wire) -> bool:
        wire.send("".join(f"HTTP/1.1 {head}\r\n\r\n" for head in heads).encode())
        return answer(call, wire)

    return give


@each_row(
    ("heads", "status", "words"),
    [
        (["102 Wait"], 200, None),
        (["103 Hint\r\nLink: </a>; rel=preload\r\nConnection: close"], 200, None),
        (["100 Continue", "103 Hint", "102 Wait", "100 Continue"], 204, None),
        (["102 Wait"], 404, "shop answered 404."),
        (["103 Hint"] * 99, 200, "shop did not answer: HTTPException."),
    ],
)
def test_interim_responses_are_passed_over_and_the_final_one_counts(heads: list[str], status: int, words: str | None) -> None:
    with answering(after_interim(say(status, body=b""), *heads), TAKE) as endpoint:
        first, second = post(target(endpoint.url), change(1), change(2))
        assert [call.change["sequence"] for call in endpoint.calls] == [1, 2]
    assert second is None
    assert (first is None) == (words is None)
    assert first is None or (isinstance(first, NotAcknowledged) and first.message == words)


def test_after_a_switch_of_protocols_the_connection_is_not_used_again() -> None:
    with answering(after_interim(HANG, "101 Switching Protocols\r\nUpgrade: other"), TAKE) as endpoint:
        first, second = post(target(endpoint.url), change(1), change(2))
        assert [call.connection for call in endpoint.calls] == [1, 2]
    assert isinstance(first, NotAcknowledged)
    assert (first.message, second) == ("shop answered 101.", None)


def test_a_handshake_that_drips_is_cut_off_too() -> None:
    ended: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        listener.settimeout(DEADLINE_SECONDS)
        (error,) = asyncio.run(_post_to_one_that_never_finishes(url, listener, ended))
    assert isinstance(error, TimeoutError)
    assert ended == [b""]


async def _post_to_one_that_never_finishes(url: str, listener: socket.socket, ended: list[bytes]) -> list[Exception | None]:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(DEADLINE_SECONDS)
            connection.recv(65536)
            connection.sendall(b"\x16\x03\x03\x40\x00")  # the beginning of a record that never ends
            ended.append(connection.recv(65536))

    serving = asyncio.create_task(asyncio.to_thread(serve))
    posted = await asyncio.to_thread(post, target(url, seconds=1.0), change())
    await serving
    return posted


def test_connections_are_kept_and_one_that_was_closed_meanwhile_costs_nothing() -> None:
    with answering() as endpoint:
        assert post(target(endpoint.url), *(change(move) for move in range(1, 6))) == [None] * 5
        assert {call.connection for call in endpoint.calls} == {1}
    with answering(TAKE, CLOSE, TAKE) as endpoint:
        assert post(target(endpoint.url), change(1), change(2)) == [None, None]
        assert [(call.connection, call.change["sequence"]) for call in endpoint.calls] == [(1, 1), (1, 2), (2, 2)]


@each_row(("idle_seconds", "reuses"), [(60.0, True), (0.0, False)])
def test_a_connection_that_was_idle_for_long_is_not_used_again(idle_seconds: float, reuses: bool) -> None:
    with answering() as endpoint:
        connections = Connections(endpoint.url, 10.0, allow_private=True, idle_seconds=idle_seconds)
        for _ in range(2):
            assert Post(connections, "/", {}, b"{}").run().status == 200
        connections.close()
        assert (endpoint.calls[0].connection == endpoint.calls[1].connection) == reuses


def test_many_changes_at_once_go_side_by_side() -> None:
    with answering() as endpoint:
        assert post(target(endpoint.url), *(change(move) for move in range(1, 33)), at_once=True) == [None] * 32
        assert sorted(one["sequence"] for one in endpoint.changes) == list(range(1, 33))


def test_an_unreachable_target_is_reported_without_the_address() -> None:
    (error,) = post(target(f"http://127.0.0.1:{free_port()}/planted?key=planted"), change())
    assert isinstance(error, NotAcknowledged)
    assert error.message == "shop did not answer: ConnectionRefusedError."


@each_row("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"])
def test_a_private_address_is_not_connected_to_however_it_is_written(host: str) -> None:
    with answering() as endpoint:
        (error,) = post(target(f"http://{host}:{endpoint.port}/", allow_private=False), change())
        assert endpoint.connections == 0
        assert post(target(f"http://{host}:{endpoint.port}/"), change()) == [None]
    assert isinstance(error, NotAcknowledged)
    assert error.message.startswith("shop was not called: its host has a private or reserved address")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for the name `localhost`, signed by itself, with its key in the same file."""
    key, file = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return file


@pytest.mark.parametrize(
    ("host", "trusted", "words"),
    [
        ("localhost", True, None),
        ("127.0.0.1", True, "IP address mismatch"),
        ("localhost", False, "self-signed certificate"),
    ],
)
def test_the_certificate_is_checked_against_the_name(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, words: str | None
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with answering(tls=context) as endpoint:
        (error,) = post(target(f"https://{host}:{endpoint.port}/"), change())
        if words is None:
            assert error is None
            assert (endpoint.names, endpoint.calls[0].headers["host"]) == ([host], f"{host}:{endpoint.port}")
            return
        assert isinstance(error, NotAcknowledged)
        assert words in error.message
        assert endpoint.calls == []


def test_the_body_is_what_is_signed() -> None:
    body = change().write_body()
    headers = Signer("shop", secrets(SECRET)).sign(change().id, datetime.now(UTC), body)
    assert Webhook(SECRET).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)
