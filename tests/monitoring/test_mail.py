"""Alarm notices by mail, however the server behaves."""

import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from receiver.access.bearer import Secret
from receiver.domain.notices import Notice, write_text
from receiver.monitoring.mail import Mailer, MailRoute
from receiver.monitoring.notice_channels import NotSent
from receiver.monitoring.notifier import AlarmNotifier, NotifierTimings
from tests.harness.ports import free_port
from tests.harness.service import DEADLINE_SECONDS
from tests.harness.smtp_server import SmtpServer, smtp_server
from tests.harness.table import each_row

BEGAN = Notice("refused", "ship24", "began", "120 größere were rejected.", "2026-11-22T10:00:00.000Z")
PASSWORD = "planted:p@ss"
ACCOUNT = "shop%40example.com:planted%3Ap%40ss"
TO = ("ops@example.com", "night@example.com")


def make_route(host: str, port: int, account: str = "", scheme: str = "smtp") -> MailRoute:
    return MailRoute(Secret("smtp_url", f"{scheme}://{account}{'@' if account else ''}{host}:{port}"), "receiver@example.com", TO)


def send(server: SmtpServer, account: str = "", host: str = "127.0.0.1", notice: Notice = BEGAN) -> str:
    return Mailer(make_route(host, server.port, account), DEADLINE_SECONDS)(notice)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a mail server that is not on this machine, as far as its name says."""
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *arguments: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host == "mail.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    return "mail.example"


@pytest.fixture(scope="module")
def make_tls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], tuple[ssl.SSLContext, Path]]:
    """Make the certificate of mail.example and the context of a server with it."""

    def make() -> tuple[ssl.SSLContext, Path]:
        folder = tmp_path_factory.mktemp("tls")
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        names = ("-subj", "/CN=mail.example", "-addext", "subjectAltName=DNS:mail.example")
        made = (
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        )
        subprocess.run(["openssl", "req", "-x509", "-days", "1", *made, *names], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context, certificate

    return make


def test_a_mail_has_the_notice_and_its_envelope() -> None:
    with smtp_server() as server:
        assert send(server) == "the mail server took it for 2 recipients"
        (mail,) = server.mails
    assert (mail.sender, mail.recipients) == ("receiver@example.com", list(TO))
    assert mail.content["Subject"] == "Alarm: Deliveries are rejected (Ship24)"
    assert (mail.content["From"], mail.content["To"]) == ("receiver@example.com", ", ".join(TO))
    assert mail.content["Auto-Submitted"] == "auto-generated"
    assert mail.content["Date"] is not None
    assert mail.content.get_content().splitlines() == write_text(BEGAN).splitlines()  # type: ignore[attr-defined]


def test_a_line_break_in_a_subject_begins_no_header() -> None:
    with smtp_server() as server:
        send(server, notice=BEGAN._replace(subject="shop\r\nBcc: all@example.com"))
        (mail,) = server.mails
    assert mail.content["Bcc"] is None
    assert mail.content["Subject"].endswith("(Shop Bcc: all@example.com)")


def test_a_password_goes_to_this_machine_and_over_a_checked_encrypted_connection(
    elsewhere: str, make_tls: Callable[[], tuple[ssl.SSLContext, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp_server("AUTH PLAIN") as server:
        send(server, ACCOUNT)
        assert server.logins == [("shop@example.com", PASSWORD)]
    tls, certificate = make_tls()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with smtp_server("STARTTLS", "AUTH PLAIN", tls=tls) as server:
        send(server, ACCOUNT, elsewhere)
        assert server.logins == [("shop@example.com", PASSWORD)]
        assert [mail.encrypted for mail in server.mails] == [True]


def test_a_password_is_not_sent_where_others_could_read_it(
    elsewhere: str, make_tls: Callable[[], tuple[ssl.SSLContext, Path]]
) -> None:
    with smtp_server("AUTH PLAIN") as server:
        with pytest.raises(NotSent, match="offers no encryption, so the password was not sent"):
            send(server, ACCOUNT, elsewhere)
        assert (server.logins, server.mails, "auth" in server.commands) == ([], [], False)
        send(server, "", elsewhere)
        assert len(server.mails) == 1, "without a password a mail can go to a server in the same network"
    with smtp_server("STARTTLS", "AUTH PLAIN", tls=make_tls()[0]) as server:
        with pytest.raises(NotSent, match="certificate of the mail server is not valid"):
            send(server, ACCOUNT, elsewhere)
        assert (server.logins, server.mails) == ([], [])


@each_row(
    ("answers", "cause"),
    [
        ({"auth": f"535 no {PASSWORD}"}, "the mail server does not accept the user and the password (535)"),
        ({"mail": "550 no"}, "the mail server refused the sender (550)"),
        ({"rcpt": "550 no"}, "the mail server refused every recipient"),
        ({"data": "451 later"}, "the mail server answered 451"),
        ({"connect": "554 go away"}, "the mail server answered 554"),
        ({"connect": "HTTP/1.1 400 Bad Request"}, "the server speaks no SMTP"),
    ],
)
def test_what_a_server_refuses_is_said_in_words_without_its_text(answers: dict[str, str], cause: str) -> None:
    with smtp_server("AUTH PLAIN", answers=answers) as server, pytest.raises(NotSent) as raised:
        send(server, ACCOUNT)
    assert str(raised.value) == cause


@each_row("silent_at", ["connect", "ehlo", "data"])
def test_a_server_that_hangs_is_left_after_a_bounded_time(silent_at: str) -> None:
    with smtp_server(answers={silent_at: ""}) as server, pytest.raises(NotSent, match=r"no response within 0\.3 seconds"):
        Mailer(make_route("127.0.0.1", server.port), 0.3)(BEGAN)


def test_the_password_is_in_no_repr_and_in_no_error() -> None:
    route = make_route("127.0.0.1", free_port(), ACCOUNT)
    told = AlarmNotifier(None, (), NotifierTimings(), mail=route)
    (result,) = told.test(BEGAN)
    assert (result.channel, result.sent, result.answer) == ("mail", False, "the connection was refused")
    assert "planted" not in repr(route) + repr(result)
