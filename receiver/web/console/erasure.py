"""The page that erases the personal data of a person: search, choose, erase; the result is a receipt without personal data."""

from receiver.clock import iso
from receiver.errors import UnexpectedShape
from receiver.maintenance.erase import Eraser
from receiver.sources import NAMES
from receiver.storage import queries
from receiver.storage.database import Database
from receiver.web.console.forms import Form
from receiver.web.console.login import ConsoleRequest
from receiver.web.console.pages import FormResult, Page

_SHOWN = 40  # trackers of one page; a form has at most 50 fields
_CHOSEN = "erase "  # the name of a tracker's checkbox begins so


def ask_to_erase(database: Database, page_request: ConsoleRequest) -> Page:
    """Show the trackers that mention a person, with the fields that do. Raises UnexpectedShape for an invalid cursor."""
    query = dict(page_request.query)
    words = query.get("q", "").strip()
    page = queries.find_persons(database, words, _SHOWN, query.get("cursor")) if words else None
    return Page("erasure.html", "trackers", {"wanted": words, "page": page, "limit": _SHOWN, "receipt": None})


async def erase_chosen(eraser: Eraser, page_request: ConsoleRequest, form: Form) -> FormResult:
    """Erase the chosen trackers and show the receipt. Raises NotFound, UnexpectedShape."""
    names = [name.removeprefix(_CHOSEN) for name in form if name.startswith(_CHOSEN)]
    chosen = [(source, tracker_id) for source, _, tracker_id in (name.partition("/") for name in names) if source in NAMES]
    if not chosen:
        raise UnexpectedShape("Choose at least one tracker.")
    receipt = await eraser.erase(chosen, page_request.operator.entry)
    page = Page("erasure.html", "trackers", {"wanted": "", "page": None, "limit": _SHOWN, "receipt": receipt})
    counts = ", ".join(f"{number} {name}" for name, number in receipt.counts._asdict().items())
    return FormResult(page, f"Erased at {iso(receipt.erased_at)} ({counts}): {', '.join('/'.join(key) for key in chosen)}.")
