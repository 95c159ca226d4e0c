"""The page that replays one delivery. It shows the expected changes first, then asks for confirmation."""

from receiver.clock import to_micros
from receiver.domain.replays import ReplayOptions
from receiver.errors import NotFound, UnexpectedShape
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page

_COMMANDS = ("show", "replay")


def ask_to_replay(database: Database, page_request: ConsoleRequest) -> Page:
    """Ask how to replay a delivery. Raises NotFound."""
    stored = queries.show_delivery(database, page_request.path["delivery_id"])
    if stored.body is None and not stored.items:
        raise NotFound("The body of this request was deleted (retention), so it cannot be replayed.")
    values = {"delivery_id": stored.row["id"], "replayed": None, "options": None, "done": False}
    values["is_pruned"] = stored.body is None
    return Page("replay.html", "deliveries", values)


async def replay_delivery(replayer: StoredReplay, page_request: ConsoleRequest, form: Form) -> Page:
    """Show what a replay would change, or replay. Raises NotFound, UnexpectedShape."""
    if form.get("command") not in _COMMANDS:
        raise UnexpectedShape("Expected the form of the replay.")
    force, undo = (form.get(name) == "yes" for name in ("force", "undo"))
    options = ReplayOptions(to_micros(page_request.now), force=force and not undo, dry_run=form["command"] == "show", undo=undo)
    delivery_id = page_request.path["delivery_id"]
    replayed = await replayer.replay(page_request.operator.entry, delivery_id, options)
    values = {"delivery_id": delivery_id, "replayed": replayed, "options": options, "done": not options.dry_run}
    return Page("replay.html", "deliveries", values)
