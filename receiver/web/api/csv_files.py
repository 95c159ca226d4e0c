"""Lists as CSV files: all pages, of which one at a time is in memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, get_args

from starlette.responses import StreamingResponse

from receiver.domain.spreadsheets import write_line
from receiver.storage.queries import MAX_LIMIT
from receiver.storage.reader import Reader
from receiver.web.api.endpoints import PathValues, ReadContext, ReadEndpoint
from receiver.web.api.parameters import PageQuery

CSV_TYPE = "text/csv"
BYTE_ORDER_MARK = "\ufeff"
"""What Excel needs to read UTF-8."""

_ReadPage = Callable[[PageQuery], dict[str, Any]]


async def respond_with_csv(
    reader: Reader, context: ReadContext, endpoint: ReadEndpoint, query: PageQuery, path: PathValues, start: str = ""
) -> StreamingResponse:
    """Return all items of a list from the cursor on, after the text `start`. Raises the errors of the first page.

    An error on a later page breaks the connection, so that nobody takes the file for complete.
    """

    def read(wanted: PageQuery) -> dict[str, Any]:
        return endpoint.answer(context, wanted, path)

    wanted = query.model_copy(update={"limit": MAX_LIMIT})
    first = await reader.read(read, wanted)
    name = endpoint.path.strip("/").replace("/", "-")
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    lines = _write_pages(reader, read, wanted, first, list_fields(endpoint), start)
    return StreamingResponse(lines, 200, headers, media_type=CSV_TYPE)


def list_fields(endpoint: ReadEndpoint) -> list[str]:
    """Return the names of the fields of a list's items."""
    (item,) = get_args(endpoint.schema.model_fields["items"].annotation)
    return list(item.model_fields)


async def _write_pages(
    reader: Reader, read: _ReadPage, wanted: PageQuery, page: dict[str, Any], names: Sequence[str], start: str
) -> AsyncIterator[bytes]:
    yield (start + write_line(names)).encode()
    while True:
        yield "".join(write_line(item.get(name) for name in names) for item in page["items"]).encode()
        if page["next"] is None:
            return
        wanted = wanted.model_copy(update={"cursor": page["next"]})
        page = await reader.read(read, wanted)
