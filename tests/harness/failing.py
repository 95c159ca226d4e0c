"""`receiver` with a defect in its own reading of Ship24's bodies: `python -P tests/harness/failing.py … -m receiver COMMAND`.

Given as the `prefix` of a service, it stands before the interpreter and the module that would be run without it.
"""

import sys

from receiver import cli
from receiver.domain.records import Message
from receiver.sources import ship24

MARK = b"our-code-fails-on-this"
"""In a body: reading it raises."""


def main() -> None:
    """Run the command with the defect."""
    split = ship24.split

    def fail(body: bytes) -> list[Message]:
        if MARK in body:
            raise ZeroDivisionError("private-content")
        return split(body)

    ship24.split = fail
    sys.argv[1:] = sys.argv[sys.argv.index("receiver") + 1 :]
    cli.main()


if __name__ == "__main__":
    main()
