"""Deciding a call again: shows first what would change, then asks."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from receiver.errors import NotFound, UnexpectedShape
from receiver.maintenance.replay import StoredReplay
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.console import links
from receiver.web.console.forms import Form
from receiver.web.console.guard import Visit
from receiver.web.console.pages import Page
from receiver.web.console.rendering import Renderer

_ORDERS = ("show", "replay")


class ReplayPages:
    """The pages."""

    def __init__(self, database: Database, renderer: Renderer, replayer: StoredReplay) -> None:
        self._database = database
        self._renderer = renderer
        self._replayer = replayer

    def ask(self, visit: Visit) -> Page:
        """Ask how the call is to be decided again. Raises NotFound."""
        stored = queries.show_delivery(self._database, visit.path["delivery_id"])
        if stored.body is None:
            raise NotFound("The bytes of this call are no longer kept, so it cannot be decided again.")
        return Page("replay.html", {"section": "deliveries", "call_id": stored.row["id"], "told": None, "force": False})

    async def order(self, visit: Visit, _request: Request, form: Form) -> Response:
        """Show what would change, or change it. Raises NotFound, UnexpectedShape."""
        if form.get("order") not in _ORDERS:
            raise UnexpectedShape("Expected the form of the replay.")
        dry_run, force = form["order"] == "show", form.get("force") == "yes"
        call_id = visit.path["delivery_id"]
        told = await self._replayer.replay(visit.operator, call_id, visit.now, force=force, dry_run=dry_run)
        values: dict[str, Any] = {"call_id": call_id, "told": told, "force": force, "done": not dry_run}
        shown = {"section": "deliveries", "visit": visit, "links": links, **values}
        return await asyncio.to_thread(self._renderer.print, "replay.html", visit.now, **shown)
