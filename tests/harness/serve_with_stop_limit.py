"""`receiver serve` with another limit for stopping: `python -m tests.harness.serve_with_stop_limit SECONDS`."""

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
