"""What SQLite files need: checks, opening one that cannot be written, pragmas."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from search.engine.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

BUSY_TIMEOUT = 60.0  # seconds that a writer waits for another process's transaction


def connect_file(path: Path) -> sqlite3.Connection:
    """A connection to a database file that is there, one for reading where it cannot be written.

    SQLite wants to make ``-shm`` beside a file in WAL mode even to read it. Where the directory
    does not allow that, the file is read as one that nobody changes, which holds as long as there
    is nothing in its ``-wal``.

    Raises:
        UserError: If ``-wal`` holds changes that cannot be read here.
        sqlite3.Error: If it is no database, or cannot be opened.
    """
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK):
        return _connect(path, "mode=rw")
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        log = path.with_name(f"{path.name}-wal")
        if "unable to open" not in str(error):
            raise
        if log.exists() and log.stat().st_size:
            raise UserError(
                f"{log} holds changes that cannot be read in a directory that cannot be written",
                "Copy both files to another directory",
            ) from None
        return _connect(path, "immutable=1")
    return connection


def _connect(path: Path, query: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        timeout=BUSY_TIMEOUT,
        check_same_thread=False,  # SQLAlchemy's pool sees to it that one thread has it at a time
        uri=True,
    )


def table_names(path: Path) -> set[str] | None:
    """The names of a database's tables, or None of a file that is none.

    Asked through SQLite: were the file opened and closed beside it, the system would drop the
    locks of this process's other connections to it, and another process could damage the file
    (sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        with closing(connect_file(path)) as connection:
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
    hint = "Name another file with --storage"
    if not path.parent.is_dir():
        raise UserError(f"there is no directory {path.parent} for the study", hint)
    if path.is_dir():
        raise UserError(f"{path} is a directory, not a study", hint)
    if not path.exists():
        if not _writable_directory(path.parent):
            raise UserError(f"the directory {path.parent} is not writable", hint)
        return
    if not os.access(path, os.R_OK):
        raise UserError(f"the study {path} cannot be opened for reading", hint)
    if not read_only and not os.access(path, os.W_OK):
        raise UserError(f"the study {path} cannot be opened for writing", hint)
    if path.stat().st_size == 0:
        return
    tables = table_names(path)
    if tables is None:
        raise UserError(f"{path} is not an SQLite database", hint)
    if "studies" not in tables and (tables or read_only):  # Optuna would add its own
        raise UserError(f"{path} is a database of another program", hint)


def _writable_directory(directory: Path) -> bool:
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def log_ahead(engine: Engine) -> None:
    """Let readers no longer block writers, with one fsync a checkpoint, not a transaction."""
    from sqlalchemy import event

    def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", set_pragmas)
    engine.dispose()  # what was opened before is without the pragmas
