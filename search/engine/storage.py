"""Opens studies: safe for several processes, errors in words."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from search.engine import passwords
from search.engine.commands import command_line
from search.engine.companions import is_companion
from search.engine.errors import UserError
from search.engine.sqlite import BUSY_TIMEOUT, check_file, connect_file, log_ahead

if TYPE_CHECKING:
    import optuna

Storage = TypeVar("Storage", bound="optuna.storages.RDBStorage")
DEFAULT_STORAGE = str(Path(__file__).resolve().parents[2] / "study.db")
DEFAULT_STUDY = "cnn-search"
METRIC = "validation accuracy"


def storage_url(storage: str) -> str:
    """A storage URL from a URL or from the path of an SQLite file."""
    return storage if "://" in storage else f"sqlite:///{Path(storage).expanduser().absolute()}"


def sqlite_file(storage: str) -> Path | None:
    """The file behind a storage, or None where it is a database server."""
    url = storage_url(storage)
    prefix = "sqlite:///"
    return Path(unquote(url[len(prefix) :].split("?")[0])) if url.startswith(prefix) else None


def checkpoint_folder(storage: str) -> Path | None:
    """Where cut trials of a study leave their state: beside the SQLite file."""
    path = sqlite_file(storage)
    return path.with_name(path.name + ".checkpoints") if path else None


def without_password(storage: str) -> str:
    """A storage as it may be printed."""
    return storage if sqlite_file(storage) is not None else passwords.shown(storage)


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
        from search.engine.server_lock import reach

        reach(storage)


@contextmanager
def readable_errors(storage: str) -> Iterator[None]:
    """Turn what database drivers raise into one line without a password.

    Raises:
        UserError: In place of a driver's error.
    """
    import optuna
    from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

    from search.engine.patience import LockLost

    shown = without_password(storage)
    hint = "Check --storage, and that the database server runs and can be reached"
    if sqlite_file(storage) is not None:
        hint = "Mend that and give the same command again, or name another file with --storage"
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

    from search.engine.patience import LockLost

    return isinstance(error, SQLAlchemyError | optuna.exceptions.StorageInternalError | LockLost)


def _cause(error: BaseException, storage: str) -> str:
    """The driver's own first line: SQLAlchemy's wrapping shows SQL, Optuna's may show a URL."""
    text = str(getattr(error, "orig", None) or error).strip() or type(error).__name__
    return passwords.without_secrets(text, storage_url(storage)).splitlines()[0]


def probe(study: optuna.Study, storage: str) -> None:
    """Write to a study to see whether it can be written.

    Raises:
        UserError: If not, with the reason.
    """
    with readable_errors(storage):
        study.set_user_attr("last_probe", time.time())


def connect(
    storage: str, *, read_only: bool = False, patient: bool = False
) -> optuna.storages.RDBStorage:
    """Open a storage, creating its tables where there are none.

    Args:
        storage: A URL or the path of an SQLite file.
        read_only: Of a file that is there: leave its journal mode as it is, and let it be one
            that cannot be written.
        patient: Wait for a database server that does not answer, as a worker does in mid-run;
            what it then raises is the driver's.

    Raises:
        UserError: If it cannot be opened.
    """
    if sqlite_file(storage) is None:
        return _connect_server(storage, patient=patient)
    check_storage(storage, read_only=read_only)
    return _connect_sqlite(storage, read_only=read_only)


def _connect_server(storage: str, *, patient: bool) -> optuna.storages.RDBStorage:
    with readable_errors(storage):
        from search.engine.patience import patience_of
        from search.engine.servers import PatientStorage

        def opening() -> PatientStorage:
            return _open_tables(lambda: PatientStorage(storage))

        patience = patience_of(storage)
        if not patient:
            return patience.keep(opening, storage)
    patience.answered = True  # to the one that started this process
    return patience.keep(opening, storage)


def _connect_sqlite(storage: str, *, read_only: bool) -> optuna.storages.RDBStorage:
    import optuna

    path = sqlite_file(storage)
    assert path is not None
    arguments: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
    if read_only:
        arguments = {"creator": partial(connect_file, path)}
    with readable_errors(storage):
        url = storage_url(storage)
        opened = _open_tables(lambda: optuna.storages.RDBStorage(url, engine_kwargs=arguments))
        if not read_only:
            log_ahead(opened.engine)
    return opened


def _open_tables(opening: Callable[[], Storage]) -> Storage:
    """Optuna's storage; tried again when another process creates the same tables just now."""
    from sqlalchemy.exc import DatabaseError

    for _ in range(20):
        try:
            return opening()
        except DatabaseError as error:
            text = str(error).lower()
            if "already exists" not in text and "unique" not in text:
                raise
            time.sleep(0.2)
    return opening()


def open_study(storage: str, name: str | None = None, *, read_only: bool = False) -> optuna.Study:
    """Open a study that exists, without a sampler; nothing is created.

    Args:
        storage: A URL or the path of an SQLite file.
        name: None takes the only study there is (those that stand beside another are not
            counted), or the default one of several.
        read_only: Only look at it; a file need not be writable then.

    Raises:
        UserError: If there is no such study or the storage cannot be opened.
    """
    import optuna

    path = sqlite_file(storage)
    if path is not None and (not path.exists() or path.stat().st_size == 0):
        raise UserError(f"there is no study at {path} yet", _search_first(storage, name))
    opened = connect(storage, read_only=read_only)
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
    return optuna.load_study(study_name=name, storage=opened)


def options_of(storage: str, study: str | None = None) -> dict[str, str]:
    """The options that name a storage and a study to a command; defaults are left out."""
    named = {} if storage == DEFAULT_STORAGE else {"storage": storage}
    return named | ({} if study in (None, DEFAULT_STUDY) else {"study": str(study)})


def _search_first(storage: str, study: str | None = None) -> str:
    return f"Run {command_line('run.py', **options_of(storage, study))} first"


def create_study(storage: str, name: str) -> optuna.Study:
    """Open the study of a name, or create it; for the parent process alone.

    Raises:
        UserError: If the storage cannot be opened or the study maximises nothing.
    """
    import optuna

    opened = connect(storage)
    with readable_errors(storage):
        study = optuna.create_study(
            study_name=name, storage=opened, direction="maximize", load_if_exists=True
        )
        if len(study.directions) != 1 or study.direction.name != "MAXIMIZE":
            raise UserError(
                f"the study {name!r} is not one of this tool", "Choose another name with --study"
            )
        if study.metric_names != [METRIC]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([METRIC])
    return study
