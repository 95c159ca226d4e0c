"""Signing in and out. What is wrong with a token is never said; what is wrong with a form, a browser or a proxy is."""

from secrets import token_urlsafe

from starlette.requests import Request
from starlette.responses import Response

from receiver import clock
from receiver.access.operators import Operator, OperatorAuth
from receiver.access.sessions import SESSION_SECONDS, Session, Sessions
from receiver.clock import to_micros
from receiver.domain.rows import SessionRow
from receiver.errors import FormRefused, ReceiverError, StorageUnavailable, TooManyAttempts, Unauthorized
from receiver.storage.reader import Reader
from receiver.web.console import links
from receiver.web.console.forms import Form, read_form
from receiver.web.console.guard import COOKIE, SessionGuard, Visit
from receiver.web.console.rendering import Renderer, redirect
from receiver.writer.client import WriterClient
from receiver.writer.commands.operators import Audited, BeginSession, EndSession

_VISIT = "receiver_visit"
_VISIT_SECONDS = 3600
_WRONG = "Sign-in failed. Check the token."
_NO_COOKIE = "Your browser did not send the cookie of this form. Allow cookies for this address and try again."
_AWAY = "The database does not answer, so nobody can sign in now. Try again in a moment."


class Login:
    """The endpoints of signing in and out."""

    def __init__(
        self,
        sessions: Sessions,
        guard: SessionGuard,
        operators: OperatorAuth,
        renderer: Renderer,
        writer_client: WriterClient,
        reader: Reader,
    ) -> None:
        self._sessions = sessions
        self._guard = guard
        self._operators = operators
        self._renderer = renderer
        self._writer_client = writer_client
        self._reader = reader

    async def show(self, request: Request) -> Response:
        """Show the form, unless somebody is signed in."""
        wanted = links.read_next(request.query_params.get("next"))
        try:
            visit = await self._reader.read(self._guard.admit, request, clock.now())
        except StorageUnavailable:
            return self._show_form(request, wanted, _AWAY, 503)
        return self._show_form(request, wanted) if visit is None else redirect(wanted)

    async def sign_in(self, request: Request) -> Response:
        """Take a token, begin a session."""
        form = await read_form(request)
        wanted = links.read_next(form.get("next"))
        try:
            self._check_form(request, form)
            operator = self._operators.identify_token(request, form.get("token", ""))
            session, cookie = self._sessions.begin(operator.name)
            await self._begin(operator, session)
        except ReceiverError as error:
            return self._refuse(request, wanted, error)
        response = redirect(wanted)
        self._set_cookie(request, response, COOKIE, cookie, SESSION_SECONDS)
        self._set_cookie(request, response, _VISIT, "", 0)
        return response

    async def sign_out(self, visit: Visit, request: Request, _form: Form) -> Response:
        """End the session; the cookie counts no more, wherever it may be kept, on no receiver."""
        entry = visit.operator.entry(visit.now, "console sign-out", "console", None)
        try:
            await self._writer_client.do(Audited(entry, EndSession(visit.session.digest)))
        except StorageUnavailable as error:
            raise StorageUnavailable(f"You are still signed in. {error.message}") from None
        response = redirect(links.SIGN_IN)
        self._set_cookie(request, response, COOKIE, "", 0)
        return response

    def _check_form(self, request: Request, form: Form) -> None:
        visit = request.cookies.get(_VISIT)
        if visit:
            self._guard.check_form(request, form, self._sessions.form_token_of_visit(visit))
        else:
            self._guard.check_form(request, form, token_urlsafe(), _NO_COOKIE)

    async def _begin(self, operator: Operator, session: Session) -> None:
        now = clock.now()
        began_at = to_micros(now)
        row = SessionRow(session.digest, session.actor, began_at, began_at + SESSION_SECONDS * 1_000_000)
        entry = operator.entry(now, "console sign-in", "console", None)
        await self._writer_client.do(Audited(entry, BeginSession(row)))

    def _refuse(self, request: Request, wanted: str, error: ReceiverError) -> Response:
        """Show the form again, with what is wrong and what to do."""
        if isinstance(error, Unauthorized):
            return self._show_form(request, wanted, _WRONG, 403)
        if isinstance(error, TooManyAttempts):
            response = self._show_form(request, wanted, f"{_WRONG} {error.message}", error.status)
            response.headers["retry-after"] = str(error.retry_after_seconds)
            return response
        return self._show_form(request, wanted, error.message if isinstance(error, FormRefused) else _AWAY, error.status)

    def _show_form(self, request: Request, wanted: str, problem: str | None = None, status: int = 200) -> Response:
        visit = request.cookies.get(_VISIT) or token_urlsafe(18)
        form_token = self._sessions.form_token_of_visit(visit)
        values = {"form_token": form_token, "wanted": wanted, "problem": problem}
        response = self._renderer.print("sign_in.html", clock.now(), status, **values)
        self._set_cookie(request, response, _VISIT, visit, _VISIT_SECONDS)
        return response

    def _set_cookie(self, request: Request, response: Response, name: str, value: str, seconds: int) -> None:
        secure = self._guard.is_https(request)
        response.set_cookie(name, value, max_age=seconds, path="/ops", secure=secure, httponly=True, samesite="strict")
