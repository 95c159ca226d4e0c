"""A forking process in a new interpreter, instead of a lost one or to try handlers. The service has threads and cannot fork.

It gets the settings through a pipe, as their files may have changed since they were read.
"""

import pickle
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any

from receiver.access.bearer import Secret
from receiver.logs import setup
from receiver.relay.assembly import ConfiguredTarget
from receiver.relay.forker import Forker, ForkingProcess, make_control
from receiver.relay.link import read_hello
from receiver.relay.relay_process import ALL, run_relay
from receiver.settings import Settings

_CLOSE_SECONDS = 2.0
_STDERR = 2
_MAIN = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from receiver.relay.executed_forker import serve; serve(int(sys.argv[1]))"
)


def execute_forker(settings: Settings, stdout: int | None = None) -> Forker:
    """Start a forking process in a new interpreter, with this file descriptor as its standard output. Raises OSError."""
    control, theirs = make_control()
    with theirs:
        command = [sys.executable, "-P", "-c", _MAIN, str(theirs.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, pass_fds=[theirs.fileno()])  # noqa: S603  our own
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # if it has ended, its socket shows that
        pipe.write(pickle.dumps(sys.path) + _pack(settings))
    return Forker(control, process.pid, process.wait)


def try_relay(settings: Settings, seconds: float) -> tuple[ConfiguredTarget, ...]:
    """Import the user's modules as a relay of the service does, in processes that end then, and return the targets.

    What they print goes to standard error. Raises ConfigurationError if they cannot be imported, or not within so many seconds.
    """
    forker = execute_forker(settings, _STDERR)
    try:
        with forker.start(ALL) as channel:
            return read_hello(channel, seconds)
    finally:
        forker.close(_CLOSE_SECONDS)


def serve(control: int) -> None:
    """Run the forking process. `control` is the file descriptor of its end of the socket."""
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301  written by the process that executed this one
    setup.configure(settings.log_format, settings.secrets())
    ForkingProcess(socket.socket(fileno=control), partial(run_relay, settings)).serve()


class _Packer(pickle.Pickler):
    """Pickles secrets too, for our own process at the other end of a pipe."""

    def reducer_override(self, value: Any) -> Any:
        """Return how to restore a secret."""
        return (Secret, (value.name, value.reveal())) if type(value) is Secret else NotImplemented


def _pack(settings: Settings) -> bytes:
    file = BytesIO()
    _Packer(file, pickle.HIGHEST_PROTOCOL).dump(settings)
    return file.getvalue()
