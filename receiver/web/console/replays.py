"""The page that replays one delivery. It shows the expected changes first, then asks for confirmation."""

from receiver.errors import NotFound, UnexpectedShape
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.console.login import Form, Visit
from receiver.web.console.pages import Page

_COMMANDS = ("show", "replay")


def ask_to_replay(database: Database, visit: Visit) -> Page:
    """Ask how to replay a delivery. Raises NotFound."""
    stored = queries.show_delivery(database, visit.path["delivery_id"])
    if stored.body is None:
        raise NotFound("The body of this request was deleted (retention), so it cannot be replayed.")
    values = {"delivery_id": stored.row["id"], "replayed": None, "force": False, "done": False}
    return Page("replay.html", "deliveries", values)


async def replay_delivery(replayer: StoredReplay, visit: Visit, form: Form) -> Page:
    """Show what a replay would change, or replay. Raises NotFound, UnexpectedShape."""
    if form.get("command") not in _COMMANDS:
        raise UnexpectedShape("Expected the form of the replay.")
    dry_run, force = form["command"] == "show", form.get("force") == "yes"
    delivery_id = visit.path["delivery_id"]
    replayed = await replayer.replay(visit.operator.entry, delivery_id, visit.now, force=force, dry_run=dry_run)
    values = {"delivery_id": delivery_id, "replayed": replayed, "force": force, "done": not dry_run}
    return Page("replay.html", "deliveries", values)
