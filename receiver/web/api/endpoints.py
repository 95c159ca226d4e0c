"""The API as endpoints: the ops token first, then the parameters, then the question."""

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from time import monotonic
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import clock
from receiver.access.operators import OperatorAuth
from receiver.access.setup_windows import SetupWindows
from receiver.clock import iso, new_id, to_micros
from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.storage.reader import Reader
from receiver.web.api.orders import read_order
from receiver.web.api.parameters import (
    DropOrdered,
    EmptyQuery,
    ResumeBody,
    RetryBody,
    SetupWindowBody,
    read_customers,
    read_query,
)
from receiver.web.api.questions import ReadEndpoint
from receiver.writer.client import WriterClient
from receiver.writer.commands.changes import DropTarget, ResumeTarget, RetryDead
from receiver.writer.commands.operators import Audited, ImportCustomers, OpenWindow, ReplaceCustomers

PREFIX = "/ops/api"
_DROP_SECONDS = 2.0  # for which one request works: whoever asked asks again while there is more
MAX_LIST_BYTES = 16 * 2**20  # of a customer list that is imported through the running service

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


class Api:
    """All endpoints under `/ops/api`. `description` is the OpenAPI document; `targets` are the names in the settings."""

    def __init__(
        self,
        operators: OperatorAuth,
        reader: Reader,
        writer_client: WriterClient,
        windows: SetupWindows,
        questions: Sequence[ReadEndpoint],
        description: dict[str, Any],
        database: Database,
        targets: Sequence[str],
    ) -> None:
        self._operators = operators
        self._reader = reader
        self._writer_client = writer_client
        self._windows = windows
        self._questions = questions
        self._description = orjson.dumps(description)
        self._database = database
        self._targets = targets

    def routes(self) -> list[Route]:
        """Return the routes of all questions and orders."""
        return [
            *(Route(PREFIX + question.path, self._make_endpoint(question)) for question in self._questions),
            Route(f"{PREFIX}/openapi.json", self._describe),
            Route(f"{PREFIX}/setup-windows", self._open_window, methods=["POST"]),
            Route(f"{PREFIX}/customers", self._replace_customers, methods=["POST"]),
            Route(f"{PREFIX}/targets/drop", self._drop_target, methods=["POST"]),
            Route(f"{PREFIX}/targets/resume", self._resume_target, methods=["POST"]),
            Route(f"{PREFIX}/targets/retry", self._retry_dead, methods=["POST"]),
        ]

    def _make_endpoint(self, question: ReadEndpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            self._operators.identify(request)
            asked = read_query(question.asked, request.query_params.multi_items())
            path = {name: make_storable(trim(str(value))) for name, value in request.path_params.items()}
            return _respond(await self._reader.read(question.answer, asked, path))

        return answer

    async def _describe(self, request: Request) -> Response:
        self._operators.identify(request)
        read_query(EmptyQuery, request.query_params.multi_items())
        return Response(self._description, media_type="application/json")

    async def _open_window(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(SetupWindowBody, request)
        now = clock.now()
        closing = ordered.closes_at <= to_micros(now)
        action, detail = ("setup-window close", None) if closing else ("setup-window open", f"until {iso(ordered.closes_at)}")
        entry = operator.entry(now, action, ordered.source, detail)
        await self._writer_client.do(Audited(entry, OpenWindow(ordered.source, ordered.closes_at)))
        self._windows.put(ordered.source, ordered.closes_at)
        return _respond({"source": ordered.source, "closes_at": iso(ordered.closes_at)})

    async def _replace_customers(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        read_query(EmptyQuery, request.query_params.multi_items())
        rows = partial(read_customers, await request.body())  # called in the writing process
        now = clock.now()
        entry = operator.entry(now, "customers import", "customers", None)
        served = await self._writer_client.do(ImportCustomers(entry, ReplaceCustomers(new_id(now), to_micros(now), rows)))
        return _respond({"customers": served})

    async def _drop_target(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(DropOrdered, request)
        await self._reader.read(queries.check_unnamed, self._database, self._targets, ordered.target)
        await self._reader.read(queries.check_target, self._database, self._targets, ordered.target)
        entry = operator.entry(clock.now(), "targets drop", ordered.target, None)
        deadline = monotonic() + _DROP_SECONDS
        drop = DropTarget(ordered.target)
        done = piece = await self._writer_client.do(Audited(entry, drop))
        while any(piece) and monotonic() < deadline:
            piece = await self._writer_client.do(drop)
            done = done.add(piece)
        return _respond({"target": ordered.target, **done._asdict(), "more": any(piece)})

    async def _resume_target(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(ResumeBody, request)
        await self._reader.read(queries.check_target, self._database, self._targets, ordered.target)
        entry = operator.entry(clock.now(), "targets resume", ordered.target, None)
        resumed = await self._writer_client.do(Audited(entry, ResumeTarget(ordered.target)))
        return _respond({"target": ordered.target, "resumed": resumed})

    async def _retry_dead(self, request: Request) -> Response:
        operator = self._operators.identify(request)
        ordered = await read_order(RetryBody, request)
        await self._reader.read(queries.check_target, self._database, self._targets, ordered.target)
        now = clock.now()
        entry = operator.entry(now, "targets retry", ordered.target, None)
        retry = RetryDead(ordered.target, to_micros(now))
        changes = moved = await self._writer_client.do(Audited(entry, retry))
        while moved:  # piece by piece, so that no transaction grows with what is dead
            moved = await self._writer_client.do(retry)
            changes += moved
        return _respond({"target": ordered.target, "changes": changes})


def _respond(answer: dict[str, Any]) -> Response:
    return Response(orjson.dumps(answer), media_type="application/json")
