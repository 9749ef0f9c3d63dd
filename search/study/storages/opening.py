"""Opens studies: safe for several processes, errors in words."""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from search.common import passwords
from search.common.command_lines import command_line
from search.common.errors import UserError
from search.study.attributes import IDENTITY, SETTINGS
from search.study.companions import is_companion
from search.study.storages.location import sqlite_file, without_password
from search.study.storages.sqlite import Access, check_file, open_file, table_names

if TYPE_CHECKING:
    import optuna

    from search.study.storages.stored import StoredStudy

DEFAULT_STORAGE = str(Path(__file__).resolve().parents[3] / "study.db")
DEFAULT_STUDY = "cnn-search"
METRIC = "validation accuracy"
# What opening a storage says whose tables another process is just making.
HALF_MADE = ("already exists", "unique", "no such table", "readonly database")
HALF_MADE_LOOKS = 20  # a fifth of a second apart; tables that lack then are of an old version
RECORDED = {"max_params", "epochs", "seed", "dataset", "space"}  # some of a study's settings


def check_storage(storage: str, *, read_only: bool = False) -> None:
    """Refuse a storage that cannot hold a study, before anything is created.

    Raises:
        UserError: If a server cannot be reached, or a file is not an SQLite database, or cannot
            be read and written, of which ``read_only`` asks for reading alone.
    """
    path = sqlite_file(storage)
    if path is not None:
        check_file(path, read_only=read_only)
        return
    with readable_errors(storage):
        from search.study.storages.server_lock import reach

        reach(storage)


