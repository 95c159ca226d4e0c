"""The page that replays one delivery. It shows the expected changes first, then asks for confirmation."""

from collections.abc import Mapping

from receiver.clock import to_micros
from receiver.domain.labels import count
from receiver.domain.replays import Replayed, ReplayOptions
from receiver.errors import NotFound, UnexpectedShape
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page


async def ask_to_replay(replayer: StoredReplay, reader: Reader, database: Database, page_request: ConsoleRequest) -> Page:
    """Ask how to replay a delivery, or with `show=yes` in the query show what a replay would change. Raises NotFound."""
    delivery_id, query = page_request.path["delivery_id"], dict(page_request.query)
    if query.get("show") == "yes":
        options = _read_options(page_request, query, dry_run=True)
        replayed = await replayer.replay(page_request.operator.entry, delivery_id, options)
        return _make_page(delivery_id, replayed, options)
    stored = await reader.read(queries.show_delivery, database, delivery_id)
    if stored.body is None and not stored.items:
        raise NotFound("The body of this request was deleted (retention), so it cannot be replayed.")
    return _make_page(stored.row["id"], None, None, is_pruned=stored.body is None)


async def replay_delivery(replayer: StoredReplay, page_request: ConsoleRequest, form: Form) -> FormResult:
    """Replay a delivery and show what changed. Raises NotFound, UnexpectedShape."""
    if form.get("command") != "replay":
        raise UnexpectedShape("Expected the form of the replay.")
    delivery_id, options = page_request.path["delivery_id"], _read_options(page_request, form, dry_run=False)
    replayed = await replayer.replay(page_request.operator.entry, delivery_id, options)
    changed = f"{count(len(replayed.items), 'message')}, {count(len(replayed.trackers), 'updated tracker')}"
    summary = f"Replayed delivery {delivery_id}: {changed if replayed.changed else 'no changes'}."
    return FormResult(_make_page(delivery_id, replayed, options), summary)


def _read_options(page_request: ConsoleRequest, fields: Mapping[str, str], *, dry_run: bool) -> ReplayOptions:
    force, undo = (fields.get(name) == "yes" for name in ("force", "undo"))
    return ReplayOptions(to_micros(page_request.now), force=force and not undo, dry_run=dry_run, undo=undo)


def _make_page(delivery_id: str, replayed: Replayed | None, options: ReplayOptions | None, *, is_pruned: bool = False) -> Page:
    is_done = options is not None and not options.dry_run
    values = {"delivery_id": delivery_id, "replayed": replayed, "options": options, "done": is_done, "is_pruned": is_pruned}
    return Page("replay.html", "deliveries", values)
