"""What a sender is told on the command line: a token that need not stand there, a URL, an address, a run."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from receiver.access.addresses import read_address
from receiver.domain.trimming import trim
from receiver.settings.files import read_first_line


class Token(click.ParamType[str]):
    """A token; never shown."""

    name = "token"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check that a header can carry it."""
        text = trim(str(value))
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            self.fail("expected a token of printable ASCII letters without blanks.", param, ctx)
        return text


def find_token(given: str | None, file: Path | None) -> str:
    """Return the token that was given, or that stands in the first line of a file. Raises UsageError."""
    context = click.get_current_context()
    if given is not None and file is not None:
        raise click.UsageError("Expected --token or --token-file, not both.", context)
    if file is not None:
        return Token().convert(read_first_line(file), None, context)
    if given is None:
        raise click.UsageError("Expected --token, --token-file or the variable SIMULATE_TOKEN.", context)
    return given


class WebhookUrlParam(click.ParamType[str]):
    """An http or https URL with a host and without a user."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it; it is not quoted, since it may carry a secret."""
        url = trim(str(value))
        try:
            parts = urlsplit(url)
            good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.username is None and parts.port != 0
        except ValueError:
            good = False
        if not good or not url.isascii() or not url.isprintable() or " " in url:
            self.fail("expected an http or https URL without a user, such as http://127.0.0.1:8080/webhooks/ship24.", param, ctx)
        return url


class Digits(click.ParamType[str]):
    """Up to eight hexadecimal digits; the commands get eight."""

    name = "run"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the digits."""
        text = trim(str(value)).lower()
        if not 1 <= len(text) <= 8 or set(text) - set("0123456789abcdef"):
            self.fail(f"{value!r}: expected up to eight hexadecimal digits.", param, ctx)
        return text.zfill(8)


class Elsewhere(click.ParamType[str]):
    """An address of this machine."""

    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the form."""
        try:
            return str(read_address(trim(str(value))))
        except ValueError:
            self.fail(f"{value!r}: expected an address.", param, ctx)
