"""`receiver check`, against our service, against receivers with mistakes, and against servers that are no receivers."""

import gzip
import json
import re
import signal
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from receiver import cli
from receiver.testkit.check.repeats import COPIES
from tests.conftest import StartService
from tests.harness.endpoint import CLOSE, HANG, TAKE, Answer, Call, Wire, answering, drip, say, write
from tests.harness.ports import free_port
from tests.harness.rows import Like
from tests.harness.service import DEADLINE_SECONDS, SHIP24, TOKEN, wait_until
from tests.harness.tutorial_receivers import Careless, FirstOnly, Tutorial, Yes, wrong

OPS = "the-ops-token-of-these-tests"


class Done(NamedTuple):
    """How the command ended, and what it printed."""

    code: int
    out: str
    err: str

    def results(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.out)["results"]
        return found

    def named(self, verdict: str) -> set[str]:
        return {result["name"] for result in self.results() if result["verdict"] == verdict}

    def seen(self, name: str) -> str:
        return str(next(result["seen"] for result in self.results() if result["name"] == name))


Check = Callable[..., Done]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the command in this process, in an empty folder and 80 columns. Its output must have no token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def check(url: str, *arguments: str, token: str | None = TOKEN, marked: bool = False) -> Done:
        given = [*([] if token is None else ["--token", token]), *([] if marked else ["--unmarked"])]
        patient = ("--timeout", "60")  # a slow machine is no slow receiver
        monkeypatch.setattr(sys, "argv", ["receiver", "check", url, *given, *patient, *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        done = Done(ended.value.code, *capsys.readouterr())
        assert not [secret for secret in (TOKEN, OPS) if secret in done.out + done.err]
        return done

    return check


def test_our_service_passes_everything_again_and_again(service: StartService, sqlite_url: str, check: Check) -> None:
    ours = service(sqlite_url, ops_tokens=OPS)
    for _ in range(2):
        ours_only = ("--expect-ops", "--ops-token", OPS, "--token-in-query", "--json")
        done = check(f"{ours.url}{SHIP24}", *ours_only, marked=True)
        assert [result for result in done.results() if result["verdict"] != "pass"] == []
        assert (done.code, json.loads(done.out)["passed"]) == (0, True)
    numbers = ours.table("trackers", "tracking_number", tracking_number=Like("CHECK%"))
    assert len({row["tracking_number"][:13] for row in numbers}) == 2


def test_a_receiver_out_of_a_tutorial_fails_what_it_does_wrong(check: Check) -> None:
    with wrong(Tutorial) as url:
        done = check(url, "--json")
    assert done.code == 1
    assert done.named("fail") == {
        *("HEAD without a token", "HEAD with the token", "proof of delivery", "shipment: null"),
    }
    assert done.named("warn") == {
        *("trailing slash", "scheme in lower case", "not JSON", "wrong root", "the polling API's body", "no messages"),
        *("no events", "no key `success`"),
    }
    assert done.named("unknown") == set()
    assert done.seen("HEAD without a token") == "405"
    assert done.seen("trailing slash") == "308 to /webhooks/ship24"
    assert done.seen("shipment: null") == "request 1 of 2: 200, but with `success: false` in it"


def test_a_careless_receiver_fails_what_it_does_wrong(check: Check) -> None:
    with wrong(Careless) as url:
        done = check(url, "--json")
    assert done.code == 1
    assert done.named("fail") == {
        *("no token", "shipment: null", "recipient: null", "a date alone"),
        *("the same delivery again", "the same delivery in parallel"),
    }
    assert done.named("warn") == {"scheme in lower case", "token before body", "an invalid message among valid ones"}
    assert done.named("unknown") == set()


def test_a_receiver_that_answers_200_to_everything_fails_the_cases_of_rejection(check: Check) -> None:
    with wrong(Yes) as url:
        done = check(url, "--token-in-query", "--json")
    assert done.code == 1
    assert done.named("fail") == {
        *("no token", "wrong token", "token in the query only", "100 messages in one delivery", "no token repeated"),
    }
    assert done.named("warn") == {
        *(
            "token under another scheme",
            "token before body",
            "not JSON",
            "wrong root",
            "the polling API's body",
            "1 MB in one delivery",
        ),
    }
    assert done.named("unknown") == set()


def test_a_receiver_that_drops_events_is_found_out_by_its_end_states(
    service: StartService, sqlite_url: str, check: Check
) -> None:
    ours = service(sqlite_url, ops_tokens=OPS)
    with wrong(FirstOnly, service=ours.url) as url:
        done = check(url, "--expect-ops", "--ops-token", OPS, "--ops-url", f"{ours.url}/", "--json")
    assert done.code == 1
    assert done.named("fail") == {"nine events in one message: the tracker"}
    assert done.seen("nine events in one message: the tracker") == "1 events instead of 9, or another order"
    shut_out = check(f"{ours.url}{SHIP24}", "--expect-ops", "--ops-token", "of-somebody-else", "--json")
    assert shut_out.named("fail") == {"two messages in one delivery: the tracker"}
    assert shut_out.seen("nine events in one message: the tracker").startswith("not checked: the ops API answered 401")


def test_somebody_elses_receiver_has_no_end_states_to_look_at(check: Check) -> None:
    with wrong(Yes) as url:
        done = check(url, "--expect-ops", "--ops-token", OPS, "--json")
    assert done.seen("one message") == "no verdicts in the response: not this service"
    assert done.seen("two messages in one delivery: the tracker") == "not checked: two messages in one delivery did not pass"
    assert "nine events in one message: the tracker" in done.named("fail")


def test_where_the_right_token_is_not_let_in_nothing_is_said_of_bodies(
    service: StartService, sqlite_url: str, check: Check
) -> None:
    strict = service(sqlite_url, ship24_ip_policy="enforce")
    done = check(f"{strict.url}{SHIP24}", "--json")
    assert done.code == 1
    assert done.named("fail") == {"one message"}
    assert done.named("warn") == set()
    assert done.seen("nine events in one message") == "not tried: even one message is answered 403"
    assert {"HEAD without a token", "wrong token", "no token repeated"} <= done.named("pass")
    assert "no TLS connection: the server may not speak TLS" in check(f"https{strict.url.removeprefix('http')}{SHIP24}").err


def test_the_table_fits_a_terminal_and_tells_of_each_failure_what_ship24_does(check: Check) -> None:
    with wrong(Careless) as url:
        done = check(url)
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if re.fullmatch(r"pass  HEAD without a token +200", line)]
    told = " ".join(" ".join(lines[lines.index("fail: a date alone") + 1 :]).split())
    assert told.startswith(
        'request 2022-08-14: any time on that day expected 2xx seen 500 {"error": "internal"} Ship24 counts the delivery as '
        "failed and repeats it: 20 attempts over about six days, then never again page docs.ship24.com/data-format warn: "
    )
    assert any("6 fail, 3 warn" in line for line in lines)
    assert [line for line in lines if line.startswith("pass: ")] == []


def test_on_demand_it_tells_of_passed_cases_too_what_ship24_does(check: Check) -> None:
    with answering() as endpoint:
        lines = check(endpoint.url, "--all").out.splitlines()
    told = lines[lines.index("pass: HEAD without a token") + 1 :]
    assert [line.split("  ")[0] for line in told[:6] if not line.startswith(" ")] == [
        "request",
        "expected",
        "seen",
        "Ship24",
        "page",
    ]


def flood(head: bytes, piece: bytes) -> Answer:
    """Answer without an end, as fast as it is read."""

    def answer(_call: Call, wire: Wire) -> bool:
        wire.send(head)
        while not wire.closing.is_set():
            wire.send(piece * (65536 // len(piece)))
        return False

    return answer


HOSTILE: list[tuple[str, Answer, str]] = [
    ("closes", CLOSE, "the connection was closed without a response"),
    ("garbage", write(b"SSH-2.0-here\r\n\x00\xff\r\n\r\n"), "the response is not valid HTTP"),
    ("endless head", write(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 100_000), "the response is not valid HTTP"),
    ("endless line", write(b"HTTP/1.1 200 " + b"x" * 3_000_000), "the response is not valid HTTP"),
    (
        "half an answer",
        write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        "the connection was closed within the response",
    ),
    (
        "bad chunks",
        write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        "the response is not valid HTTP",
    ),
    ("negative length", write(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhi"), "the response is not valid HTTP"),
    ("continues", flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "more than 1500 kB received without an end of the response"),
    ("flood", flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x"), "200, and a body of more than 1000 kB"),
    ("5 MB", say(200, body=b"x" * 5_000_000), "200, and a body of more than 1000 kB"),
    (
        "a bomb",
        say(200, "Content-Encoding: gzip", body=gzip.compress(b"0" * 50_000_000)),
        "200, and a body of more than 1000 kB",
    ),
    ("a steered terminal", say(200, body=b"\x1b[2J\xff\xe2\x80\xaegone"), r"200 \x1b[2J\xff\u202egone"),
    ("a steered redirect", say(302, "Location: /\x1b[2J\xe2"), r"302 to /\x1b[2Jâ"),
    ("a deep answer", say(200, body=b"[" * 100_000), f"200 {'[' * 60}…"),
]


@pytest.mark.parametrize(("answer", "seen"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_what_answers_no_decent_way_neither_breaks_it_nor_holds_it_up(check: Check, answer: Answer, seen: str) -> None:
    with answering(answer) as endpoint:
        done = check(endpoint.url, "--json")
    assert done.code == 1
    assert seen in done.seen("one message") + done.seen("no token")


@pytest.mark.parametrize(
    "answer", [HANG, drip(b"HTTP/1.1 200 OK\r\nX: "), drip(b"HTTP/1.1 200 OK\r\n\r\n")], ids=["hangs", "drips", "drips on"]
)
def test_a_server_whose_answers_never_end_gets_only_a_few_requests(check: Check, answer: Answer) -> None:
    with answering(answer) as endpoint:
        done = check(endpoint.url, "--timeout", "0.2", "--json")
    assert done.code == 1
    assert done.seen("one message") == "no complete response within 0.2 s"
    assert done.seen("1 MB in one delivery") == "not tried: no response to 3 cases in a row"
    assert done.seen("response time").endswith("without: no complete response within 0.2 s")
    assert len(endpoint.calls) < 10


def test_ctrl_c_does_not_wait_for_concurrent_requests() -> None:
    bodies: list[bytes] = []

    def choose(call: Call) -> Answer:
        bodies.append(call.body)
        return HANG if bodies.count(call.body) > 3 else TAKE

    with answering(choose=choose) as endpoint:
        command = [sys.executable, "-m", "receiver", "check", endpoint.url, "--token", TOKEN, "--timeout", "60", "--unmarked"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            wait_until(lambda: COPIES in Counter(bodies).values(), "all copies are under way")
            running.send_signal(signal.SIGINT)
            told = running.communicate(timeout=DEADLINE_SECONDS)
        assert (running.returncode, *told) == (130, b"", b"\n")


def test_an_unreachable_url_is_one_line(check: Check) -> None:
    port = free_port()
    done = check(f"http://127.0.0.1:{port}/told?secret=in-the-url")
    assert done == (1, "", f"receiver: No receiver answers at http://127.0.0.1:{port}/told: connection refused.\n")
    assert "unknown host name" in check(f"http://{'a' * 70}/").err


def test_a_wrong_address_is_said_once_not_for_every_body(check: Check) -> None:
    with answering(say(404)) as endpoint:
        done = check(endpoint.url, "--json")
    assert done.code == 1
    assert done.named("fail") == {"HEAD without a token", "HEAD with the token", "one message"}
    assert done.seen("the same delivery again") == "not tried: even one message is answered 404"
    assert len(endpoint.calls) < 10


def test_a_short_token_that_stands_in_an_answer_by_chance_is_not_repeated_but_not_shown_either(check: Check) -> None:
    with answering(say(401, body=b"wrong key")) as endpoint:
        done = check(endpoint.url, "--json", token="key")
    assert done.seen("one message") == "401 wrong [token]"
    assert "no token repeated" in done.named("pass")


@pytest.fixture
def server_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for the name `localhost`, trusted here."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return context


def test_a_certificate_that_is_not_good_is_named(check: Check, server_tls: ssl.SSLContext) -> None:
    with answering(tls=server_tls) as endpoint:
        other_name = check(endpoint.url)
        assert (other_name.code, endpoint.calls) == (1, [])
        right_name = check(f"https://localhost:{endpoint.port}/told", "--json")
        assert right_name.seen("one message") == "200"
    assert "the certificate is not valid (IP address mismatch" in other_name.err


@pytest.mark.parametrize(
    ("url", "arguments", "expected"),
    [
        ("ftp://here/", (), "begins with http:// or https://"),
        ("here/webhooks", (), "begins with http:// or https://"),
        ("http://", (), "names a host"),
        ("http://user:pass-word@here/", (), "without a user and a password"),
        ("http://here:99999999/", (), "a URL such as"),
        ("http://here/", ("--timeout", "0"), "--timeout"),
        ("http://here/", ("--timeout", "nan"), "--timeout"),
        ("http://here/", ("--expect-ops",), "CHECK_OPS_TOKEN"),
        ("http://here/", ("--token-file", "-"), "not both"),
        ("http://here/", ("--ops-url", "http://there/"), "--expect-ops"),
        ("http://here/", ("--token", " "), "expected text"),
        ("http://here/", ("--token", "two\nlines"), "printable"),
    ],
)
def test_wrong_use_is_one_line_that_quotes_no_secret(check: Check, url: str, arguments: tuple[str, ...], expected: str) -> None:
    done = check(url, *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert expected in done.err
    assert "pass-word" not in done.err


def test_the_token_comes_from_a_variable_a_file_or_for_this_machine_the_settings(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with answering(CLOSE) as endpoint:
        from_file = check(endpoint.url, "--token-file", "token", token=None)
        assert endpoint.calls[1].headers["authorization"] == f"Bearer {TOKEN}"
        monkeypatch.setenv("RECEIVER_SHIP24_TOKENS", f"old:the-old-one,new:{TOKEN}")
        from_settings = check(endpoint.url, token=None)
        assert endpoint.calls[-1].headers["authorization"] == "Bearer the-old-one"
        monkeypatch.setenv("CHECK_TOKEN", TOKEN)
        from_variable = check(endpoint.url, token=None)
        assert endpoint.calls[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert [done.code for done in (from_file, from_settings, from_variable)] == [1, 1, 1]


def test_another_host_never_gets_the_tokens_of_the_settings(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_SHIP24_TOKENS", TOKEN)
    done = check("http://receiver.invalid/", token=None)
    assert (done.code, "CHECK_TOKEN" in done.err) == (2, True)
