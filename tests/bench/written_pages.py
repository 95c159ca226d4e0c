"""`python -m tests.bench.written_pages` counts the pages of a SQLite file that a message writes, by tree."""

import argparse
import random
import sqlite3
import struct
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from receiver import clock
from receiver.clock import to_micros
from receiver.domain.records import Submission
from receiver.storage.wal import wal_of
from tests.bench import report
from tests.bench.filling import fill
from tests.bench.page import write_table
from tests.harness import ship24
from tests.harness.storage import migrate
from tests.harness.store import opened, submission

TITLE = "Pages that a message writes"
_MESSAGES = 9_000
_KEPT = 500_000
_IN_A_COMMIT = 30  # as 64 callers make them
_NEW_TRACKERS = 0.1
_SHOWN = 12
_BLOCK_BYTES = 4096  # of a file system
_WHERE = Path("/var/tmp")
_WAL_PAGES = 4000  # `wal_autocheckpoint`
_LONG_WAL_BYTES = 200 << 20  # then it is counted, and emptied
_WAL_HEADER = struct.Struct(">8xI4x8s8x")  # page size, salts (sqlite.org/fileformat.html, "WAL File Format")
_FRAME_HEADER = struct.Struct(">II8s8x")  # number of the page, pages of the file if it ends a commit, salts


class Frame(NamedTuple):
    """A page in the WAL; `ends_commit` for the last one of a commit."""

    page: int
    ends_commit: bool


class Written(NamedTuple):
    """The pages that a number of messages wrote, by tree; their size in bytes; the blocks of the disk that checkpoints wrote."""

    messages: int
    page_bytes: int
    into_wal: Counter[str]
    into_file: Counter[str]
    blocks: int


