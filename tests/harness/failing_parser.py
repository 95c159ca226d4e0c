"""`receiver` with a defect in its parser of Ship24's bodies.

Run `python -P tests/harness/failing_parser.py … -m receiver COMMAND`, or pass it as the `prefix` of a service.
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
