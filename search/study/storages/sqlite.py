"""What SQLite files need: checks, opening one that cannot be written, pragmas."""

from __future__ import annotations

import enum
import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.study.storages.beside import check_beside, check_length

if TYPE_CHECKING:
    import optuna

HINT = "Name another file with --storage"
BUSY_TIMEOUT = 60.0  # seconds that a writer waits for another process's transaction


class Access(enum.Enum):
    """What a connection to a study's file may do."""

    LOOK = enum.auto()  # read; nothing changes, whosever file it is
    USE = enum.auto()  # read and write where that is allowed; the journal mode stays
    OWN = enum.auto()  # create it where it is missing, and keep it in WAL mode


def connect_file(path: Path, access: Access) -> sqlite3.Connection:
    """A connection to a database file, one for reading where it cannot be written.

    The last connection that is closed writes ``-wal`` back into the file, one for reading alone
    does not: so a look at what a killed program left is for reading. Else SQLite would leave
    ``-wal`` and ``-shm`` behind, which only a connection that may write removes.

    SQLite wants to make ``-shm`` beside a file in WAL mode even to read it. Where the directory
    does not allow that, the file is read as one that nobody changes, which holds as long as there
    is nothing in its ``-wal``.

    Raises:
        UserError: If ``-wal`` holds changes that cannot be read here.
        sqlite3.Error: If it is no database, or cannot be opened.
    """
    log = path.with_name(f"{path.name}-wal")
    logged = log.exists() and log.stat().st_size > 0
    if access is Access.OWN:
        connection = _connect(path, "mode=rwc")
        connection.execute("PRAGMA journal_mode=WAL")  # readers no longer block writers
        connection.execute("PRAGMA synchronous=NORMAL")  # one fsync a checkpoint
        return connection
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
    if writable and not (logged and access is Access.LOOK):
        connection = _connect(path, "mode=rw")
    else:
        connection = _connect(path, "mode=ro")
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if "unable to open" not in str(error):
                raise
            if logged:
                raise UserError(
                    f"{log} holds changes that cannot be read, because its directory is not "
                    "writable",
                    "Copy both files to another directory",
                ) from None
            connection = _connect(path, "immutable=1")
    if access is Access.LOOK:
        connection.execute("PRAGMA query_only=ON")
    return connection


def _connect(path: Path, query: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        timeout=BUSY_TIMEOUT,
        check_same_thread=False,  # SQLAlchemy's pool sees to it that one thread has it at a time
        uri=True,
    )


def open_file(path: Path, access: Access) -> optuna.storages.RDBStorage:
    """Optuna's storage of a file.

    The path never becomes a part of a URL, in which ``?``, ``#`` and ``%`` mean something else.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: If it cannot be opened.
        RuntimeError: If it is of another version of Optuna.
    """
    import optuna
    from sqlalchemy.pool import QueuePool

    return optuna.storages.RDBStorage(
        "sqlite://",
        engine_kwargs={"creator": partial(connect_file, path, access), "poolclass": QueuePool},
        skip_table_creation=access is not Access.OWN,
    )


def table_names(path: Path) -> set[str] | None:
    """The names of a database's tables, or None of a file that is none.

    Asked through SQLite: were the file opened and closed beside it, the system would drop the
    locks of this process's other connections to it, and another process could damage the file
    (sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        with closing(connect_file(path, Access.LOOK)) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in rows}
    except sqlite3.OperationalError:
        return {"studies"}  # locked or full, say: opening it tells
    except sqlite3.DatabaseError as error:
        return None if "not a database" in str(error) else {"studies"}


def check_file(path: Path, *, read_only: bool) -> None:
    """Refuse a file that cannot hold a study, before anything is created.

    Raises:
        UserError: If the file is not an SQLite database, or cannot be read and written, of which
            ``read_only`` asks for reading alone.
    """
    try:
        _check_file(path, read_only=read_only)
    except OSError as error:
        raise UserError(f"{path} cannot be used: {error.strerror or error}", HINT) from None


def _check_file(path: Path, *, read_only: bool) -> None:
    if not path.parent.is_dir():
        raise UserError(f"there is no directory {path.parent} for the study", HINT)
    check_length(path)
    if path.is_dir():
        raise UserError(f"{path} is a directory, not a study", HINT)
    if path.is_symlink():  # followed by ``sqlite_file`` as far as it led
        raise UserError(f"the symbolic link {path} leads in a circle", HINT)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a device or a pipe, not a study", HINT)
    if not read_only:
        if path.exists() and not os.access(path, os.W_OK):
            raise UserError(f"the study {path} cannot be opened for writing", HINT)
        if not _writable_directory(path.parent):
            raise UserError(f"the directory {path.parent} is not writable", HINT)
        check_beside(path)
    if not path.exists():
        return
    if not os.access(path, os.R_OK):
        raise UserError(f"the study {path} cannot be opened for reading", HINT)
    if path.stat().st_size == 0:
        return
    tables = table_names(path)
    if tables is None:
        raise UserError(f"{path} is not an SQLite database", HINT)
    if "studies" not in tables and (tables or read_only):  # Optuna would add its own
        raise UserError(f"{path} is a database of another program", HINT)


def _writable_directory(directory: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
