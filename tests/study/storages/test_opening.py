"""Storage: pragmas, errors in one line, nothing created by looking."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from search.common.errors import UserError
from search.study.storages import locks
from search.study.storages import opening as storage


def test_sqlite_waits_and_logs_ahead(tmp_path: Path) -> None:
    opened = storage.connect(str(tmp_path / "a.db"))
    with opened.engine.connect() as connection:
        ask = connection.exec_driver_sql
        assert ask("PRAGMA journal_mode").scalar() == "wal"
        assert ask("PRAGMA synchronous").scalar() == 1
        assert ask("PRAGMA busy_timeout").scalar() == 60_000


def test_a_reader_does_not_block_a_writer(tmp_path: Path) -> None:
    study = storage.create_study(str(tmp_path / "a.db"), "s")
    reader = sqlite3.connect(tmp_path / "a.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trials").fetchall()
    started = time.monotonic()
    study.tell(study.ask(), 0.5)
    assert time.monotonic() - started < 5
    reader.close()


def test_creating_is_idempotent_and_names_the_metric(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    made = storage.create_study(path, "s")
    made.set_user_attr("settings", dict.fromkeys(storage.RECORDED, {}))
    made.enqueue_trial({})
    study = storage.create_study(path, "s")
    assert len(study.trials) == 1
    assert study.metric_names == ["validation accuracy"]
    assert storage.open_study(path).study_name == "s"


def test_opening_a_missing_study_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with pytest.raises(UserError, match=r"no study at .*a\.db yet\. Run python search/run.py"):
        storage.open_study(str(path))
    assert list(tmp_path.iterdir()) == []


def test_one_of_several_studies_must_be_named(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    for name in ("one", "two"):
        storage.create_study(path, name)
    with pytest.raises(UserError, match="--study: one, two"):
        storage.open_study(path)
    assert storage.open_study(path, "two").study_name == "two"


def test_what_is_not_a_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, not a study")
    with pytest.raises(UserError, match="not an SQLite database"):
        storage.create_study(str(path), "s")
    assert path.read_text() == "my notes, not a study"
    with pytest.raises(UserError, match="is a directory"):
        storage.create_study(str(tmp_path), "s")
    with pytest.raises(UserError, match="no directory"):
        storage.create_study(str(tmp_path / "no" / "a.db"), "s")


def test_another_programs_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="database of another program"):
        storage.create_study(str(path), "s")
    assert path.read_bytes() == before


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    with pytest.raises(UserError) as caught:
        storage.create_study(str(path), "s")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["nonsense://x", "postgresql+psycopg://me:secret@127.0.0.1:1/x", "mysql://me:secret@h/x"]
)
def test_an_unreachable_server_is_one_line_without_the_password(url: str) -> None:
    with pytest.raises(UserError) as caught:
        storage.create_study(url, "s")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_study_that_minimises_is_not_ours(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    optuna.create_study(study_name="s", storage=f"sqlite:///{path}", direction="minimize")
    with pytest.raises(UserError, match="not one of this tool"):
        storage.create_study(path, "s")


def _hold(path: str, ready: object, seconds: float) -> None:
    with locks.study_lock(path):
        ready.set()  # type: ignore[attr-defined]
        time.sleep(seconds)


@pytest.mark.processes
def test_the_lock_is_held_across_processes_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    context = multiprocessing.get_context("spawn")
    for seconds, kill in ((0.5, False), (60.0, True)):
        ready = context.Event()
        holder = context.Process(target=_hold, args=(path, ready, seconds))
        holder.start()
        assert ready.wait(30)
        started = time.monotonic()
        if kill:
            holder.kill()
        with locks.study_lock(path):
            waited = time.monotonic() - started
        holder.join()
        assert (waited < 5) if kill else (0.2 < waited < 5)


def _open(path: str, start: float, failures: object) -> None:
    time.sleep(max(0.0, start - time.time()))
    try:
        storage.connect(path)
    except Exception as error:
        failures.put(repr(error))  # type: ignore[attr-defined]


@pytest.mark.processes
def test_several_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    start = time.time() + 4
    openers = [
        context.Process(target=_open, args=(str(tmp_path / "a.db"), start, failures))
        for _ in range(6)
    ]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert failures.empty(), failures.get()


@pytest.mark.processes
def test_looking_at_a_study_keeps_this_processs_locks(tmp_path: Path) -> None:
    """A file that is opened and closed beside SQLite would lose them, and could be damaged."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE studies (name TEXT)")
        connection.execute("BEGIN IMMEDIATE")
        storage.check_storage(str(path))
        other = (
            f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
        )
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
        assert "database is locked" in done.stderr
