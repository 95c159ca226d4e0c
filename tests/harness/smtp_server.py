"""An SMTP server on loopback that keeps mails and answers as the test says."""

import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import NamedTuple


class ReceivedMail(NamedTuple):
    """One mail with its envelope, and whether the connection was encrypted."""

    sender: str
    recipients: list[str]
    content: Message
    encrypted: bool


class SmtpServer:
    """Keep every mail, and every user with a password.

    `answers` has responses in place of those in order, by command; an empty one is never sent. `offers` are the extensions.
    """

    def __init__(self, offers: tuple[str, ...], tls: ssl.SSLContext | None, answers: dict[str, str]) -> None:
        self.mails: list[ReceivedMail] = []
        self.logins: list[tuple[str, str]] = []
        self.commands: list[str] = []
        self.offers = offers
        self.tls = tls
        self.answers = answers
        self.closing = threading.Event()
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _make_handler(self) -> type[socketserver.StreamRequestHandler]:
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                session = _Session(self, server)
                with suppress(OSError):  # the client is gone, or does not trust the certificate
                    session.talk()
                self.connection.close()  # with TLS it is not the socket that the server knows

        return Handler


class _Session:
    """One connection."""

    def __init__(self, handler: socketserver.StreamRequestHandler, server: SmtpServer) -> None:
        self._handler = handler
        self._server = server
        self._encrypted = False
        self._sender = ""
        self._recipients: list[str] = []

    def talk(self) -> None:
        self._say(self._server.answers.get("connect", "220 ready"))
        while line := self._handler.rfile.readline():
            command, _, rest = line.decode().strip().partition(" ")
            self._server.commands.append(command.lower())
            if (answer := self._server.answers.get(command.lower())) is not None:
                self._say(answer)
            else:
                getattr(self, f"_{command.lower()}")(rest)
            if command.lower() == "quit":
                return

    def _say(self, line: str) -> None:
        if not line:
            self._server.closing.wait()
        self._handler.wfile.write(f"{line}\r\n".encode())

    def _ehlo(self, _name: str) -> None:
        offers = [offer for offer in self._server.offers if offer != "STARTTLS" or not self._encrypted]
        lines = ["mail.example", *offers]
        for line in lines[:-1]:
            self._say(f"250-{line}")
        self._say(f"250 {lines[-1]}")

    def _starttls(self, _rest: str) -> None:
        assert self._server.tls is not None
        self._say("220 go ahead")
        wrapped = self._server.tls.wrap_socket(self._handler.connection, server_side=True, do_handshake_on_connect=False)
        self._handler.connection = wrapped
        wrapped.do_handshake()
        self._handler.rfile, self._handler.wfile = wrapped.makefile("rb"), wrapped.makefile("wb", 0)  # type: ignore[assignment]
        self._encrypted = True

    def _auth(self, rest: str) -> None:
        _, user, password = b64decode(rest.partition(" ")[2]).decode().split("\0")
        self._server.logins.append((user, password))
        self._say("235 welcome")

    def _mail(self, rest: str) -> None:
        self._sender, self._recipients = rest.partition("<")[2].partition(">")[0], []
        self._say("250 ok")

    def _rcpt(self, rest: str) -> None:
        self._recipients.append(rest.partition("<")[2].partition(">")[0])
        self._say("250 ok")

    def _data(self, _rest: str) -> None:
        self._say("354 go on")
        content = b""
        while (line := self._handler.rfile.readline()) != b".\r\n":
            content += line
        mail = ReceivedMail(self._sender, self._recipients, message_from_bytes(content, policy=default), self._encrypted)
        self._server.mails.append(mail)
        self._say("250 taken")

    def _rset(self, _rest: str) -> None:
        self._say("250 ok")

    def _quit(self, _rest: str) -> None:
        self._say("221 bye")


@contextmanager
def smtp_server(*offers: str, tls: ssl.SSLContext | None = None, answers: dict[str, str] | None = None) -> Iterator[SmtpServer]:
    """Run an SMTP server until the block ends."""
    server = SmtpServer(offers, tls, answers or {})
    try:
        yield server
    finally:
        server.close()
