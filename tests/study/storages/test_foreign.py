"""What belongs to another program is refused, or looked at, and not a byte of it changes."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from search import finalists, report, run
from search.common.errors import UserError
from search.study.storages import opening as storage

FILE = "theirs.db"
Change = Callable[[Path], object]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Of every file but SQLite's shared memory: its bytes and when they changed."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith("-shm")
    }


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def killed(path: Path) -> None:
    """What a program in WAL mode leaves that was killed: changes that are in the log alone."""
    program = (
        "import os, signal, sqlite3\n"
        f"connection = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode=WAL')\n"
        "connection.execute('CREATE TABLE more (a)')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A study of another program that has the name of ours, in a folder of its own."""
    path = tmp_path / "folder" / FILE
    path.parent.mkdir()
    study = optuna.create_study(
        study_name="cnn-search", storage=f"sqlite:///{path}", direction="maximize"
    )
    study.add_trial(optuna.trial.create_trial(value=0.99))
    study.set_user_attr("settings", {"epochs": 20})
    return path


STATES: dict[str, Change] = {
    "as Optuna makes it": lambda path: None,
    "in WAL mode": lambda path: execute(path, "PRAGMA journal_mode=WAL"),
    "left by a killed program": killed,
    "of an older schema": lambda path: execute(
        path, "UPDATE alembic_version SET version_num = 'v0.9.0.a'"
    ),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
}


def commands(path: Path, data: Path) -> dict[str, Callable[[], object]]:
    where = ["--storage", str(path), "--study", "cnn-search"]
    reports = str(path.parent.parent / "reports")
    small = ["--data", str(data), "--reports", reports]
    return {
        "run": lambda: run.main([*where, *small, "--trials", "1", "--continue-anyway"]),
        "finalists": lambda: finalists.main([*where, *small]),
        "report": lambda: report.main([*where, "--reports", reports]),
    }


@pytest.mark.parametrize("state", STATES)
@pytest.mark.processes
def test_another_programs_study_is_refused_by_who_writes_and_never_changed(
    theirs: Path, state: str, data: Path
) -> None:
    STATES[state](theirs)
    before = contents(theirs.parent)
    for name, command in commands(theirs, data).items():
        if name == "report" and list(STATES).index(state) < 3:
            assert command() == 0
        else:
            with pytest.raises(UserError):
                command()
        gc.collect()  # closes the connections, as the end of a command does
        assert contents(theirs.parent) == before, name


def test_a_study_of_an_old_optuna_is_not_brought_up_to_date(theirs: Path) -> None:
    execute(theirs, "DROP TABLE alembic_version")
    before = contents(theirs.parent)
    with pytest.raises(UserError, match="lacks tables of this version"):
        storage.refuse_foreign(str(theirs), "cnn-search")
    assert contents(theirs.parent) == before


def test_a_program_that_is_writing_is_not_disturbed(theirs: Path) -> None:
    execute(theirs, "PRAGMA journal_mode=WAL")
    with closing(sqlite3.connect(theirs, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE more (a)")
        writer.execute("BEGIN IMMEDIATE")
        names = sorted(path.name for path in theirs.parent.iterdir())
        with pytest.raises(UserError, match="not one of this tool"):
            storage.refuse_foreign(str(theirs), "cnn-search")
        assert sorted(path.name for path in theirs.parent.iterdir()) == names
        writer.execute("INSERT INTO more VALUES (1)")
        writer.execute("COMMIT")


def test_a_file_of_foreign_studies_alone_is_not_added_to(theirs: Path) -> None:
    before = contents(theirs.parent)
    with pytest.raises(UserError, match="holds only studies of another program"):
        storage.create_study(str(theirs), "mine")
    with pytest.raises(UserError, match="'cnn-search' in .* is not one of this tool"):
        storage.create_study(str(theirs), "cnn-search")
    assert contents(theirs.parent) == before


def test_the_dashboard_looks_at_a_foreign_study_without_converting_it(theirs: Path) -> None:
    before = contents(theirs.parent)
    study = storage.open_study(str(theirs))
    assert len(study.trials) == 1
    assert contents(theirs.parent) == before
    study.set_user_attr("note", "written by the user")  # a page's button still works
    assert sorted(path.name for path in theirs.parent.iterdir()) == [FILE]


def test_ours_is_what_says_so_or_was_only_just_made(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    study = storage.create_study(path, "s")
    assert not storage.is_ours(study)
    storage.create_study(path, "s")  # killed before its settings were written
    study.set_user_attr("settings", dict.fromkeys(storage.RECORDED, {}))
    assert storage.is_ours(study)
    other = optuna.create_study(storage=study._storage, direction="minimize", study_name="down")
    other.set_user_attr("settings", dict.fromkeys(storage.RECORDED, {}))
    assert not storage.is_ours(other)


@pytest.mark.parametrize("make", ["text", "link"])
@pytest.mark.parametrize("suffix", [".lock", ".checkpoints", ".weights", ".artifacts"])
def test_what_has_the_name_of_a_file_beside_a_study_is_left(
    suffix: str, make: str, tmp_path: Path
) -> None:
    beside, elsewhere = tmp_path / f"a.db{suffix}", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if make == "text":
        beside.write_text("a user's own")
    else:
        beside.symlink_to(elsewhere)
    names = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UserError, match=f"a.db{suffix} is not"):
        storage.create_study(str(tmp_path / "a.db"), "s")
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert make != "text" or beside.read_text() == "a user's own"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "device", "loop"])
def test_what_is_no_plain_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null" if kind == "device" else path.name)
    for opening in (storage.create_study, storage.open_study):
        with pytest.raises(UserError, match="a device or a pipe|in a circle"):
            opening(str(path), "s")
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