def count(file: Path, known: Path, messages: int) -> Written:
    """Store messages in a filled database without a checkpoint of SQLite's own, and count the pages."""
    trackers = [(words[0], words[1]) for words in map(str.split, known.read_text(encoding="ascii").splitlines())]
    chance = random.Random(1)
    frames: list[Frame] = []
    drivers: list[Any] = []
    with opened(f"sqlite:///{file}") as store:
        store.transactions.run(lambda connection: drivers.append(connection.connection.driver_connection))
        driver = drivers.pop()
        driver.execute("PRAGMA wal_autocheckpoint=0")
        assert store.transactions.checkpoint()
        for stored in range(0, messages, _IN_A_COMMIT):
            batch = [_make_submission(chance, trackers) for _ in range(_IN_A_COMMIT)]
            assert None not in store.inbox.keep(batch, clock.now())
            if wal_of(file).stat().st_size > _LONG_WAL_BYTES or stored + _IN_A_COMMIT >= messages:
                frames += read_frames(wal_of(file))
                assert store.transactions.checkpoint()
        page_bytes = driver.execute("PRAGMA page_size").fetchone()[0]
        trees = {page: name for name, page in driver.execute("SELECT name, pageno FROM dbstat")}
    copied = [*copied_pages(frames, _WAL_PAGES)]
    into_wal = Counter(trees.get(frame.page, "none") for frame in frames)
    into_file = Counter(trees.get(page, "none") for pages in copied for page in pages)
    blocks = sum(len({(page - 1) * page_bytes // _BLOCK_BYTES for page in pages}) for pages in copied)
    return Written(messages, page_bytes, into_wal, into_file, blocks * max(1, page_bytes // _BLOCK_BYTES))


def read_frames(wal: Path) -> Iterator[Frame]:
    """Yield the frames of a WAL that belong to its last start."""
    with wal.open("rb") as file:
        page_bytes, salts = _WAL_HEADER.unpack(file.read(_WAL_HEADER.size))
        while len(header := file.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
            page, size, frame_salts = _FRAME_HEADER.unpack(header)
            if frame_salts != salts:
                return
            yield Frame(page, size > 0)
            file.seek(page_bytes, 1)


def copied_pages(frames: Sequence[Frame], wal_pages: int) -> Iterator[set[int]]:
    """Yield the pages of each checkpoint: when a commit finds so many frames in the WAL, and at the end."""
    waiting: set[int] = set()
    number = 0
    for frame in frames:
        waiting.add(frame.page)
        number += 1
        if frame.ends_commit and number >= wal_pages:
            yield waiting
            waiting, number = set(), 0
    yield waiting


def _make_submission(chance: random.Random, trackers: list[tuple[str, str]]) -> Submission:
    """Make a delivery of one message. One in ten is of a new tracker, the others of any."""
    chosen = chance.choice(trackers)
    if chance.random() < _NEW_TRACKERS:
        chosen = _make_id(chance), f"S24DEMO{chance.randrange(10**9):09}"
        trackers.append(chosen)
    now = clock.now()
    event = ship24.event(_make_id(chance), now.strftime("%Y-%m-%dT%H:%M:%S"))
    tracker = dict(zip(("trackerId", "trackingNumber"), chosen, strict=True))
    single = ship24.single(_make_id(chance), events=[event], generated_at=clock.iso(to_micros(now)), tracker=tracker)
    made = submission(single)
    return made._replace(delivery=made.delivery._replace(id=clock.new_id(now), received_at=to_micros(now)))


def _make_id(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _make_file(file: Path, page_bytes: int | None) -> None:
    """Make the tables; the file has pages of another size than new files if one is given."""
    if page_bytes is not None:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(f"PRAGMA page_size={page_bytes}")
            connection.execute("PRAGMA journal_mode=WAL")
    migrate(f"sqlite:///{file}")


def make_table(written: Written) -> Table:
    """Return the table of the report: the trees with the most pages, the others together."""
    table = report.make_table(("pages for a message",), ("into the WAL", "into the file"))
    kinds = written.into_wal, written.into_file
    shown = [name for name, _ in written.into_wal.most_common(_SHOWN)]
    for name in shown:
        table.add_row(name.removeprefix("sqlite_"), *(f"{pages[name] / written.messages:.2f}" for pages in kinds))
    for name, left_out in (("others", shown), ("together", [])):
        numbers = [pages.total() - sum(pages[name] for name in left_out) for pages in kinds]
        table.add_row(name, *(f"{number / written.messages:.2f}" for number in numbers))
    kilobytes = written.into_wal.total() * written.page_bytes / 1000, written.blocks * _BLOCK_BYTES / 1000
    table.add_row("KB, the file in blocks of 4 KiB", *(f"{number / written.messages:.1f}" for number in kilobytes))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.written_pages", description=TITLE)
    parser.add_argument("--messages", type=int, default=_MESSAGES, help=f"how many are stored ({_MESSAGES})")
    parser.add_argument("--kept", type=int, default=_KEPT, help=f"how many are in the database before ({_KEPT})")
    parser.add_argument("--page-bytes", type=int, help="another size of pages than that of new files")
    parser.add_argument("--directory", type=Path, default=_WHERE, help=f"where the database is made and removed ({_WHERE})")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/benchmarks.md, too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="receiver-pages-", dir=given.directory) as name:
        file, known = Path(name, "filled.db"), Path(name, "known")
        _make_file(file, given.page_bytes)
        fill(file, given.kept, known)
        print_pages(count(file, known, given.messages), given.kept, on_page=given.write)


def print_pages(written: Written, kept: int, *, on_page: bool) -> None:
    """Print the table; with `on_page` also write it into the documentation."""
    told = f"{written.messages:,} messages, {_IN_A_COMMIT} a commit; {kept / 1e6:g} M kept; pages of {written.page_bytes} bytes"
    Console(highlight=False).print(make_table(written), told, sep="\n")
    if on_page:
        write_table(TITLE, make_table(written), told)


if __name__ == "__main__":
    main()
