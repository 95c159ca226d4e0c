"""Fixtures of the tests of rebuilds."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.harness.storage import make_tables
from tests.maintenance.test_rebuild import DeliveryStore


@pytest.fixture
def into(other_url: str) -> str:
    """Rebuild into the other kind, so that each kind is read once and written once."""
    return other_url


@pytest.fixture
def post(database_url: str) -> Iterator[DeliveryStore]:
    make_tables(database_url)
    with closing(DeliveryStore(database_url)) as opened:
        yield opened
