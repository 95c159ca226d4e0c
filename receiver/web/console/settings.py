"""What is set, without secrets; the setup windows; what operators changed."""

from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from receiver.access.addresses import Network
from receiver.access.setup_windows import SetupWindows
from receiver.clock import to_micros
from receiver.errors import NotFound, UnexpectedShape
from receiver.settings import Settings
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.console.forms import Form
from receiver.web.console.guard import Visit
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect
from receiver.writer.client import WriterClient
from receiver.writer.commands.operators import Audited, OpenWindow

PAGE = "/ops/settings"
_MINUTES = (5, 15, 30, 60)
_LIMITS = (
    ("max_body_bytes", "The largest body that is taken", "size"),
    ("max_future_hours", "An event further ahead of its receipt is implausible", "hours"),
    ("body_retention_days", "Bodies are kept (0: for ever)", "days"),
    ("refused_retention_days", "Refused calls are kept", "days"),
    ("change_retention_days", "Changes that were given up are kept (0: for ever)", "days"),
    ("body_timeout_seconds", "A whole request must arrive within", "seconds"),
    ("commit_timeout_seconds", "A commit must be done within", "seconds"),
    ("queue_deliveries", "Calls that may wait for their commit", "number"),
)


class SettingsView:
    """The pages around the settings."""

    def __init__(self, settings: Settings, database: Database, writer_client: WriterClient, windows: SetupWindows) -> None:
        self._settings = settings
        self._database = database
        self._writer_client = writer_client
        self._windows = windows

    def show(self, visit: Visit) -> Page:
        """Show the settings."""
        uses = queries.token_uses(self._database)
        closes = queries.setup_windows(self._database)
        audit = queries.list_audit(self._database, 20, dict(visit.query).get("cursor"))
        values = {
            "sources": [self._describe(source, uses, closes.get(source, 0), to_micros(visit.now)) for source in NAMES],
            "ops_tokens": [(token.name, uses.get(("ops", token.name))) for token in self._settings.ops_tokens],
            "proxies": [write_network(network) for network in self._settings.trusted_proxies],
            "limits": [(name, words, unit, getattr(self._settings, name)) for name, words, unit in _LIMITS],
            "audit": audit,
        }
        return Page("settings.html", {"section": "settings", **values})

    def ask(self, visit: Visit) -> Page:
        """Ask whether to open or to close the setup window of a source. Raises NotFound."""
        source = self._read_source(visit)
        closes_at = queries.setup_windows(self._database).get(source, 0)
        is_open = closes_at > to_micros(visit.now)
        access_policy = self._settings.access_policy(source)
        values = {
            "source": source,
            "closes_at": closes_at if is_open else None,
            "minutes": _MINUTES,
            "policy": access_policy.policy.value,
        }
        return Page("setup_window.html", {"section": "settings", **values})

    async def order(self, visit: Visit, _request: Request, form: Form) -> Response:
        """Open or close the setup window of a source, and put on record who did. Raises UnexpectedShape."""
        source = self._read_source(visit)
        if form.get("order") == "close":
            closes_at, action, detail = to_micros(visit.now), "setup-window close", None
        elif form.get("order") == "open" and form.get("minutes") in {str(minutes) for minutes in _MINUTES}:
            closes_at = to_micros(visit.now + timedelta(minutes=int(form["minutes"])))
            action, detail = "setup-window open", f"for {form['minutes']} minutes"
        else:
            raise UnexpectedShape("Expected the form of the setup window, with a number of minutes.")
        entry = visit.operator.entry(visit.now, action, source, detail)
        await self._writer_client.do(Audited(entry, OpenWindow(source, closes_at)))
        self._windows.put(source, closes_at)
        return redirect(PAGE)

    def _read_source(self, visit: Visit) -> str:
        source = visit.path["source"]
        if source not in NAMES or not self._settings.access_policy(source).tokens:
            raise NotFound(f"There is no source {source} here, or it is off.")
        return source

    def _describe(self, source: str, uses: dict[tuple[str, str], int], closes_at: int, now: int) -> dict[str, Any]:
        access_policy = self._settings.access_policy(source)
        return {
            "name": source,
            "on": bool(access_policy.tokens),
            "policy": access_policy.policy.value,
            "networks": [write_network(network) for network in access_policy.networks],
            "tokens": [(token.name, uses.get((source, token.name))) for token in access_policy.tokens],
            "paths": [entry.path for entry in self._settings.sources() if entry.name == source],
            "closes_at": closes_at if closes_at > now else None,
        }


def write_network(network: Network) -> str:
    """Return a network, or an address if it is only one."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)
