"""From a function that makes a page to an endpoint that answers it: signed in, in a thread, with its errors as pages."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from receiver import clock
from receiver.errors import NotFound, ReceiverError, StorageUnavailable, UnexpectedShape
from receiver.storage.reader import Reader
from receiver.web.console import links
from receiver.web.console.forms import Form, read_form
from receiver.web.console.guard import SessionGuard, Visit, address_bar
from receiver.web.console.rendering import Renderer, redirect


class Page(NamedTuple):
    """What a page shows: a template and its values."""

    template: str
    values: dict[str, Any]


MakePage = Callable[[Visit], Page | Response]
HandleForm = Callable[[Visit, Request, Form], Coroutine[Any, Any, Response]]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]

_TITLES: dict[type[ReceiverError], str] = {
    NotFound: "Not found",
    UnexpectedShape: "That cannot be shown",
    StorageUnavailable: "The database does not answer",
}


class Pages:
    """Makes endpoints."""

    def __init__(self, guard: SessionGuard, renderer: Renderer, reader: Reader) -> None:
        self._guard = guard
        self._renderer = renderer
        self._reader = reader

    def show(self, make: MakePage) -> Endpoint:
        """Return the endpoint of a page that only reads."""

        async def endpoint(request: Request) -> Response:
            if not self._guard.is_ours(request):
                return self._send_to_sign_in(request)
            try:
                return await self._reader.read(self._answer, make, request)
            except StorageUnavailable as error:
                return self._say_away(error)

        return endpoint

    def take(self, handle: HandleForm) -> Endpoint:
        """Return the endpoint of a form; one that is not ours never gets to `handle`."""

        async def endpoint(request: Request) -> Response:
            if not self._guard.is_ours(request):
                return redirect(links.SIGN_IN)
            try:
                visit = await self._reader.read(self._guard.admit, request, clock.now())
            except StorageUnavailable as error:
                return self._say_away(error)
            if visit is None:
                return redirect(links.SIGN_IN)
            form = await read_form(request)
            try:
                self._guard.check_form(request, form, visit.session.form_token)
                return await handle(visit, request, form)
            except ReceiverError as error:
                return self._explain(visit, error)

        return endpoint

    def _answer(self, make: MakePage, request: Request) -> Response:
        visit = self._guard.admit(request, clock.now())
        if visit is None:
            return self._send_to_sign_in(request)
        try:
            return self._print(make, visit)
        except ReceiverError as error:
            return self._explain(visit, error)

    def _say_away(self, error: ReceiverError) -> Response:
        """Answer while it cannot be known who is signed in."""
        return self._renderer.print("away.html", clock.now(), error.status, title=_TITLES[StorageUnavailable])

    def _print(self, make: MakePage, visit: Visit) -> Response:
        page = make(visit)
        if isinstance(page, Response):
            return page
        return self._renderer.print(page.template, visit.now, visit=visit, links=links, **page.values)

    def _explain(self, visit: Visit, error: ReceiverError) -> Response:
        title = _TITLES.get(type(error), "That did not work")
        back = visit.url.partition("?")[0]
        values = {
            "section": None,
            "title": title,
            "message": error.message,
            "back": back if isinstance(error, UnexpectedShape) else None,
        }
        return self._renderer.print("error.html", visit.now, error.status, visit=visit, links=links, **values)

    def _send_to_sign_in(self, request: Request) -> Response:
        """A link in a mail or a chat comes without the strict cookie; the page asks for itself once more, and then has it."""
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            return self._renderer.print("once_more.html", clock.now(), wanted=links.read_next(address_bar(request)))
        return redirect(links.to_sign_in(address_bar(request)))
