"""Endpoints from page functions: signed-in operators only, in a reader thread, with errors shown as pages."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from receiver import clock
from receiver.errors import BodyTooLarge, NotFound, ReadOnlyToken, ReceiverError, StorageUnavailable, UnexpectedShape
from receiver.storage.reader import Reader
from receiver.web.console import links
from receiver.web.console.forms import Form, read_form
from receiver.web.console.login import ConsoleRequest, SessionGuard, url_of
from receiver.web.console.rendering import SECURITY_HEADERS, Renderer, disable_forms, leave_out_unchanged, redirect
from receiver.web.console.results import ResultPages, read_summary


class Page(NamedTuple):
    """A template and its values. `section` is the entry of the menu."""

    template: str
    section: str
    values: dict[str, Any]


class FormResult(NamedTuple):
    """The result of a form that changed something: a page, and a sentence without data of persons, which goes into its URL."""

    page: Page
    summary: str


MakePage = Callable[[ConsoleRequest], Page | Response]
MakeOnLoop = Callable[[ConsoleRequest], Coroutine[Any, Any, Page | Response]]
TakeForm = Callable[[ConsoleRequest, Form], Coroutine[Any, Any, FormResult | Page | Response]]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]

_TITLES: dict[type[ReceiverError], str] = {
    BodyTooLarge: "Too large",
    NotFound: "Not found",
    ReadOnlyToken: "Not allowed",
    StorageUnavailable: "The database does not respond",
}


class Pages:
    """Makes endpoints from functions that return a page."""

    def __init__(self, guard: SessionGuard, renderer: Renderer, reader: Reader) -> None:
        self._guard = guard
        self._renderer = renderer
        self._reader = reader
        self._results = ResultPages()

    def show(self, make: MakePage) -> Endpoint:
        """Return the endpoint of a page that only reads."""

        async def endpoint(request: Request) -> Response:
            if not self._guard.has_cookie(request):
                return self._send_to_sign_in(request)
            try:
                return await self._reader.read(self._respond, make, request)
            except StorageUnavailable as error:
                return self._show_unavailable(error)

        return endpoint

    def show_on_loop(self, make: MakeOnLoop) -> Endpoint:
        """Return the endpoint of a page that asks the writing process, or of a file that is sent while it is read."""

        async def endpoint(request: Request) -> Response:
            try:
                page_request = await self._admit(request)
            except StorageUnavailable as error:
                return self._show_unavailable(error)
            if page_request is None:
                return self._send_to_sign_in(request)
            try:
                page = await make(page_request)
            except ReceiverError as error:
                return await asyncio.to_thread(self._show_error, page_request, error)
            return await asyncio.to_thread(self._render, page_request, page)

        return endpoint

    def take(
        self,
        take_form: TakeForm,
        *,
        form_page: str | None = None,
        find_page: Callable[[Form], str] | None = None,
        is_change: bool = True,
    ) -> Endpoint:
        """Return the endpoint of a form. `take_form` gets only forms that a page of the console sent in this session.

        A `FormResult` is shown after a redirect, so that no reload sends the form again. A page is for what changed nothing: a
        preview or a problem. `form_page` is the page with the form if it is not the form's own URL; `find_page` finds it where
        several pages have the form. An operator who may only look gets an error, except where `is_change` is false.
        """

        async def endpoint(request: Request) -> Response:
            form_url = form_page or url_of(request)
            try:
                page_request = await self._admit(request)
            except StorageUnavailable as error:
                return self._show_unavailable(error)
            if page_request is None:
                return redirect(links.to_sign_in(form_url, is_unsent=True) if is_change else links.SIGN_IN)
            page_request = page_request._replace(url=form_url)
            try:
                form = await read_form(request)
                form_url = form_url if find_page is None else find_page(form)
                page_request = page_request._replace(url=form_url)
                self._guard.check_form(request, form, page_request.session.form_token)
                if is_change:
                    page_request.operator.check_method(request.method)
                taken = await take_form(page_request, form)
            except ReceiverError as error:
                return self._refuse_form(request, page_request, error, form_url)
            if not isinstance(taken, FormResult):
                return await asyncio.to_thread(self._render, page_request, taken)
            body = (await asyncio.to_thread(self._render, page_request, taken.page)).body
            return redirect(self._results.keep(page_request.session, bytes(body), taken.summary, page_request.now))

        return endpoint

    def show_result(self, page_request: ConsoleRequest) -> Page | Response:
        """Show the result of a form, after its redirect: the whole page, or its summary if another receiver has it.

        Raises NotFound.
        """
        summary = read_summary(page_request.session, dict(page_request.query))
        body = self._results.find(page_request.session, page_request.path["result_id"], page_request.now)
        if body is None:
            return Page("result.html", "", {"summary": summary})
        return Response(body, 200, SECURITY_HEADERS, media_type="text/html")

    async def _admit(self, request: Request) -> ConsoleRequest | None:
        if not self._guard.has_cookie(request):
            return None
        return await self._reader.read(self._guard.admit, request, clock.now())

    def _respond(self, make: MakePage, request: Request) -> Response:
        page_request = self._guard.admit(request, clock.now())
        if page_request is None:
            return self._send_to_sign_in(request)
        try:
            response = self._render(page_request, make(page_request))
        except ReceiverError as error:
            return self._show_error(page_request, error)
        return leave_out_unchanged(response, request.headers.get("if-none-match"))

    def _render(self, page_request: ConsoleRequest, page: Page | Response, status: int = 200) -> Response:
        if isinstance(page, Response):
            return page
        values = {"page_request": page_request, "links": links, "section": page.section, **page.values}
        response = self._renderer.render(page.template, page_request.now, status, page_request.zone, **values)
        return disable_forms(response) if page_request.operator.only_looks else response

    def _show_unavailable(self, error: ReceiverError) -> Response:
        """Respond while the sessions cannot be read."""
        return self._renderer.render("unavailable.html", clock.now(), error.status, title=_TITLES[StorageUnavailable])

    def _refuse_form(self, request: Request, page_request: ConsoleRequest, error: ReceiverError, form_url: str) -> Response:
        """Show an error. Raises it for one about size, which is answered in JSON on every path, unless a browser asks."""
        if isinstance(error, BodyTooLarge) and "text/html" not in request.headers.get("accept", ""):
            raise error
        return self._show_error(page_request, error, form_url)

    def _show_error(self, page_request: ConsoleRequest, error: ReceiverError, form_url: str | None = None) -> Response:
        is_filter = form_url is None and isinstance(error, UnexpectedShape) and bool(page_request.query)
        title = "Invalid filter" if is_filter else _TITLES.get(type(error), "Request failed")
        back = ("Clear filters", page_request.url.partition("?")[0]) if is_filter else None
        if form_url is not None:
            back = "Back to the form", links.read_next(form_url)
        values = {"title": title, "message": error.message, "back": back}
        return self._render(page_request, Page("error.html", "", values), error.status)

    def _send_to_sign_in(self, request: Request) -> Response:
        """Redirect to the sign-in form.

        A link in a mail or a chat comes without the strict cookie. That page first loads itself again, and then has the cookie.
        """
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            return self._renderer.render("reload.html", clock.now(), wanted=links.read_next(url_of(request)))
        return redirect(links.to_sign_in(url_of(request)))
