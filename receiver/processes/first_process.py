"""The duties of process 1 in a container: reap orphans, pass signals on, end with the command.

The kernel gives process 1 only signals that it has a handler for, and makes it the parent of every orphan. So if this is process
1, the command runs in a child from the start. This module imports nothing that takes time.
"""

import os
import signal
from types import FrameType

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def leave_first_place() -> None:
    """Return at once, unless this is process 1. In process 1, fork: return in the child, and end with its exit code."""
    if os.getpid() != 1:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child == 0:
        os.setsid()  # a terminal's Ctrl-C goes to process 1 alone, which passes it on once
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        return

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    os._exit(_reap_until(child))


def _reap_until(child: int) -> int:
    """Reap ended processes until the child ends; return its exit code as a shell does. Then the kernel ends the others."""
    while True:
        process_id, status = os.wait()
        if process_id == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
