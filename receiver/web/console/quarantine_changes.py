"""The forms that retry, dismiss or reopen quarantined messages. A page first shows the effect, then asks for confirmation."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from receiver.clock import iso, to_micros
from receiver.domain.labels import count
from receiver.domain.storable import make_storable
from receiver.errors import UnexpectedShape
from receiver.maintenance.quarantine import (
    ChangeItems,
    change_matching,
    count_matching,
    dismiss,
    reopen,
    retry_deliveries,
    retry_items,
    retry_matching,
)
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.queries import QuarantineFilter
from receiver.storage.reader import Reader
from receiver.web.api.parameters import QuarantineQuery, read_query
from receiver.web.console.forms import Form
from receiver.web.console.links import read_next, to_list
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page, TakeForm
from receiver.web.console.rendering import redirect
from receiver.writer.client import WriterClient

PATH = "/ops/quarantine"
_MAX_DELIVERIES = 300  # that one confirmation names
_MAX_NOTE = 500
_SECONDS = 2.0  # of one preview, and of dismissing for one request
_MATCHING = "-matching"
"""The end of a command for all that match the filter, instead of the selected ones."""

_STATES = {"dismiss": "open", "reopen": "dismissed"}
"""The state of the items that a command changes."""

_SELECTED = "item-"
"""The start of the name of a checkbox; the id of its item follows."""


class QuarantineForms:
    """Takes the forms of the page. What a preview has shown is named in its confirmation, so nothing else is changed by it."""

    def __init__(self, writer_client: WriterClient, reader: Reader, database: Database, replayer: StoredReplay) -> None:
        self._writer_client = writer_client
        self._reader = reader
        self._database = database
        self._replayer = replayer

    async def take(self, page_request: ConsoleRequest, form: Form) -> FormResult | Page | Response:
        """Show what a command would do, or execute it. Raises UnexpectedShape."""
        commands: dict[str, TakeForm] = {
            "show-retry": self._show_retry,
            "show-retry-matching": self._show_retry,
            "show-dismiss": self._show_dismiss,
            "show-dismiss-matching": self._show_dismiss,
            "show-reopen": self._show_reopen,
            "show-reopen-matching": self._show_reopen,
            "retry": self._retry,
            "dismiss": self._dismiss,
            "reopen": self._reopen,
        }
        take_command = commands.get(form.get("command", ""))
        if take_command is None:
            raise UnexpectedShape("Expected a form of the quarantine.")
        return await take_command(page_request, form)

    async def _show_retry(self, page_request: ConsoleRequest, form: Form) -> Page:
        entry = page_request.operator.entry
        more = False
        if form["command"].endswith(_MATCHING):
            wanted = _read_filter(page_request)
            retried, cursor = await retry_matching(
                self._replayer, self._reader.read, self._database, wanted, None, entry, _SECONDS, dry_run=True
            )
            more = cursor is not None
        else:
            ids = _read_selected(form)
            retried = await retry_items(self._replayer, self._reader.read, self._database, ids, entry, dry_run=True)
        more = more or len(retried.changing) > _MAX_DELIVERIES
        return _make_page(page_request, "retry", retried=retried, more=more, named=retried.changing[-_MAX_DELIVERIES:])

    async def _show_dismiss(self, page_request: ConsoleRequest, form: Form) -> Page:
        return await self._show_items(page_request, form, "dismiss")

    async def _show_reopen(self, page_request: ConsoleRequest, form: Form) -> Page:
        return await self._show_items(page_request, form, "reopen")

    async def _show_items(self, page_request: ConsoleRequest, form: Form, command: str) -> Page:
        state = _STATES[command]
        if form["command"].endswith(_MATCHING):
            wanted = _read_filter(page_request)._replace(state=state)
            reasons, more = await count_matching(self._reader.read, self._database, wanted, _SECONDS)
            return _make_page(page_request, command, reasons=reasons, more=more)
        ids = _read_selected(form)
        items = await self._reader.read(queries.find_items, self._database, ids, state)
        return _make_page(page_request, command, reasons=Counter(items.values()), named=list(items))

    async def _retry(self, page_request: ConsoleRequest, form: Form) -> FormResult:
        entry = page_request.operator.entry
        retried = await retry_deliveries(self._replayer, _read_named(form), entry, dry_run=False)
        changed = count(len(retried.changing), "delivery", "deliveries")
        page = _make_page(page_request, "retry", retried=retried, done=True)
        return FormResult(page, f"Retried quarantined messages: {changed} changed.")

    async def _dismiss(self, page_request: ConsoleRequest, form: Form) -> FormResult | Response:
        note = make_storable(form.get("note", "").strip()[:_MAX_NOTE]) or None

        async def change(ids: Sequence[str]) -> int:
            return await dismiss(self._writer_client.do, ids, note, page_request.operator.entry)

        return await self._change(page_request, form, "dismiss", change, note)

    async def _reopen(self, page_request: ConsoleRequest, form: Form) -> FormResult | Response:
        async def change(ids: Sequence[str]) -> int:
            return await reopen(self._writer_client.do, ids, page_request.operator.entry)

        return await self._change(page_request, form, "reopen", change)

    async def _change(
        self, page_request: ConsoleRequest, form: Form, command: str, change: ChangeItems, note: str | None = None
    ) -> FormResult | Response:
        """Change the named items, or those that match the filter. If time is up before the last one, ask again."""
        if "named" in form:
            await change(_read_named(form))
            return redirect(read_next(form.get("back")))
        wanted = _read_filter(page_request)._replace(state=_STATES[command])
        changed, more = await change_matching(self._reader.read, self._database, wanted, _SECONDS, change)
        if not more:
            return redirect(read_next(form.get("back")))
        page = _make_page(page_request, command, changed=changed, note=note)
        return FormResult(page, f"{count(changed, 'message')} changed ({command}). More match: repeat it for them.")


def _read_filter(page_request: ConsoleRequest) -> QuarantineFilter:
    """Return the filter of the page with absolute times in milliseconds, so that no later item matches it."""
    wanted = read_query(QuarantineQuery, page_request.query, page_request.zone.info).to_filter()
    since = None if wanted.since is None else wanted.since // 1000 * 1000
    until = to_micros(page_request.now) if wanted.until is None else wanted.until
    return wanted._replace(since=since, until=until // 1000 * 1000)


def _read_selected(form: Form) -> list[str]:
    selected = [make_storable(name.removeprefix(_SELECTED)) for name in form if name.startswith(_SELECTED)]
    if not selected:
        raise UnexpectedShape("Select at least one message.")
    return selected


def _read_named(form: Form) -> list[str]:
    return [make_storable(name) for name in form.get("named", "").split(",") if name]


def _make_page(page_request: ConsoleRequest, command: str, **values: Any) -> Page:
    wanted, query = _read_filter(page_request), page_request.query
    times = {name: None if micros is None else iso(micros) for name, micros in (("since", wanted.since), ("until", wanted.until))}
    nothing: dict[str, Any] = {"retried": None, "reasons": Counter(), "more": False, "named": None, "done": False}
    nothing |= {"changed": 0, "note": None}
    known = {"command": command, "action": to_list(PATH, query, **times), "back": to_list(PATH, query)}
    return Page("quarantine_changes.html", "quarantine", nothing | known | values)
