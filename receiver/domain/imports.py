"""Deliveries that an operator brings in, because the sender's own request never came. Pure.

What is brought in is decided as a webhook is. It is not a call of the sender: it has no token and no address, and counts in no
figure about calls.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from receiver.domain.answers import describe_receipt
from receiver.domain.records import Receipt
from receiver.domain.replays import Movement

ACTION = "deliveries import"
"""The action of an import in the audit log; its subject is the delivery."""

IMPORT = "import"

Origin: TypeAlias = Literal["webhook", "import", "reconcile"]
BroughtIn: TypeAlias = Literal["import", "reconcile"]
BROUGHT_IN: tuple[str, ...] = get_args(BroughtIn)
ORIGINS: tuple[Origin, ...] = ("webhook", "import", "reconcile")
"""How deliveries came: sent by the sender, brought in by hand, or found missing at the vendor and brought in."""


class ImportRequest(NamedTuple):
    """A body as the sender would have sent it, and how to bring it in. `body` is None for one over the limit.

    `kind` is that of the source's path (None: the source has only one). `sent_at` is when the body was first sent, in
    microseconds (None: not known). `number` is the 1-based number of the body in its file. `dry_run` changes nothing.
    `remark` says where the body comes from.
    """

    source: str
    kind: str | None
    body: bytes | None
    sent_at: int | None = None
    dry_run: bool = False
    origin: BroughtIn = "import"
    number: int = 1
    remark: str = ""


class Imported(NamedTuple):
    """The verdicts on a delivery that was brought in, or with `dry_run` the expected ones, and the trackers that moved."""

    source: str
    origin: str
    receipt: Receipt
    counts: Mapping[str, int]
    trackers: tuple[Movement, ...]
    dry_run: bool

    @property
    def summary(self) -> str:
        """Return the source and the numbers of messages by outcome, for the audit log."""
        found = ", ".join(f"{number} {outcome}" for outcome, number in self.counts.items() if number)
        return f"{self.source}: {found or 'no messages'}"

    def as_json(self) -> dict[str, Any]:
        """Return it as the API shows it: the answer to a webhook, and the trackers. A dry run makes no delivery."""
        answer = describe_receipt(self.receipt, self.counts)
        if self.dry_run:
            answer["delivery_id"] = None
        return {**answer, "trackers": [moved.as_json() for moved in self.trackers], "dry_run": self.dry_run}
