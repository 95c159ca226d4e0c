"""Fixtures for tests of the API and the console: a service that the tests of a module share, and an operator of its console.

A module that needs another service, with other settings or with data, has a fixture `running` of its own.
"""

import pytest

from tests.conftest import StartService
from tests.harness.console_client import OPS, ConsoleClient
from tests.harness.service import Service


@pytest.fixture
def running(shared_service: StartService) -> Service:
    """A service with an empty database."""
    return shared_service(ops_tokens=f"anna:{OPS}")


@pytest.fixture
def anna(running: Service) -> ConsoleClient:
    """An operator who has signed in."""
    operator = ConsoleClient(running)
    assert operator.sign_in(OPS).status == 303
    return operator
