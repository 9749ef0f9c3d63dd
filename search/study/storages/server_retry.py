"""Waits for a database server that went away, unless the study's lock was lost with it."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import optuna
import sqlalchemy
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import DBAPIError, OperationalError, PendingRollbackError, SQLAlchemyError

RETRY_SECONDS = 300.0  # how long a server may stay away in mid-run
CONNECT_SECONDS = 10  # how long one attempt to connect takes at most
# Of libpq: a machine that is gone is noticed after 60 s, on the server too, which then releases
# the lock that it held. Anything of this may be set otherwise in the storage's URL.
POSTGRESQL: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "cnn-search",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
    "options": "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
}
Result = TypeVar("Result")
held: dict[str, Connection] = {}  # by URL: the connection by which this process holds the lock


class LockLost(Exception):
    """The study's lock was lost with its connection: what it guarded is to be begun anew."""

    def __init__(self) -> None:
        super().__init__("the connection to the database server was lost")


def is_lost(error: BaseException | None) -> bool:
    """Whether a storage's error is that of a connection: lost, refused, or not made in time."""
    if isinstance(error, optuna.exceptions.StorageInternalError):
        error = error.__cause__
    if isinstance(error, PendingRollbackError):  # lost between two statements of a transaction
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or (
        isinstance(error, OperationalError) and error.statement is None
    )


class Retry:
    """Waits for a server that went away; one for all that uses the same URL in this process.

    One that never answered is not waited for: the URL may be wrong.
    """

    def __init__(self) -> None:
        self.answered = False
        self.give_up: Callable[[], bool] = lambda: False  # asked while waiting
        self.say: Callable[[str], None] = lambda line: None

    def keep(self, action: Callable[[], Result], url: str) -> Result:
        """Do something again until its connection lasts.

        Raises:
            LockLost: If this process held the lock.
            Exception: The last one, after ``RETRY_SECONDS`` or when asked to give up.
        """
        lost_at: float | None = None
        while True:
            try:
                result = action()
            except Exception as error:
                if not is_lost(error) or not self.answered:
                    raise
                if url in held:
                    raise LockLost from None
                now = time.monotonic()
                if lost_at is None:
                    lost_at = now
                    self.say(
                        "the database server does not answer: waiting for it, "
                        f"up to {RETRY_SECONDS / 60:.0f} minutes"
                    )
                if now - lost_at >= RETRY_SECONDS or self.give_up():
                    raise
                time.sleep(random.uniform(0.3, 1.0))
            else:
                self.answered = True
                if lost_at is not None:
                    self.say(f"it answers again, after {time.monotonic() - lost_at:.0f} s")
                return result


@functools.cache
def retry_of(url: str) -> Retry:
    """The one of a URL."""
    return Retry()


def connect_arguments(url: URL) -> dict[str, Any]:
    """What the driver is told beyond the URL."""
    if url.get_backend_name() == "postgresql" and url.get_driver_name().startswith("psycopg"):
        return {name: value for name, value in POSTGRESQL.items() if name not in url.query}
    if url.get_driver_name() in ("mysqldb", "pymysql"):
        return {"connect_timeout": CONNECT_SECONDS}
    return {}


def is_alive(connection: Connection) -> bool:
    """Whether a connection is the one that was made first, and lasts."""
    if connection.invalidated:  # SQLAlchemy would make another one
        return False
    try:
        connection.execute(sqlalchemy.text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True