@contextmanager
def readable_errors(storage: str) -> Iterator[None]:
    """Turn what database drivers raise into one line without a password.

    Raises:
        UserError: In place of a driver's error.
    """
    import optuna
    from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

    from search.study.storages.server_retry import LockLost

    shown = without_password(storage)
    hint = "Check --storage, and that the database server runs and can be reached"
    if sqlite_file(storage) is not None:
        hint = "Fix that and run the same command again, or name another file with --storage"
    try:
        yield
    except ImportError:
        raise UserError(
            f"the database driver for {shown} is not installed",
            "For PostgreSQL: pip install -r requirements-cluster.txt",
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        why = "it should be like postgresql+psycopg://user@host/database"
        if passwords.parsed(storage) is not None:
            why = _cause(error, storage)
        raise UserError(f"{shown} is not a storage URL that can be used: {why}", hint) from None
    except (OperationalError, LockLost) as error:
        why = _cause(error, storage)
        raise UserError(f"the storage {shown} cannot be used: {why}", hint) from None
    except (DatabaseError, RuntimeError, AssertionError) as error:
        raise UserError(
            f"{shown} does not hold a study that this Optuna ({optuna.__version__}) can read: "
            f"{_cause(error, storage)}",
            hint,
        ) from None
    except optuna.exceptions.StorageInternalError as error:
        why = _cause(error.__cause__ or error, storage)
        raise UserError(f"the storage {shown} cannot be used: {why}", hint) from None


def is_storage_error(error: BaseException) -> bool:
    """Whether an exception comes from the storage, not from a candidate."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    from search.study.storages.server_retry import LockLost

    return isinstance(error, SQLAlchemyError | optuna.exceptions.StorageInternalError | LockLost)


def _cause(error: BaseException, storage: str) -> str:
    """The driver's own first line: SQLAlchemy's wrapping shows SQL, Optuna's may show a URL."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return passwords.without_secrets(text, storage).splitlines()[0]


def connect(storage: str) -> optuna.storages.RDBStorage:
    """Open a storage of ours for writing, creating its tables where there are none.

    Args:
        storage: A URL or the path of an SQLite file.

    Raises:
        UserError: If it cannot be opened.
    """
    return _connect(storage, Access.OWN)


def _connect(storage: str, access: Access) -> optuna.storages.RDBStorage:
    from sqlalchemy.exc import OperationalError

    path = sqlite_file(storage)
    if path is None:
        return _connect_server(storage)
    check_storage(storage, read_only=access is not Access.OWN)
    with readable_errors(storage):
        try:
            return _open_tables(lambda: open_file(path, access))
        except OperationalError as error:
            if access is Access.LOOK and "readonly database" in str(error):
                # Optuna would add what it keeps about versions since its version 0.9.
                raise RuntimeError("it lacks tables of this version") from None
            raise


def _connect_server(storage: str) -> optuna.storages.RDBStorage:
    with readable_errors(storage):
        from search.study.storages.server_retry import retry_of
        from search.study.storages.servers import open_server

        return retry_of(storage).keep(lambda: _open_tables(lambda: open_server(storage)), storage)


def _open_tables(
    opening: Callable[[], optuna.storages.RDBStorage],
) -> optuna.storages.RDBStorage:
    """Optuna's storage; tried again when another process creates the same tables just now."""
    from sqlalchemy.exc import DatabaseError

    for _ in range(HALF_MADE_LOOKS):  # not so many seconds: on a busy machine each takes one
        try:
            return opening()
        except DatabaseError as error:
            if not any(sign in str(error).lower() for sign in HALF_MADE):
                raise
            time.sleep(0.2)
    return opening()


def open_study(storage: str, name: str | None = None, *, read_only: bool = False) -> StoredStudy:
    """Open a study that exists, without a sampler; nothing is created or converted.

    Args:
        storage: A URL or the path of an SQLite file.
        name: None takes the only study there is (those that stand beside another are not
            counted), or the default one of several.
        read_only: Only look at it, also at one of another program; a file need not be writable.

    Raises:
        UserError: If there is no such study or the storage cannot be opened.
    """
    import optuna

    from search.study.storages.stored import StoredStudy

    path = sqlite_file(storage)
    if path is not None:
        check_storage(storage, read_only=True)
        if not path.exists() or path.stat().st_size == 0:
            raise UserError(f"there is no study at {path} yet", _search_first(storage, name))
    opened = _connect(storage, Access.LOOK)
    with readable_errors(storage):
        names = optuna.get_all_study_names(opened)
    shown = without_password(storage)
    if not names:
        raise UserError(f"{shown} holds no study yet", _search_first(storage, name))
    if name is None:
        searches = [found for found in names if not is_companion(found, names)]
        name = searches[0] if len(searches) == 1 else DEFAULT_STUDY
    if name not in names:
        raise UserError(
            f"{shown} has no study {name!r}", f"Name one with --study: {', '.join(sorted(names))}"
        )
    study = StoredStudy(name, opened)
    if path is None or (read_only and not is_ours(study)):
        return study
    opened.engine.dispose()
    return StoredStudy(name, _connect(storage, Access.USE))


def is_ours(study: optuna.Study) -> bool:
    """Whether this tool made a study: it says what it was begun with (``study.settings``)."""
    settings = SETTINGS.of(study)
    return (
        settings.keys() >= RECORDED
        and isinstance(settings["dataset"], dict)
        and [direction.name for direction in study.directions] == ["MAXIMIZE"]
    )


def _is_blank(study: optuna.Study) -> bool:
    """Whether a study was only just made, and so may become ours."""
    directions = [direction.name for direction in study.directions]
    told = study.user_attrs.keys() - {IDENTITY.name}
    return not told and not study.trials and directions == ["MAXIMIZE"]


def refuse_foreign(storage: str, *names: str) -> None:
    """Refuse to search in what belongs to another program, before anything is written.

    Args:
        storage: A URL or the path of an SQLite file, which need not exist.
        names: Of the studies that are to be written to.

    Raises:
        UserError: If one of these is a study of another program, or a file holds no others; or as
            ``check_storage``.
    """
    import optuna

    check_storage(storage)
    path = sqlite_file(storage)
    if path is not None and (not path.exists() or path.stat().st_size == 0):
        return
    if path is not None and not table_names(path):  # made, and without its tables as yet
        return
    with _look(storage) as opened:
        there = optuna.get_all_study_names(opened)

        def may_be_used(name: str) -> bool:
            study = optuna.load_study(study_name=name, storage=opened)
            return is_ours(study) or _is_blank(study)

        for name in names:
            if name in there and not may_be_used(name):
                raise UserError(
                    f"the study {name!r} in {without_password(storage)} is not one of this tool",
                    "Name another file with --storage, or another study with --study",
                )
        if path is not None and there and not any(map(may_be_used, there)):
            raise UserError(
                f"{path} holds only studies of another program", "Name another file with --storage"
            )


@contextmanager
def _look(storage: str) -> Iterator[optuna.storages.RDBStorage]:
    opened = _connect(storage, Access.LOOK)
    try:
        with readable_errors(storage):
            yield opened
    finally:
        opened.engine.dispose()


def options_of(storage: str, study: str | None = None) -> dict[str, str]:
    """The options that name a storage and a study to a command; defaults are left out."""
    named = {} if storage == DEFAULT_STORAGE else {"storage": storage}
    return named | ({} if study in (None, DEFAULT_STUDY) else {"study": str(study)})


def _search_first(storage: str, study: str | None = None) -> str:
    return f"Run {command_line('run.py', **options_of(storage, study))} first"


def create_study(storage: str, name: str) -> StoredStudy:
    """Open the study of a name, or create it; for the parent process alone.

    Raises:
        UserError: If the storage cannot be opened or the study is one of another program.
    """
    import optuna

    from search.study.storages.stored import StoredStudy

    refuse_foreign(storage, name)
    opened = connect(storage)
    with readable_errors(storage):
        study = optuna.create_study(
            study_name=name, storage=opened, direction="maximize", load_if_exists=True
        )
        if not study.user_attrs and not study.get_trials(deepcopy=False):
            IDENTITY.set(study, uuid.uuid4().hex)
        if study.metric_names != [METRIC]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([METRIC])
    return StoredStudy(name, opened)
