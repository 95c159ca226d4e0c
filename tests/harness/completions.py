"""The packages of completed manifests, read from the rows that say so."""

from tests.harness.rows import read_rows, table_rows

_IS_COMPLETED = "coalesce(m.status_milestone, '') IN ('delivered', 'completed')"
_MISMARKED = f"""
SELECT t.tracker_id FROM trackers t
LEFT JOIN links l ON l.source = t.source AND l.package = t.tracker_id
LEFT JOIN trackers m ON m.source = l.source AND m.tracker_id = l.manifest
WHERE t.manifest_completed <> (t.subject = 'package' AND {_IS_COMPLETED})
"""


def read_mismarked(url: str) -> list[str]:
    """Return the trackers that are marked otherwise than their manifest says."""
    return [row["tracker_id"] for row in read_rows(url, _MISMARKED)]


def read_completed(url: str) -> list[str]:
    """Return the packages that are marked as those of completed manifests."""
    return [row["tracker_id"] for row in table_rows(url, "trackers", "tracker_id", order="tracker_id", manifest_completed=True)]
