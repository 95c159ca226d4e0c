"""Client of the ops API of the receiver behind a webhook URL."""

from urllib.parse import urlsplit

from receiver.testkit.http import HttpConnection, Reply


def find_root(webhook_url: str) -> str:
    """Return the URL of the service: what comes before the path of its webhooks, else the root of the host."""
    parts = urlsplit(webhook_url)
    prefix = parts.path.partition("/webhooks/")[0] if "/webhooks/" in parts.path else ""
    return f"{parts.scheme}://{parts.netloc}{prefix}"


class OpsClient:
    """Reads from the ops API of a service, over one connection."""

    def __init__(self, root: str, token: str, connection: HttpConnection) -> None:
        self._base = f"{root}/ops/api/"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._connection = connection

    async def get(self, path: str) -> Reply:
        """Read a path below `/ops/api/`, with its query."""
        return await self._connection.call("GET", f"{self._base}{path}", self._headers)
