"""NATS targets with JetStream. A change is delivered when the broker has stored it.

The ID of the change is sent as Nats-Msg-Id: the broker drops what is published again within the stream's `duplicate_window` (two
minutes by default); after that, readers recognise it by its ID. You create the stream of the subject yourself.

Another broker is one file like this one: a class with `subscription`, `timeout_seconds`, `deliver` and `close`. `deliver` sends
`Change.write_body`, with the ID of the change where the broker compares IDs. It returns when the broker has confirmed the
change, and raises TargetUnavailable if the broker is down, NotAcknowledged if it rejects this change. Add its scheme to
`receiver/settings/targets.py` and a line to `assembly.py`. The worker takes care of order and retries.
"""

import asyncio
from collections.abc import Sequence

from nats.aio.client import Client
from nats.errors import MaxPayloadError
from nats.js.api import Header
from nats.js.errors import APIError, NoStreamResponseError

from receiver.access.bearer import Secret
from receiver.domain.changes import TEST_HEADER, Change
from receiver.relay.excerpts import make_excerpt
from receiver.relay.target import NotAcknowledged, TargetUnavailable
from receiver.settings.targets import TargetSettings

_CONNECT_SECONDS = 5
_CLOSE_SECONDS = 2.0


class NatsTarget:
    """One subject of one broker or cluster. One connection, opened on demand and again after it was lost."""

    runs_foreign_code = False

    def __init__(self, settings: TargetSettings, secrets: Sequence[Secret]) -> None:
        self.subscription = settings.subscription
        self.timeout_seconds = settings.timeout_seconds
        self._subject = settings.subject
        self._secrets = secrets
        self._servers = [settings.url]
        self._url = settings.url
        self._client: Client | None = None
        self._connecting: asyncio.Task[Client] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def deliver(self, change: Change) -> None:
        """Publish a change; return when the broker has confirmed it. Raises NotAcknowledged or TargetUnavailable."""
        client = await self._connected()
        headers = {Header.MSG_ID.value: change.id, **({TEST_HEADER: "true"} if change.is_test else {})}
        try:
            await client.jetstream().publish(self._subject, change.write_body(), self.timeout_seconds, headers=headers)
        except NoStreamResponseError:
            raise TargetUnavailable(f"{self.subscription.target}: no stream of the broker has its subject.") from None
        except APIError as error:
            kind = TargetUnavailable if (error.code or 500) >= 500 else NotAcknowledged
            answer = make_excerpt((error.description or "").encode(), [secret.reveal() for secret in self._secrets])
            message = f"{self.subscription.target}: the broker answered {error.code} ({error.err_code})."
            raise kind(message, answer=answer) from None
        except MaxPayloadError:
            raise NotAcknowledged(f"{self.subscription.target}: the change is larger than the broker allows.") from None
        except asyncio.CancelledError:  # the time-out: the broker may be gone
            self._drop(client)
            raise
        except Exception as error:
            self._drop(client)
            raise TargetUnavailable(f"{self.subscription.target}: the broker did not confirm: {type(error).__name__}.") from None

    async def close(self) -> None:
        """Close the connection."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._client is not None:
            self._drop(self._client)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_SECONDS)

    async def _connected(self) -> Client:
        """Return the connection. All callers wait for the same new one."""
        if self._client is not None and self._client.is_connected:
            return self._client
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        try:
            return await asyncio.shield(self._connecting)
        except Exception as error:
            name = "it rejects the token" if "authorization" in str(error).lower() else type(error).__name__
            raise TargetUnavailable(f"{self.subscription.target}: no connection to the broker: {name}.") from None

    async def _connect(self) -> Client:
        """Connect once to each known server: the worker decides when to retry, as with other targets."""
        if self._client is not None:
            self._drop(self._client)
        errors: list[Exception] = []

        async def on_error(error: Exception) -> None:
            errors.append(error)

        client = Client()
        try:
            await client.connect(
                servers=self._servers,
                name="receiver",
                token=self._secrets[0].reveal() if self._secrets else None,
                error_cb=on_error,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_SECONDS,
            )
        except Exception as error:
            self._drop(client)
            raise (errors[-1] if errors else error) from None
        others = (server.geturl() for server in client.discovered_servers)
        self._servers = list(dict.fromkeys([self._url, *others]))
        self._client = client
        return client

    def _drop(self, client: Client) -> None:
        """Close a connection without waiting for it."""
        if client is self._client:
            self._client = None
        closing = asyncio.create_task(client.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
