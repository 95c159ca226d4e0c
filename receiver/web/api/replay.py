"""Deciding a kept call again, as an endpoint."""

import asyncio

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import clock
from receiver.access.operators import OperatorAuth
from receiver.domain.trimming import trim
from receiver.maintenance.replay import StoredReplay
from receiver.storage.replay import Replayed
from receiver.web.api.endpoints import PREFIX
from receiver.web.api.orders import read_order
from receiver.web.api.parameters import ReplayBody

REPLAY_PATH = "/deliveries/{id}/replay"


class ReplayEndpoint:
    """Takes the order and answers what changed, or would change."""

    def __init__(self, operators: OperatorAuth, replayer: StoredReplay) -> None:
        self._operators = operators
        self._replayer = replayer

    def route(self) -> Route:
        """Return the route."""
        return Route(PREFIX + REPLAY_PATH, self._replay, methods=["POST"])

    async def _replay(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(ReplayBody, request, b"{}")
        how = {"force": ordered.force, "dry_run": ordered.dry_run}
        replayed = await self._replayer.replay(operator.entry, trim(str(request.path_params["id"])), clock.now(), **how)
        content = await asyncio.to_thread(_write, replayed, how)  # of ten thousand items it takes its time
        return Response(content, media_type="application/json")


def _write(replayed: Replayed, how: dict[str, bool]) -> bytes:
    return orjson.dumps({**replayed.as_json(), **how})
