"""The forking process, which forks relay processes. It is forked while the service has one thread and no open database.

A relay may have to be restarted at any time, and a process with threads and an event loop cannot fork safely. Executing a new
interpreter each time takes seconds of CPU. So this process waits, with everything imported, and forks on request. It has
nothing that the service opens later: no listening socket, no lock, no socket of the writer.

When the service has ended, for whatever reason, it kills what is left: relays that hang, and processes that handlers started.

The parts, and how they talk:

    service            Supervisor - RelayProcesses - Forker
                           |                           |  control socket: fork, kill; "this one has ended"
    forking process        |                     ForkingProcess  (if it is lost: a new one by `executed_forker`)
                           |                           |  fork, one child for each role
    relay process      RelayLink - socket - ServiceLink, in `relay_process`
"""

import ctypes
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import NoReturn

from receiver.logs import setup

_MAX_BYTES = 64
_ORPHANED_SECONDS = 5.0  # for a relay to end by itself after its service
_KILLED_SECONDS = 1.0  # until processes that were killed are gone
_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_SET_CHILD_SUBREAPER = 36
_NOT_FORKED = 71  # EX_OSERR

Body = Callable[[socket.socket, str], int]
"""The main function of a relay process: takes its socket and its role, returns its exit code."""


class ForkerLost(OSError):
    """The forking process has ended or does not read."""


class Forker:
    """The service's end of the control socket: asks the forking process to start and kill relay processes, one for each role."""

    def __init__(self, control: socket.socket, process_id: int, wait: Callable[[], object]) -> None:
        self.control = control
        self.process_id = process_id
        self._wait = wait
        self._is_closed = False

    def start(self, role: str) -> socket.socket:
        """Start a relay process; return our end of its socket. Raises ForkerLost, or OSError if there can be no socket."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self.control, [role.encode()], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise ForkerLost from error
        return ours

    def kill(self, role: str) -> None:
        """Kill the relay process of a role, if there is one."""
        with suppress(OSError):
            self.control.send(role.encode())

    def take_ended(self) -> tuple[str, int] | None:
        """Wait for the end of a relay process; return its role and exit code (negative for a signal).

        None: the forking process is gone.
        """
        try:
            data = self.control.recv(_MAX_BYTES)
        except ConnectionError:
            return None
        role, _, code = data.decode().partition(" ")
        return (role, int(code)) if data else None

    def close(self, seconds: float) -> None:
        """End the forking process and its children, and wait; kill it after so many seconds."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(OSError):
            self.control.shutdown(socket.SHUT_WR)
            self.control.settimeout(seconds)
            while self.control.recv(_MAX_BYTES):
                pass
        self.control.close()
        with suppress(OSError):
            os.kill(self.process_id, signal.SIGKILL)
            self._wait()


def fork_forker(body: Body) -> Forker:
    """Fork the forking process. This process must have one thread."""
    control, theirs = make_control()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    process_id = os.fork()
    if process_id == 0:
        control.close()
        ForkingProcess(theirs, body).serve()
    theirs.close()
    return Forker(control, process_id, partial(os.waitpid, process_id, 0))


def make_control() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of the socket between the service and a forking process."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class ForkingProcess:
    """The other end, inside the forking process: one thread, which waits for the service and for its children."""

    def __init__(self, control: socket.socket, body: Body) -> None:
        self._control = control
        self._body = body
        self._roles: dict[int, str] = {}
        self._woken, waker = socket.socketpair()
        for end in (self._woken, waker):
            end.setblocking(False)  # noqa: FBT003  the interface of sockets
        self._waker = waker

    def serve(self) -> NoReturn:
        """Fork, kill and reap until the service is gone; then kill what is left."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, lambda *_: None)  # the service decides; unlike SIG_IGN, a handler does not survive an exec
            signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
            _control_process(_SET_CHILD_SUBREAPER, 1)
            while self._listen():
                self._reap()
            self._end()
        finally:
            os._exit(0)

    def _listen(self) -> bool:
        """Wait for a request or a signal; return whether the service is still there."""
        ready, _, _ = select.select([self._control, self._woken], [], [])
        if self._woken in ready:
            with suppress(BlockingIOError):
                self._woken.recv(4096)
        if self._control not in ready:
            return True
        try:
            data, files, _, _ = socket.recv_fds(self._control, _MAX_BYTES, 1)
        except ConnectionError:
            return False
        if files:
            self._fork(data.decode(), files[0])
        elif data:
            self._kill(data.decode())
        return bool(data)

    def _fork(self, role: str, file: int) -> None:
        with socket.socket(fileno=file) as channel:
            parent_id = os.getpid()
            try:
                process_id = os.fork()
            except OSError:
                self._report(role, _NOT_FORKED)
                return
            if process_id == 0:
                self._become_relay(channel, role, parent_id)
        self._roles[process_id] = role

    def _become_relay(self, channel: socket.socket, role: str, parent_id: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()  # what handlers start is killed with it, and Ctrl-C does not reach it
            _control_process(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != parent_id:
                os._exit(code)  # the parent has ended meanwhile, and nothing knows of this process
            for end in (self._control, self._woken, self._waker):
                end.close()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.close(null)
            code = self._body(channel, role)
        finally:
            setup.drain()
            os._exit(code)  # does not wait for threads of handlers

    def _kill(self, role: str) -> None:
        for process_id, its_role in self._roles.items():
            if its_role == role:
                _kill_group(process_id)

    def _reap(self) -> None:
        """Reap relays, and processes whose parents have ended."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                process_id, status = ended
                if process_id in self._roles:
                    with suppress(ProcessLookupError, PermissionError):
                        os.killpg(process_id, signal.SIGKILL)  # its children
                    self._report(self._roles.pop(process_id), os.waitstatus_to_exitcode(status))

    def _report(self, role: str, code: int) -> None:
        with suppress(OSError):  # the service is gone, which the next select shows
            self._control.send(f"{role} {code}".encode())

    def _end(self) -> None:
        deadline = monotonic() + _ORPHANED_SECONDS
        while self._roles and monotonic() < deadline:
            self._reap()
            sleep(0.02)
        for process_id in self._roles:
            _kill_group(process_id)
        with suppress(ChildProcessError):  # until there is none
            while monotonic() < deadline + _KILLED_SECONDS:
                for process_id in _list_children():
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(process_id, signal.SIGKILL)
                if not os.waitpid(-1, os.WNOHANG)[0]:
                    sleep(0.01)


def _kill_group(process_id: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not yet have a group of its own
        with suppress(ProcessLookupError, PermissionError):
            kill(process_id, signal.SIGKILL)


def _list_children() -> list[int]:
    """Return the IDs of the children of this process, adopted ones too; none on a system without /proc."""
    try:
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _control_process(option: int, value: int) -> None:
    """Call prctl(2), which only Linux has. Elsewhere a relay that hangs may outlive a killed service and forker."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
