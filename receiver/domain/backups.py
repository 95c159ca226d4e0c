"""The progress of a backup."""

from typing import NamedTuple


class BackupProgress(NamedTuple):
    """The progress of the backup `run`: pages copied of all pages.

    `rows` is None until the copy is whole and synced. Then it has the number of rows of each table in the database at the moment
    of the last step, which is that of the copy.
    """

    run: str
    copied_pages: int
    pages: int
    rows: dict[str, int] | None = None
