"""The lists of the console as CSV files, with the filters of their pages."""

from functools import partial

from starlette.responses import Response
from starlette.routing import Route

from receiver.storage.reader import Reader
from receiver.web.api.csv_files import BYTE_ORDER_MARK, respond_with_csv
from receiver.web.api.endpoints import READ_ENDPOINTS, ReadContext, ReadEndpoint
from receiver.web.api.parameters import PageQuery, read_query
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Pages
from receiver.web.console.rendering import SECURITY_HEADERS

_PATHS = {"/trackers", "/deliveries", "/messages", "/quarantine", "/changes", "/customers", "/audit"}


def list_downloads(pages: Pages, reader: Reader, context: ReadContext) -> list[Route]:
    """Return the routes of the files. Behind each is the list of the API with the same name."""
    return [
        Route(f"/ops{endpoint.path}.csv", pages.show_on_loop(partial(_download, reader, context, endpoint)))
        for endpoint in READ_ENDPOINTS
        if endpoint.path in _PATHS
    ]


async def _download(reader: Reader, context: ReadContext, endpoint: ReadEndpoint, page_request: ConsoleRequest) -> Response:
    """Return what the filter of a page shows, as CSV. Raises UnexpectedShape for a wrong filter."""
    query = read_query(endpoint.query, page_request.query)
    assert isinstance(query, PageQuery)
    response = await respond_with_csv(reader, context, endpoint, query, {}, BYTE_ORDER_MARK)
    response.headers.update(SECURITY_HEADERS)
    return response
