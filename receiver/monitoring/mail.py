"""Alarm notices by mail, over SMTP. A password goes only over an encrypted connection, or to this machine."""

import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from receiver import clock
from receiver.access.addresses import is_loopback
from receiver.access.bearer import Secret
from receiver.domain.labels import count
from receiver.domain.notices import Notice, write_text, write_title
from receiver.monitoring.notice_channels import NotSent, run_bounded
from receiver.relay.connections import OpenConnection

_SLACK_SECONDS = 1.0  # the time-out of the whole mail comes first
_PORTS = {"smtp": 587, "smtps": 465}


class MailRoute(NamedTuple):
    """The way of a mail: the server as `smtp://user:password@host:587` or `smtps://…`, the sender and the recipients."""

    url: Secret
    sender: str
    recipients: tuple[str, ...]


class Mailer:
    """Sends mails. `smtps` is TLS from the start; `smtp` uses STARTTLS if the server offers it."""

    def __init__(self, route: MailRoute, seconds: float) -> None:
        self._route = route
        self._seconds = seconds

    def __call__(self, notice: Notice) -> str:
        """Send a notice and return what came back. Raises NotSent, or an OSError, after a bounded time."""
        opened = OpenConnection(self._seconds + _SLACK_SECONDS, allow_private=True, resolve=socket.getaddrinfo)
        message = _write_mail(notice, self._route)
        return run_bounded(self._seconds, lambda: self._send(opened, message), opened.cut)

    def _send(self, opened: OpenConnection, message: EmailMessage) -> str:
        try:
            return self._talk(opened, message)
        except smtplib.SMTPException as error:
            raise NotSent(_explain(error)) from None
        except ssl.SSLCertVerificationError:
            raise NotSent("the certificate of the mail server is not valid for its name") from None
        finally:
            opened.close()

    def _talk(self, opened: OpenConnection, message: EmailMessage) -> str:
        parts = urlsplit(self._route.url.reveal())
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        tls = ssl.create_default_context()
        is_encrypted, is_local = parts.scheme == "smtps", is_loopback(host)
        with _SmtpSession(opened, host, port, self._seconds, tls if is_encrypted else None) as session:
            session.ehlo()
            if not is_encrypted and not is_local and session.has_extn("starttls"):
                session.starttls(context=tls)
                is_encrypted = True
            if parts.username:
                if not is_encrypted and not is_local:
                    raise NotSent("the mail server offers no encryption, so the password was not sent")
                session.login(unquote(parts.username), unquote(parts.password or ""))
            refused = session.send_message(message, self._route.sender, self._route.recipients)
        recipients = count(len(self._route.recipients), "recipient")
        if refused:
            raise NotSent(f"the mail server refused {len(refused)} of {recipients}")
        return f"the mail server took it for {recipients}"


class _SmtpSession(smtplib.SMTP):
    """A session over an OpenConnection, which another thread can cut."""

    def __init__(self, opened: OpenConnection, host: str, port: int, seconds: float, tls: ssl.SSLContext | None) -> None:
        self._connection = opened
        self._tls = tls
        super().__init__(host, port, timeout=seconds)

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        connected = self._connection.open(host, port)
        return connected if self._tls is None else self._tls.wrap_socket(connected, server_hostname=host)


def _write_mail(notice: Notice, route: MailRoute) -> EmailMessage:
    mail = EmailMessage(policy=SMTP)
    mail["Subject"] = " ".join(write_title(notice).split())  # a line break would begin another header
    mail["From"] = route.sender
    mail["To"] = ", ".join(route.recipients)
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = make_msgid(domain=route.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(write_text(notice))
    return mail


def _explain(error: smtplib.SMTPException) -> str:
    """Return the error in words, without the server's text: it could repeat what it got."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the mail server does not accept the user and the password ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "the mail server refused every recipient"
    if isinstance(error, smtplib.SMTPSenderRefused):
        return f"the mail server refused the sender ({error.smtp_code})"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answered {error.smtp_code}" if error.smtp_code > 0 else "the server speaks no SMTP"
    return f"the mail server ended the connection, or does not offer what is needed ({type(error).__name__})"
