"""Orders to remove what is kept: by age, and what is personal of one tracker."""

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.access.operators import OperatorAuth
from receiver.maintenance.erase import Eraser
from receiver.maintenance.prune import Pruner
from receiver.web.api.endpoints import PREFIX
from receiver.web.api.orders import read_order
from receiver.web.api.parameters import CommandBody, SourceName, Text

_STEP_SECONDS = 2.0  # for which one call works: whoever orders asks again, and sees how it goes


class PruneBody(CommandBody):
    """Prune now. One call works for a moment; while there is `more`, the next one goes on with its `run`."""

    bodies_days: int | None = Field(
        None, ge=1, le=36_500, description="instead of RECEIVER_BODY_RETENTION_DAYS; null with a `run`: as that was begun"
    )
    run: Text | None = Field(None, description="of the answer before; null: begin")


class ForgetBody(CommandBody):
    """Forget the personal data of one tracker."""

    source: SourceName
    tracker_id: Text


class RetentionApi:
    """The endpoints."""

    def __init__(self, operators: OperatorAuth, pruner: Pruner, eraser: Eraser) -> None:
        self._operators = operators
        self._pruner = pruner
        self._eraser = eraser

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(f"{PREFIX}/prune", self._prune, methods=["POST"]),
            Route(f"{PREFIX}/forget", self._forget, methods=["POST"]),
        ]

    async def _prune(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(PruneBody, request)
        done = await self._pruner.prune(operator.entry, ordered.bodies_days, ordered.run, _STEP_SECONDS)
        removed = {kind: gone._asdict() for kind, gone in done.removed.items()}
        return Response(orjson.dumps({"run": done.mark, "more": done.more, "went": removed}), media_type="application/json")

    async def _forget(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(ForgetBody, request)
        done = await self._eraser.erase(ordered.source, ordered.tracker_id, operator.entry)
        answer = {**ordered.model_dump(), **done._asdict(), "log_emptied": await self._eraser.checkpoint()}
        return Response(orjson.dumps(answer), media_type="application/json")
