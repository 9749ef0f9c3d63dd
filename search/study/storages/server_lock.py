"""One process at a time holds the studies of a database server."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from search.study.storages.server_retry import LockLost, connect_arguments, held, is_alive, retry_of


def reach(url: str) -> None:
    """Connect to a server once, to see whether that works; raises what its driver does."""
    retry_of(url).keep(lambda: _lock_engine(url).connect().close(), url)


@contextmanager
def server_lock(url: str, timeout: float) -> Iterator[bool]:
    """Hold all studies of a database alone; the server releases the lock of one that dies.

    Args:
        url: The storage.
        timeout: Seconds to wait for another holder; -1 waits as long as it takes.

    Yields:
        Whether it is held.

    Raises:
        LockLost: If it was lost before the end.
    """
    connection = retry_of(url).keep(lambda: _acquire(url, timeout), url)
    if connection is None:
        yield False
        return
    held[url] = connection
    try:
        yield True
    finally:
        del held[url]
        kept = is_alive(connection)
        connection.close()  # which releases the lock
    if not kept:
        raise LockLost


def _acquire(url: str, timeout: float) -> Connection | None:
    """A connection of its own that holds the lock, or None when another holds it for too long."""
    engine = _lock_engine(url)
    name = f"cnn-search {engine.url.database}"
    connection = engine.connect()
    try:
        if engine.dialect.name in ("mysql", "mariadb"):
            got = connection.execute(
                sqlalchemy.text("SELECT GET_LOCK(:name, :timeout)"),
                {"name": hashlib.sha256(name.encode()).hexdigest(), "timeout": timeout},
            ).scalar()
        elif engine.dialect.name == "postgresql":
            got = _acquire_advisory(connection, timeout)
        else:
            got = True
    except BaseException:
        connection.close()
        raise
    if got:
        return connection
    connection.close()
    return None


def _acquire_advisory(connection: Connection, timeout: float) -> bool:
    key = int.from_bytes(hashlib.sha256(b"cnn-search").digest()[:8], signed=True)
    milliseconds = 0 if timeout < 0 else max(1, round(1000 * timeout))  # 0 waits for ever
    connection.execute(sqlalchemy.text(f"SET lock_timeout = {milliseconds}"))
    try:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", "") == "55P03":  # lock not available
            return False
        raise
    return True


@functools.cache
def _lock_engine(url: str) -> Engine:
    return sqlalchemy.create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_arguments(make_url(url)),
    )
