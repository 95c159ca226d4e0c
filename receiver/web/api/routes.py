"""The routes of the API. Each request is authenticated, then its parameters are read, then it is answered."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.access.operators import OperatorAuth
from receiver.domain.storable import make_storable
from receiver.domain.trimming import trim
from receiver.storage.reader import Reader
from receiver.web.api.bodies import read_body
from receiver.web.api.command_context import CommandContext, CommandEndpoint, OperatorRequest
from receiver.web.api.commands import COMMAND_ENDPOINTS
from receiver.web.api.csv_files import respond_with_csv
from receiver.web.api.endpoints import PREFIX, READ_ENDPOINTS, PathValues, ReadContext, ReadEndpoint
from receiver.web.api.parameters import EmptyQuery, PageQuery, Parameters, read_query

MAX_LIST_BYTES = 16 * 2**20  # of a customer list, or a webhook history, that comes through the running service

_Answer = Callable[[Request], Coroutine[Any, Any, Response]]


class ApiRoutes:
    """All endpoints under `/ops/api`. `describe` makes the OpenAPI document, once, when somebody asks for it: it takes long."""

    def __init__(
        self,
        operators: OperatorAuth,
        reader: Reader,
        reads: ReadContext,
        commands: CommandContext,
        describe: Callable[[], dict[str, Any]],
    ) -> None:
        self._operators = operators
        self._reader = reader
        self._reads = reads
        self._commands = commands
        self._description = cache(lambda: orjson.dumps(describe()))

    def routes(self) -> list[Route]:
        """Return the routes of both tables and of the OpenAPI document."""
        return [
            *(Route(PREFIX + endpoint.path, self._make_reading(endpoint)) for endpoint in READ_ENDPOINTS),
            *(Route(PREFIX + endpoint.path, self._make_command(endpoint), methods=["POST"]) for endpoint in COMMAND_ENDPOINTS),
            Route(f"{PREFIX}/openapi.json", self._describe),
        ]

    def _make_reading(self, endpoint: ReadEndpoint) -> _Answer:
        def read(query: Parameters, path: PathValues) -> bytes:
            return orjson.dumps(endpoint.answer(self._reads, query, path))

        async def answer(request: Request) -> Response:
            self._operators.identify(request)
            query = read_query(endpoint.query, request.query_params.multi_items())
            if isinstance(query, PageQuery) and query.format == "csv":
                return await respond_with_csv(self._reader, self._reads, endpoint, query, _path_of(request))
            return _respond(await self._reader.read(read, query, _path_of(request)))

        return answer

    def _make_command(self, endpoint: CommandEndpoint) -> _Answer:
        async def answer(request: Request) -> Response:
            operator = self._operators.identify(request)
            read_query(EmptyQuery, request.query_params.multi_items())  # otherwise a parameter in the URL would be ignored
            content = await request.body()
            body = read_body(endpoint.body, content or endpoint.default) if endpoint.reads_body else content
            done = await endpoint.command(self._commands, OperatorRequest(operator, body, _path_of(request)))
            return _respond(await asyncio.to_thread(orjson.dumps, done))

        return answer

    async def _describe(self, request: Request) -> Response:
        self._operators.identify(request)
        read_query(EmptyQuery, request.query_params.multi_items())
        return _respond(await asyncio.to_thread(self._description))


def _path_of(request: Request) -> PathValues:
    return {name: make_storable(trim(str(value))) for name, value in request.path_params.items()}


def _respond(content: bytes) -> Response:
    return Response(content, media_type="application/json")
