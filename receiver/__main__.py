"""`python -m receiver` is the `receiver` command."""

from receiver.processes.first_process import leave_first_place

leave_first_place()  # before the imports below, which take their time: a signal counts from the first moment on

from receiver.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
