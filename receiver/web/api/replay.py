"""Deciding a kept call again, as an endpoint."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import clock
from receiver.intake import take_again
from receiver.records import Submission
from receiver.sources import Source
from receiver.storage.database import Database
from receiver.storage.kept import read_kept
from receiver.storage.replay import Order, Replayed
from receiver.web.api.endpoints import PREFIX
from receiver.web.api.parameters import ReplayOrdered, read_body
from receiver.web.desk import Desk
from receiver.web.operators import Operators
from receiver.web.reader import Reader

REPLAY_PATH = "/deliveries/{id}/replay"
_MAX_ORDER_BYTES = 4096


class ReplayEndpoint:
    """Reads the kept body here, and has it decided where all is decided: in the writing process."""

    def __init__(self, operators: Operators, reader: Reader, desk: Desk, database: Database, sources: tuple[Source, ...]) -> None:
        self._operators = operators
        self._reader = reader
        self._desk = desk
        self._database = database
        self._sources = sources

    def route(self) -> Route:
        """Return the route."""
        return Route(PREFIX + REPLAY_PATH, self._replay, methods=["POST"], max_body_size=_MAX_ORDER_BYTES)

    async def _replay(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = read_body(ReplayOrdered, await request.body() or b"{}")
        submission = await self._reader.read(self._read, str(request.path_params["id"]))
        now = clock.now()
        order = Order(clock.to_micros(now), ordered.force, ordered.dry_run)
        if ordered.dry_run:
            replayed: Replayed = await self._desk.do("replay", submission, order)
        else:
            entry = operator.entry(now, "replay", submission.delivery.id, "force" if ordered.force else None)
            replayed = await self._desk.do("audited", entry, "replay", (submission, order))
            self._desk.tell_change()
        told: dict[str, Any] = {**replayed.as_json(), "dry_run": ordered.dry_run, "force": ordered.force}
        return Response(orjson.dumps(told), media_type="application/json")

    def _read(self, delivery_id: str) -> Submission:
        delivery = read_kept(self._database, delivery_id)
        submission = take_again(self._sources, delivery)
        return submission._replace(delivery=delivery._replace(body=b""))  # what it says is in its messages now
