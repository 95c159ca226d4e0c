"""Connections to a vendor that end after a time: a server that sends a byte now and then would keep each single read alive."""

import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Timer

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class _OpenedSocket:
    """The socket that was opened last, by a descriptor of its own. Another thread can shut it down."""

    def __init__(self) -> None:
        self.is_cut = False
        self._lock = Lock()
        self._descriptors: list[int] = []
        weakref.finalize(self, _close, self._descriptors)

    def note(self, opened: socket.socket) -> socket.socket:
        """Remember a socket; return it."""
        with self._lock:
            _close(self._descriptors)
            self._descriptors.append(os.dup(opened.fileno()))  # TLS detaches the socket itself
        return opened

    def cut(self) -> None:
        """Shut the socket down: whoever waits for it gets its end."""
        with self._lock:
            self.is_cut = True
            for descriptor in self._descriptors:
                with socket.socket(fileno=os.dup(descriptor)) as handle, suppress(OSError):  # closed by the server
                    handle.shutdown(socket.SHUT_RDWR)


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


class LimitedPools(urllib3.PoolManager):
    """Connections for one thread, with a limit for a whole exchange. `timeout` is for each wait."""

    def __init__(self, timeout: urllib3.Timeout) -> None:
        super().__init__(retries=False, timeout=timeout)
        opened = self._opened = _OpenedSocket()

        class Plain(HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return opened.note(super()._new_conn())

        class Secure(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return opened.note(super()._new_conn())

        plain = type("PlainPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": Plain})
        secure = type("SecurePool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": Secure})
        self.pool_classes_by_scheme = {"http": plain, "https": secure}

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """End the exchange of the block after this time. Raises TimeoutError."""
        self._opened.is_cut = False
        timer = Timer(seconds, self._opened.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError):
            if self._opened.is_cut:
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()
        if self._opened.is_cut:  # a body without a length looks whole
            raise TimeoutError
