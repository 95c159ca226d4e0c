"""Orders to remove what is kept: by age."""

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import clock
from receiver.web.api.endpoints import PREFIX
from receiver.web.api.parameters import Ordered, Text, read_body
from receiver.web.operators import Operators
from receiver.web.pruning import Pruner

_STEP_SECONDS = 2.0  # for which one call works: whoever orders asks again, and sees how it goes


class PruneOrdered(Ordered):
    """Prune now. One call works for a moment; while there is `more`, the next one goes on with its `run`."""

    bodies_days: int | None = Field(None, ge=1, le=36_500, description="instead of RECEIVER_BODY_RETENTION_DAYS")
    run: Text | None = Field(None, description="of the answer before; null: begin")


class RetentionApi:
    """The endpoints."""

    def __init__(self, operators: Operators, pruner: Pruner) -> None:
        self._operators = operators
        self._pruner = pruner

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route(f"{PREFIX}/prune", self._prune, methods=["POST"])]

    async def _prune(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = read_body(PruneOrdered, await request.body())
        periods = self._pruner.periods
        if ordered.bodies_days is not None:
            periods = periods._replace(bodies_days=ordered.bodies_days)
        mark = ordered.run
        if mark is None:
            entry = operator.entry(clock.now(), "prune", "database", periods.describe())
            mark = await self._pruner.begin(entry)
        run, more = await self._pruner.work(mark, periods, _STEP_SECONDS)
        went = {kind: gone._asdict() for kind, gone in run.went.items()}
        return Response(orjson.dumps({"run": mark, "more": more, "went": went}), media_type="application/json")
