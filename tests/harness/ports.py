"""Free ports that no other process is given."""

import os
import socket
from collections import deque
from functools import cache

_MAX_KEPT = 200


def free_port() -> int:
    """Return a port of the loopback address that is the caller's.

    It stays bound here, without listening: nobody is given it by chance, neither a server nor an outgoing connection, and
    whoever asks for it by its number, as servers do with SO_REUSEADDR, can listen there, now and after a restart.
    """
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        port = int(keeper.getsockname()[1])
        kept = _kept()
        kept.append(keeper.detach())
    if len(kept) > _MAX_KEPT:
        os.close(kept.popleft())
    return port


@cache
def _kept() -> deque[int]:
    """Return the descriptors of the sockets that keep a port, the oldest first."""
    return deque()
