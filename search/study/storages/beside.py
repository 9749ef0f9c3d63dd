"""The files beside a study's own: their names, and whether those are free or ours."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from search.common.errors import UserError
from search.study.storages.location import sqlite_file

LOCK = ".lock"  # held while a trial is handed out or closed; always empty
CHECKPOINTS = ".checkpoints"  # the state of interrupted trials
WEIGHTS = ".weights"  # the final networks
ARTIFACTS = ".artifacts"  # what the dashboard shows
TENSORBOARD = ".tensorboard"  # event files
MLFLOW = ".mlflow.db"  # a file: MLflow's own database
FOLDERS = (CHECKPOINTS, WEIGHTS, ARTIFACTS, TENSORBOARD)
LONGEST = max(map(len, FOLDERS))
LONGEST_PATH = 512 - len("-journal")  # bytes that SQLite takes: MAX_PATHNAME in its os_unix.c
HINT = "Move it, or name another file with --storage"


def beside(path: Path, suffix: str) -> Path:
    """A file or folder that belongs to a study's file."""
    return path.with_name(path.name + suffix)


def folder_beside(storage: str, suffix: str) -> Path | None:
    """A folder that belongs to a study; None with a database server."""
    path = sqlite_file(storage)
    return beside(path, suffix) if path else None


def check_length(path: Path) -> None:
    """Refuse a name to which no suffix can be added.

    Raises:
        UserError: If it is too long.
    """
    allowed = os.pathconf(path.parent, "PC_NAME_MAX") - LONGEST
    length = len(os.fsencode(path.name))
    if length > allowed or len(os.fsencode(path)) > LONGEST_PATH:
        raise UserError(
            f"the study's file name is too long: {length} bytes, {len(os.fsencode(path))} with its "
            f"directories, where {allowed} and {LONGEST_PATH} are allowed",
            "Name a shorter one with --storage",
        )


def check_beside(path: Path) -> None:
    """Refuse a study beside which something else has the name of a file that we would write.

    Raises:
        UserError: If so.
    """
    lock = beside(path, LOCK)
    status = _status(lock)
    if status is not None and not (stat.S_ISREG(status.st_mode) and status.st_size == 0):
        raise UserError(f"{lock} is not the lock of this study, which is an empty file", HINT)
    for suffix in FOLDERS:
        folder = beside(path, suffix)
        status = _status(folder)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            raise UserError(f"{folder} is not the directory that belongs to this study", HINT)
        if status is not None and not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"the directory {folder} is not writable", HINT)


def _status(path: Path) -> os.stat_result | None:
    """Of the file itself: a symbolic link may lead to what is not ours."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
