"""The settings page: settings without secrets, setup windows, and the audit log."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from receiver.access.addresses import Network
from receiver.access.bearer import Secret
from receiver.access.setup_windows import SetupWindows
from receiver.clock import to_micros
from receiver.domain.tokens import TokenUse, find_replacement
from receiver.errors import NotFound, UnexpectedShape
from receiver.maintenance.setup_windows import open_window
from receiver.monitoring.notifier import AlarmNotifier
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect
from receiver.writer.client import WriterClient

_PATH = "/ops/settings"
_AUDIT_ENTRIES = 20  # of one page
_MINUTES = (5, 15, 30, 60)
_LIMITS = (
    ("max_body_bytes", "Maximum body size", "size"),
    ("max_future_hours", "Maximum future date", "hours"),
    ("body_retention_days", "Keep bodies for", "days"),
    ("refused_retention_days", "Keep rejected deliveries for", "days"),
    ("change_retention_days", "Keep failed changes for", "days"),
    ("delivered_retention_days", "Keep records of delivered changes for", "days"),
    ("body_timeout_seconds", "Request timeout", "seconds"),
    ("commit_timeout_seconds", "Commit timeout", "seconds"),
    ("queue_deliveries", "Queue size", "number"),
)
_WITHOUT_LIMIT = {"body_retention_days", "change_retention_days", "delivered_retention_days"}  # 0 means forever


def show_settings(settings: Settings, database: Database, notifier: AlarmNotifier, page_request: ConsoleRequest) -> Page:
    """Show the settings, the setup windows and the audit log."""
    closes = queries.setup_windows(database)
    values = {
        "sources": [
            _describe(settings, database, source, closes.get(source, 0), to_micros(page_request.now)) for source in NAMES
        ],
        "ops_tokens": _describe_tokens(database, "ops", settings.ops_tokens),
        "read_tokens": _describe_tokens(database, "ops", settings.ops_read_tokens),
        "proxies": [write_network(network) for network in settings.trusted_proxies],
        "limits": [_read_limit(settings, *limit) for limit in _LIMITS],
        "channels": notifier.channels(),
        "audit": queries.list_audit(database, _AUDIT_ENTRIES, dict(page_request.query).get("cursor")),
        "audit_entries": _AUDIT_ENTRIES,
    }
    return Page("settings.html", "settings", values)


def ask_for_window(settings: Settings, database: Database, page_request: ConsoleRequest) -> Page:
    """Ask whether to open or to close the setup window of a source. Raises NotFound."""
    source = _read_source(settings, page_request)
    closes_at = queries.setup_windows(database).get(source, 0)
    is_open = closes_at > to_micros(page_request.now)
    values = {
        "source": source,
        "closes_at": closes_at if is_open else None,
        "minutes": _MINUTES,
        "policy": settings.access_policy(source).policy.value,
    }
    return Page("setup_window.html", "settings", values)


async def change_window(
    settings: Settings, writer_client: WriterClient, windows: SetupWindows, page_request: ConsoleRequest, form: Form
) -> Response:
    """Open or close the setup window of a source and write an audit entry. Raises NotFound, UnexpectedShape."""
    source = _read_source(settings, page_request)
    if form.get("command") == "close":
        closes_at = to_micros(page_request.now)
    elif form.get("command") == "open" and form.get("minutes") in {str(minutes) for minutes in _MINUTES}:
        closes_at = to_micros(page_request.now + timedelta(minutes=int(form["minutes"])))
    else:
        raise UnexpectedShape("Expected the form of the setup window, with a number of minutes.")
    await open_window(writer_client.do, source, closes_at, page_request.operator.entry, windows.put)
    return redirect(_PATH)


def write_network(network: Network) -> str:
    """Return a network, or an address if the network has only one."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _read_source(settings: Settings, page_request: ConsoleRequest) -> str:
    source = page_request.path["source"]
    if source not in NAMES or not settings.access_policy(source).tokens:
        raise NotFound(f"There is no source {source}, or it has no token.")
    return source


def _read_limit(settings: Settings, name: str, words: str, unit: str) -> tuple[str, str, float]:
    """Return the text, the unit and the value of a limit."""
    value = getattr(settings, name)
    return words, "forever" if name in _WITHOUT_LIMIT and not value else unit, value


def _describe_tokens(database: Database, source: str, tokens: Sequence[Secret]) -> list[tuple[TokenUse, str | None]]:
    """Return what is known of each token, and the name of the token that replaced it."""
    uses = queries.describe_tokens(database, source, [(token.name, token.fingerprint) for token in tokens])
    return [(token, find_replacement(token, uses)) for token in uses]


def _describe(settings: Settings, database: Database, source: str, closes_at: int, now: int) -> dict[str, Any]:
    access_policy = settings.access_policy(source)
    return {
        "name": source,
        "on": bool(access_policy.tokens),
        "policy": access_policy.policy.value,
        "networks": [write_network(network) for network in access_policy.networks],
        "tokens": _describe_tokens(database, source, access_policy.tokens),
        "paths": [entry.path for entry in settings.sources() if entry.name == source],
        "closes_at": closes_at if closes_at > now else None,
    }
