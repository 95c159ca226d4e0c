"""The page on which an operator chooses the time zone of all pages."""

from starlette.responses import Response

from receiver.web.console import links
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import Page
from receiver.web.console.rendering import redirect, set_cookie
from receiver.web.console.time_zones import ZONE_COOKIE, find_zone, list_zone_names

_COOKIE_SECONDS = 365 * 86_400


def ask_for_zone(page_request: ConsoleRequest) -> Page:
    """Show the time zones that this machine knows."""
    wanted = links.read_next(dict(page_request.query).get("next"))
    return Page("time_zone.html", "", {"names": list_zone_names(), "wanted": wanted})


async def choose_zone(page_request: ConsoleRequest, form: Form) -> Response:
    """Remember a time zone in a cookie and return to the page before. Raises UnexpectedShape for an unknown zone."""
    zone = find_zone(form.get("zone", ""))
    response = redirect(links.read_next(form.get("next")))
    set_cookie(response, ZONE_COOKIE, zone.name, _COOKIE_SECONDS, is_https=page_request.is_https)
    return response
