"""Where a study is: the path of an SQLite file, or the URL of a database server."""

from __future__ import annotations

import os
import re
from pathlib import Path

from search.common import passwords
from search.common.errors import UserError

SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://")
SQLITE = ("sqlite", "sqlite+pysqlite")
# What is meant as a URL but is none: a database's name before a colon or slashes, or a password.
MISTYPED = re.compile(
    r"\s*(sqlite|postgres|mysql|mariadb|oracle|mssql)\w*(\+\w*)?\s*(:|//)|.*:.*@",
    re.IGNORECASE | re.DOTALL,
)
HINT = "Write the path of an SQLite file, or postgresql+psycopg://user@host/database"


def sqlite_file(storage: str) -> Path | None:
    """The file behind a storage, or None where it is a database server.

    A symbolic link stands for the file that it leads to, as it does for SQLite: whatever name a
    study is opened by, the files beside it are the same.

    Args:
        storage: The path of an SQLite file, or a URL of SQLAlchemy.

    Raises:
        UserError: If it is neither. The text may hold a password, so it is not shown.
    """
    if not storage:
        raise UserError("the name of the study's file is empty", HINT)
    scheme = SCHEME.match(storage)
    if scheme is not None and not scheme[1].lower().startswith("sqlite"):
        _check_server(storage)
        return None
    name = os.path.expanduser(storage) if scheme is None else _path_in_url(storage)
    if scheme is None and MISTYPED.match(storage) and not _is_path(name):
        raise UserError(
            "what was given looks like a database URL, but is not one",
            f"{HINT}; a file of such a name is written ./NAME",
        )
    if "\0" in name:
        raise UserError("a file's name cannot hold a null character", HINT)
    path = Path(name).absolute()
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def _is_path(name: str) -> bool:
    """Whether a name that looks like a URL is that of a file: it is there, or said to be one."""
    said = name.startswith(("./", "../")) or (name[:1] == "/" and name[:2] != "//")
    return os.path.exists(name) or (said and os.path.isdir(os.path.dirname(name)))


def _path_in_url(storage: str) -> str:
    parts = passwords.parsed(storage)
    if parts is None or parts.drivername.lower() not in SQLITE or parts.host or parts.username:
        raise UserError("this SQLite URL cannot be used", "Write sqlite:///PATH, or the path alone")
    if parts.database in (None, "", ":memory:"):
        raise UserError("an SQLite study in memory would be lost at once", "Name a file")
    if parts.query:
        raise UserError(
            f"the options {', '.join(parts.query)} in an SQLite URL are not supported",
            "Write sqlite:///PATH, or the path alone; a ? in a name is written %3F in a URL",
        )
    return str(parts.database)


def _check_server(storage: str) -> None:
    """Refuse a URL of which a part of the password would be taken for the host or the database.

    What cannot be parsed at all is told when it is opened.
    """
    parts = passwords.parsed(storage)
    if parts is not None and "@" in f"{parts.host or ''}{parts.database or ''}":
        raise UserError(
            "the storage's URL holds an @ in the place of a host or a database",
            "Write postgresql+psycopg://user@host/database, with every @ in a password as %40",
        )


def without_password(storage: str) -> str:
    """A storage as it may be printed."""
    return storage if sqlite_file(storage) is not None else passwords.shown(storage)
