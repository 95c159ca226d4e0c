"""Being process 1 of a container: reap what others leave behind, pass signals on, end with the command.

The kernel shows process 1 no signal that it has no handler for, and makes it the parent of every orphan. So where we are process
1 the command runs in a child, from its first moment on. This module imports nothing that takes time.
"""

import os
import signal
from types import FrameType

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def leave_first_place() -> None:
    """Return at once in any process but the first one; there, return in a child, and end when that has ended."""
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
    """Take the exit codes of all who end; return that of the child, as a shell names it. Whoever is left ends with us."""
    while True:
        process_id, status = os.wait()
        if process_id == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
