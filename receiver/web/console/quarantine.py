"""The page of quarantined messages and events, with the reason and the payload of each, to retry or dismiss them."""

from starlette.responses import Response

from receiver.domain.storable import make_storable
from receiver.domain.verdicts import QUARANTINE_REASONS
from receiver.errors import UnexpectedShape
from receiver.maintenance.quarantine import dismiss, dismiss_matching, retry_items
from receiver.maintenance.replay import StoredReplay
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.parameters import QuarantineQuery, read_query
from receiver.web.console.forms import Form
from receiver.web.console.json_tree import make_tree
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect
from receiver.writer.client import WriterClient

_MAX_ITEMS = 20  # of one page: each shows its payload
_MAX_NOTE = 500
_SECONDS = 2.0  # of dismissing for one request
_SELECTED = "item-"
"""The start of the name of a checkbox; the id of its item follows."""


def show_quarantine(database: Database, page_request: ConsoleRequest) -> Page:
    """Show the items in quarantine, newest first."""
    query = read_query(QuarantineQuery, page_request.query, page_request.zone.info)
    limit = min(query.limit, _MAX_ITEMS)
    page = queries.list_quarantine(database, query.to_filter(), limit, query.cursor)
    items = [{**item, "payload": make_tree(item["raw"].encode())} for item in page.items]
    values = {
        "page": page,
        "items": items,
        "limit": limit,
        "filters": dict(page_request.query),
        "sources": NAMES,
        "reasons": QUARANTINE_REASONS,
        "states": [state for state in queries.QUARANTINE_STATES if state != "open"],
    }
    return Page("quarantine.html", "quarantine", values)


async def change_quarantine(
    writer_client: WriterClient,
    reader: Reader,
    database: Database,
    replayer: StoredReplay,
    page_request: ConsoleRequest,
    form: Form,
) -> Response:
    """Retry or dismiss the selected items, or dismiss all open ones that match the filter. Raises UnexpectedShape."""
    note = make_storable(form.get("note", "").strip()[:_MAX_NOTE]) or None
    entry = page_request.operator.entry
    selected = [make_storable(name.removeprefix(_SELECTED)) for name in form if name.startswith(_SELECTED)]
    if form.get("command") == "dismiss" and selected:
        await dismiss(writer_client.do, selected, note, entry)
    elif form.get("command") == "retry" and selected:
        await retry_items(replayer, reader.read, database, selected, entry)
    elif form.get("command") == "dismiss-matching" and page_request.query:
        wanted = read_query(QuarantineQuery, page_request.query, page_request.zone.info).to_filter()
        await dismiss_matching(writer_client.do, reader.read, database, wanted, note, entry, _SECONDS)
    else:
        raise UnexpectedShape("Select at least one message.")
    return redirect(page_request.url)
