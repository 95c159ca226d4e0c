"""The form that saves and removes views."""

from starlette.responses import Response

from receiver.errors import UnexpectedShape
from receiver.web.console.forms import Form
from receiver.web.console.links import HOME
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.rendering import redirect, set_cookie
from receiver.web.console.saved_views import PATHS, VIEWS_COOKIE, VIEWS_SECONDS, SavedView, remove_view, save_view, write_views

VIEWS_PATH = "/ops/views"


def find_list(form: Form) -> str:
    """Return the URL of the list whose view a form saves or removes; the overview for a form of another hand."""
    view = _read_view(form)
    return view.url if view.path in PATHS else HOME


async def change_views(page_request: ConsoleRequest, form: Form) -> Response:
    """Save or remove a view and show its list. Raises UnexpectedShape."""
    view = _read_view(form)
    known, command = page_request.views, form.get("command")
    if view.path not in PATHS or command not in {"save", "remove"}:
        raise UnexpectedShape("Nothing was changed. Open the page again in the console and try again.")
    views = save_view(known, *view) if command == "save" else remove_view(known, view.path, view.name)
    response = redirect(view.url)
    set_cookie(response, VIEWS_COOKIE, write_views(views), VIEWS_SECONDS, is_https=page_request.is_https)
    return response


def _read_view(form: Form) -> SavedView:
    return SavedView(form.get("path", ""), form.get("name", ""), form.get("query", ""))
