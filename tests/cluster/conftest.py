"""A PostgreSQL server for all tests here, and a fresh database for each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from tests.cluster.postgres import PostgresServer, programs

REQUIRED = "CLUSTER_TESTS_REQUIRED"  # set by make test-cluster: nothing may be skipped silently
_databases = itertools.count()


@pytest.fixture(scope="session")
def running_server() -> Iterator[PostgresServer]:
    """The server; a test that stops it starts it again."""
    if programs() is None:
        reason = "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"
        if os.environ.get(REQUIRED):
            pytest.fail(reason)
        pytest.skip(reason)
    server = PostgresServer("fsync=off", "max_connections=200")
    yield server
    server.close()


@pytest.fixture
def server(running_server: PostgresServer) -> Iterator[PostgresServer]:
    """The server, running again after the test whatever that did."""
    yield running_server
    running_server.stop()
    running_server.start()


@pytest.fixture
def database(running_server: PostgresServer) -> str:
    """The URL of a fresh database."""
    return running_server.create(f"test_{os.getpid()}_{next(_databases)}")
