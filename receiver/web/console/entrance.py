"""Signing in and out. An answer to a failed sign-in never tells why it failed."""

import asyncio
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_urlsafe

from starlette.requests import Request
from starlette.responses import Response

from receiver import clock
from receiver.clock import to_micros
from receiver.errors import FormRefused
from receiver.web.allowance import Allowance
from receiver.web.console import links
from receiver.web.console.forms import read_form
from receiver.web.console.guard import COOKIE, Guard, Visit
from receiver.web.console.printer import Printer, redirect
from receiver.web.console.session import SESSION_SECONDS, Sessions
from receiver.web.desk import Desk
from receiver.web.operators import Operator, Operators

_VISIT = "receiver_visit"
_VISIT_SECONDS = 3600
_MAX_ADDRESSES = 1024
_FAILED = "That did not work. Check the token and try again; after several tries, wait a minute first."


class Attempts:
    """How often each address may fail: ten times, then once in ten seconds. Networks of IPv6 count as one address."""

    def __init__(self) -> None:
        self._allowances: OrderedDict[str, Allowance] = OrderedDict()

    def take(self, address: str | None, now_seconds: float) -> bool:
        """Take one attempt out, if there is one."""
        key = _widen(address)
        allowance = self._allowances.setdefault(key, Allowance(10, 0.1))
        self._allowances.move_to_end(key)
        while len(self._allowances) > _MAX_ADDRESSES:
            self._allowances.popitem(last=False)
        return allowance.take(now_seconds)

    def forgive(self, address: str | None) -> None:
        """Start over with an address: somebody with a token is there."""
        self._allowances.pop(_widen(address), None)


class Entrance:
    """The endpoints of signing in and out."""

    def __init__(self, sessions: Sessions, guard: Guard, operators: Operators, printer: Printer, desk: Desk) -> None:
        self._sessions = sessions
        self._guard = guard
        self._operators = operators
        self._printer = printer
        self._desk = desk
        self._attempts = Attempts()
        self._notes = Allowance(10, 1 / 300)  # failed sign-ins that are put on record one by one
        self._unnoted = 0

    async def show(self, request: Request) -> Response:
        """Show the form, unless somebody is signed in."""
        wanted = links.read_next(request.query_params.get("next"))
        if self._guard.admit(request, clock.now()) is not None:
            return redirect(wanted)
        return self._show_form(request, wanted)

    async def sign_in(self, request: Request) -> Response:
        """Take a token, begin a session."""
        form = await read_form(request)
        wanted = links.read_next(form.get("next"))
        address = self._operators.address_of(request)
        visit = request.cookies.get(_VISIT, "")
        try:
            self._guard.check_form(request, form, self._sessions.form_token_of_visit(visit) if visit else token_urlsafe())
        except FormRefused:
            return self._show_form(request, wanted, 403)
        allowed = self._attempts.take(address, asyncio.get_running_loop().time())
        begun = self._sessions.begin(form.get("token", "")) if allowed else None
        if begun is None:
            await self._note_failure(address)
            return self._show_form(request, wanted, 403)
        session, cookie = begun
        self._attempts.forgive(address)
        await self._note(Operator(session.actor, address), "console sign-in", None)
        await self._desk.do("note_token_uses", {("ops", session.actor): to_micros(clock.now())})
        response = redirect(wanted)
        self._set_cookie(request, response, COOKIE, cookie, SESSION_SECONDS)
        self._set_cookie(request, response, _VISIT, "", 0)
        return response

    async def sign_out(self, visit: Visit, request: Request) -> Response:
        """End the session; the cookie counts no more, wherever it may be kept. Raises FormRefused."""
        self._guard.check_form(request, await read_form(request), visit.session.form_token)
        self._sessions.end(visit.session, visit.now)
        await self._note(visit.operator, "console sign-out", None)
        response = redirect(links.SIGN_IN)
        self._set_cookie(request, response, COOKIE, "", 0)
        return response

    def _show_form(self, request: Request, wanted: str, status: int = 200) -> Response:
        visit = request.cookies.get(_VISIT) or token_urlsafe(18)
        form_token = self._sessions.form_token_of_visit(visit)
        problem = _FAILED if status != 200 else None
        values = {"form_token": form_token, "wanted": wanted, "problem": problem}
        response = self._printer.print("sign_in.html", clock.now(), status, **values)
        self._set_cookie(request, response, _VISIT, visit, _VISIT_SECONDS)
        return response

    def _set_cookie(self, request: Request, response: Response, name: str, value: str, seconds: int) -> None:
        secure = self._guard.is_https(request)
        response.set_cookie(name, value, max_age=seconds, path="/ops", secure=secure, httponly=True, samesite="strict")

    async def _note_failure(self, address: str | None) -> None:
        """Put a failed sign-in on record; of a flood only some, with the number of the others."""
        if not self._notes.take(asyncio.get_running_loop().time()):
            self._unnoted += 1
            return
        detail = f"{self._unnoted} more before it" if self._unnoted else None
        self._unnoted = 0
        await self._note(Operator("nobody", address), "console sign-in failed", detail)

    async def _note(self, operator: Operator, action: str, detail: str | None) -> None:
        await self._desk.do("note", operator.entry(clock.now(), action, "console", detail))


def _widen(address: str | None) -> str:
    if address is None:
        return "unknown"
    parsed = ip_address(address)
    return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else address
