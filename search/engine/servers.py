"""Studies on a database server: a lost connection is waited for, and one process holds a study.

Nothing that a server committed is lost or done twice when it restarts:

- What is written to a running trial can be written again, so that is done.
- What depends on what was read before, such as who takes which trial, happens under the study's
  lock. The lock ends with its connection, so a section that lost one is begun anew (``LockLost``).
"""

from __future__ import annotations

import functools
import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

PATIENCE_SECONDS = 300.0  # how long a server may stay away in mid-run
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
LEAVES = (  # the methods that are one transaction each and may be done again
    *("set_study_user_attr", "set_study_system_attr", "get_study_id_from_name"),
    *("get_study_name_from_id", "get_study_directions", "get_study_user_attrs"),
    *("get_study_system_attrs", "get_all_studies", "_set_trial_param"),
    *("get_trial_id_from_study_id_trial_number", "_get_best_trial_id", "get_trial"),
    *("set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr"),
    *("_get_trials", "get_trial_user_attrs", "get_trial_system_attrs"),
)
Result = TypeVar("Result")
_held: dict[str, Connection] = {}  # by URL: the connection by which this process holds the lock


class LockLost(Exception):
    """The study's lock was lost with its connection: what it guarded is to be begun anew."""

    def __init__(self) -> None:
        super().__init__("the connection to the database server was lost")


def is_lost(error: BaseException | None) -> bool:
    """Whether a storage's error is that of a connection: lost, refused, or not made in time."""
    if isinstance(error, optuna.exceptions.StorageInternalError):
        error = error.__cause__
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or (
        isinstance(error, OperationalError) and error.statement is None
    )


class Patience:
    """Waits for a server that went away; one for all that uses the same URL in this process."""

    def __init__(self) -> None:
        self.give_up: Callable[[], bool] = lambda: False  # asked while waiting
        self.say: Callable[[str], None] = lambda line: None

    def keep(self, action: Callable[[], Result], url: str) -> Result:
        """Do something again until its connection lasts.

        Raises:
            LockLost: If this process held the lock.
            Exception: The last one, after ``PATIENCE_SECONDS`` or when asked to give up.
        """
        lost_at: float | None = None
        while True:
            try:
                result = action()
            except Exception as error:
                if not is_lost(error):
                    raise
                if url in _held:
                    raise LockLost from None
                now = time.monotonic()
                if lost_at is None:
                    lost_at = now
                    self.say(
                        "the database server does not answer: waiting for it, "
                        f"up to {PATIENCE_SECONDS / 60:.0f} minutes"
                    )
                if now - lost_at >= PATIENCE_SECONDS or self.give_up():
                    raise
                time.sleep(random.uniform(0.3, 1.0))
            else:
                if lost_at is not None:
                    self.say(f"it answers again, after {time.monotonic() - lost_at:.0f} s")
                return result


@functools.cache
def patience_of(url: str) -> Patience:
    """The one of a URL."""
    return Patience()


class PatientStorage(RDBStorage):
    """Optuna's storage on a server that may restart.

    Args:
        url: Of SQLAlchemy.
    """

    def __init__(self, url: str) -> None:
        self.server = url
        self.patience = patience_of(url)
        braces = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
        super().__init__(
            braces,
            engine_kwargs={
                "pool_pre_ping": True,
                "pool_size": 1,  # a worker's; its heartbeat seldom needs one of its own
                "max_overflow": 4,
                "connect_args": connect_arguments(make_url(url)),
            },
        )
        sqlalchemy.event.listen(self.engine, "do_connect", self._before_connecting)

    def _before_connecting(self, *_: object) -> None:
        """While the lock is held no connection is replaced silently: it may have ended as well."""
        if self.server in _held and not _is_alive(_held[self.server]):
            raise LockLost

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's; done again after a lost connection it is no error that it was done."""
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                ended = RDBStorage.get_trial(self, trial_id) if attempts > 1 else None
                if ended and ended.state == state and ended.values == (values and list(values)):
                    return True
                raise

        return self.patience.keep(attempt, self.server)


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def patient(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience.keep(lambda: method(self, *args, **kwargs), self.server)

    return patient


for _name in LEAVES:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))


def connect_arguments(url: URL) -> dict[str, Any]:
    """What the driver is told beyond the URL."""
    if url.get_backend_name() == "postgresql" and url.get_driver_name().startswith("psycopg"):
        return {name: value for name, value in POSTGRESQL.items() if name not in url.query}
    if url.get_driver_name() in ("mysqldb", "pymysql"):
        return {"connect_timeout": CONNECT_SECONDS}
    return {}


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
    connection = patience_of(url).keep(lambda: _acquire(url, timeout), url)
    if connection is None:
        yield False
        return
    _held[url] = connection
    try:
        yield True
    finally:
        del _held[url]
        kept = _is_alive(connection)
        connection.close()  # which releases the lock
    if not kept:
        raise LockLost


def _acquire(url: str, timeout: float) -> Connection | None:
    """A connection of its own that holds the lock, or None when another holds it for too long."""
    engine = _lock_engine(url)
    name = f"cnn-search {engine.url.database}"
    connection = engine.connect()
    try:
        if engine.dialect.name == "mysql":
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


def _is_alive(connection: Connection) -> bool:
    if connection.invalidated:  # SQLAlchemy would make another one
        return False
    try:
        connection.execute(sqlalchemy.text("SELECT 1"))
    except DBAPIError:
        return False
    return True
