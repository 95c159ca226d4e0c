"""Orders to remove what is kept: by age, and what is personal of one tracker."""

import asyncio
from collections.abc import Sequence

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import clock
from receiver.access.operators import OperatorAuth
from receiver.domain.erasure import ErasureCounts
from receiver.maintenance.prune import Pruner
from receiver.sources import Source
from receiver.storage.database import Database
from receiver.storage.erasure import follow_trail, plan_call
from receiver.storage.reader import Reader
from receiver.web.api.endpoints import PREFIX
from receiver.web.api.orders import read_order
from receiver.web.api.parameters import CommandBody, SourceName, Text
from receiver.writer.client import WriterClient
from receiver.writer.commands.deliveries import Checkpoint
from receiver.writer.commands.operators import Audited
from receiver.writer.commands.removal import Erase, ForgetTracker, RenewPruning

_LOG_TRIES = 30
_LOG_PAUSE_SECONDS = 0.1
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
    """The endpoints. `sources` read stored bodies again."""

    def __init__(
        self,
        operators: OperatorAuth,
        reader: Reader,
        writer_client: WriterClient,
        pruner: Pruner,
        database: Database,
        sources: Sequence[Source],
    ) -> None:
        self._operators = operators
        self._reader = reader
        self._writer_client = writer_client
        self._pruner = pruner
        self._database = database
        self._sources = sources

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(f"{PREFIX}/prune", self._prune, methods=["POST"]),
            Route(f"{PREFIX}/forget", self._forget, methods=["POST"]),
        ]

    async def _prune(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(PruneBody, request)
        begun_with = self._pruner.periods if ordered.run is None else self._pruner.periods.of_run(ordered.run)
        periods = begun_with
        if ordered.bodies_days is not None:
            periods = periods._replace(bodies_days=ordered.bodies_days)
        entry = operator.entry(clock.now(), "prune", "database", periods.describe())
        if ordered.run is not None and periods != begun_with:
            await self._writer_client.do(Audited(entry, RenewPruning(ordered.run, clock.to_micros(clock.now()))))
        mark = ordered.run or await self._pruner.begin(periods, entry)
        run, more = await self._pruner.work(mark, periods, _STEP_SECONDS)
        removed = {kind: gone._asdict() for kind, gone in run.removed.items()}
        return Response(orjson.dumps({"run": mark, "more": more, "went": removed}), media_type="application/json")

    async def _forget(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(ForgetBody, request)
        trail = await self._reader.read(follow_trail, self._database, ordered.source, ordered.tracker_id)
        entry = operator.entry(clock.now(), "forget", f"{ordered.source}/{ordered.tracker_id}", None)
        await self._writer_client.do(Audited(entry, ForgetTracker(ordered.source, ordered.tracker_id, trail.failures)))
        splits = {source.kind: source.split for source in self._sources if source.name == ordered.source}
        done = ErasureCounts()
        for delivery_id, places in trail.calls.items():
            while planned := await self._reader.read(plan_call, self._database, trail.tracked, splits, delivery_id, places):
                call, erasure = planned
                if await self._writer_client.do(Erase(call, erasure)):  # else it was changed meanwhile: read it again
                    done = done.add(erasure)
                    break
        answer = {**ordered.model_dump(), **done._asdict(), "log_emptied": await self._empty_log()}
        return Response(orjson.dumps(answer), media_type="application/json")

    async def _empty_log(self) -> bool:
        """Overwrite what was removed in the log of a file, too; somebody who reads may be in the way for a moment."""
        for _ in range(_LOG_TRIES):
            if await self._writer_client.do(Checkpoint()):
                return True
            await asyncio.sleep(_LOG_PAUSE_SECONDS)
        return False
