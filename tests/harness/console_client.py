"""A console client without a browser: it keeps cookies and sends forms."""

import html
import re
from collections.abc import Mapping
from http.client import HTTPConnection
from urllib.parse import urlencode

from tests.harness.service import Reply
from tests.harness.traffic import Connectable

OPS = "the-ops-token-of-these-tests"
SESSION = "receiver_session"
_FORM_TOKEN = re.compile(r'name="form_token" value="([^"]*)"')


class ConsoleClient:
    """A client that keeps cookies. `headers` go with every request."""

    def __init__(self, running: Connectable, **headers: str) -> None:
        self._running = running
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Reply:
        return self._call("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Reply:
        return self._call("POST", path, urlencode(fields).encode(), headers)

    def sign_in(self, token: str, **fields: str) -> Reply:
        """Type a token into the form of the sign-in page."""
        form_token = find_form_token(self.get("/ops/sign-in"))
        return self.post("/ops/sign-in", {"form_token": form_token, "token": token, **fields})

    def submit(self, path: str, **fields: str) -> Reply:
        """Open the page of a form and send it."""
        return self.post(path, {"form_token": find_form_token(self.get(path)), **fields})

    def upload(self, path: str, content: bytes, name: str, **fields: str) -> Reply:
        """Open the page of a form, choose a file for its field `file`, and send it as a browser does."""
        texts = {"form_token": find_form_token(self.get(path)), **fields}
        parts = [f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode() for key, value in texts.items()]
        parts.append(f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content)
        body = b"".join(b"--limit\r\n" + part + b"\r\n" for part in parts) + b"--limit--\r\n"
        return self._call("POST", path, body, {"Content-Type": "multipart/form-data; boundary=limit"})

    def _connect(self) -> HTTPConnection:
        return self._running.connect()

    def _call(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        sent = [(name.replace("_", "-"), value) for name, value in {**self._headers, **headers}.items()]
        if self.cookies:
            sent.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        if body is not None and "Content-Type" not in headers:
            sent.append(("Content-Type", "application/x-www-form-urlencoded"))
        connection = self._connect()
        try:
            connection.request(method, path, body, dict(sent))
            response = connection.getresponse()
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    self._keep(value)
            names = {name.lower() for name, _ in response.getheaders()}
            received = {name: "\n".join(response.headers.get_all(name) or ()) for name in names}
            return Reply(response.status, received, response.read())
        finally:
            connection.close()

    def _keep(self, cookie: str) -> None:
        name, _, value = cookie.partition(";")[0].partition("=")
        self.cookies.pop(name, None)
        if "max-age=0" not in cookie.lower():
            self.cookies[name] = value


def find_form_token(page: Reply) -> str:
    """Return the form token of a page."""
    found = _FORM_TOKEN.search(page.body.decode())
    assert found is not None, page
    return html.unescape(found[1])
