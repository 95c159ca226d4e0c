"""The lists of the console as CSV files, with the filters of their pages."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.storage.reader import Reader
from receiver.web.api.csv_files import BYTE_ORDER_MARK, respond_with_csv
from receiver.web.api.endpoints import READ_ENDPOINTS, PathValues, ReadContext, ReadEndpoint
from receiver.web.api.parameters import PageQuery, read_query
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Pages
from receiver.web.console.rendering import SECURITY_HEADERS
from receiver.web.console.time_zones import UTC_ZONE, TimeZone

_PATHS = {"/trackers", "/deliveries", "/messages", "/quarantine", "/changes", "/customers", "/audit"}


def list_downloads(pages: Pages, reader: Reader, context: ReadContext) -> list[Route]:
    """Return the routes of the files. Behind each is the list of the API with the same name."""
    return [
        Route(f"/ops{endpoint.path}.csv", pages.show_on_loop(partial(_download, reader, context, endpoint)))
        for endpoint in READ_ENDPOINTS
        if endpoint.path in _PATHS
    ]


async def _download(reader: Reader, context: ReadContext, endpoint: ReadEndpoint, page_request: ConsoleRequest) -> Response:
    """Return what the filter of a page shows, as CSV. Raises UnexpectedShape for a wrong filter.

    Our own times (`…_at`) are in the zone of the pages, with its offset; those of couriers stay as they were written.
    """
    query = read_query(endpoint.query, page_request.query, page_request.zone.info)
    assert isinstance(query, PageQuery)
    in_zone = endpoint._replace(answer=partial(_answer_in_zone, endpoint, page_request.zone))
    response = await respond_with_csv(reader, context, in_zone, query, {}, BYTE_ORDER_MARK)
    response.headers.update(SECURITY_HEADERS)
    return response


def _answer_in_zone(endpoint: ReadEndpoint, zone: TimeZone, context: ReadContext, query: Any, path: PathValues) -> dict[str, Any]:
    answer = endpoint.answer(context, query, path)
    return answer if zone == UTC_ZONE else answer | {"items": [_write_in_zone(item, zone.info) for item in answer["items"]]}


def _write_in_zone(item: Mapping[str, Any], zone: tzinfo) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value).astimezone(zone).isoformat() if value and name.endswith("_at") else value
        for name, value in item.items()
    }
