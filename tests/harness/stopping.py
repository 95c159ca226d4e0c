"""`receiver serve` with a bound of its own on how long stopping may take: `python -m tests.harness.stopping SECONDS`."""

import sys

from receiver import service
from receiver.logs import setup
from receiver.processes.first_process import leave_first_place
from receiver.settings import load

if __name__ == "__main__":
    leave_first_place()
    settings = load()
    setup.configure(settings.log_format, settings.secrets())
    sys.exit(service.run(settings, stop_seconds=float(sys.argv[1])))
