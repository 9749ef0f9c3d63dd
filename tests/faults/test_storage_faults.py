"""Locks, full disks, deleted files, other schemas: wait, or one clear line, and no damage."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from search.study.storages.opening import create_study
from tests.faults.processes import (
    check_done,
    check_sound,
    finish,
    finished_records,
    start,
    trials,
    wait_for,
)

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    return err


def test_a_database_that_someone_locks_is_waited_for(command: list[str], tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    process = start(command, "--trials", "4", "--workers", "2")
    wait_for(lambda: len(finished_records(database)) >= 1, process)
    with sqlite3.connect(database, timeout=60) as connection:
        connection.execute("BEGIN IMMEDIATE")
        locked = len(finished_records(database))
        time.sleep(30)
        assert len(finished_records(database)) == locked
        connection.rollback()
    connection.close()
    code, _, err = finish(process)
    assert code == 0, err
    check_done(database, 4)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_run_and_harms_nothing(
    command: list[str], tmp_path: Path, small_disk: Path
) -> None:
    database = small_disk / "study.db"
    command = [*command, "--storage", str(database)]
    process = start(command, "--trials", "200", "--workers", "1")
    wait_for(lambda: len(finished_records(database)) >= 1, process)
    with (small_disk / "filler").open("wb") as filler:
        while shutil.disk_usage(small_disk).free > 4096:
            filler.write(b"x" * min(4096, shutil.disk_usage(small_disk).free - 4096))
            filler.flush()
    code, _, err = finish(process)
    assert code == 2
    assert "disk" in one_line(err)
    (small_disk / "filler").unlink()
    kept = finished_records(database)
    total = str(len(kept) + 2)
    code, _, err = finish(start(command, "--trials", total, "--workers", "1"))
    assert code == 0, err
    now = finished_records(database)
    assert {number: now[number] for number in kept} == kept
    check_done(database, int(total))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_study_deleted_under_a_search_stops_it(
    command: list[str], tmp_path: Path, replaced: bool
) -> None:
    database = tmp_path / "study.db"
    process = start(command, "--trials", "500", "--workers", "1")
    wait_for(lambda: len(trials(database)) >= 2, process)
    database.rename(tmp_path / "moved.db")
    if replaced:
        database.write_bytes(b"")
    code, _, err = finish(process, timeout=60)
    assert code == 2
    assert "was deleted or replaced" in one_line(err)
    assert database.exists() == replaced


@pytest.mark.parametrize("version", ["v0.9.0.a", "v99.0.0.a"])
def test_another_schema_is_one_line(command: list[str], tmp_path: Path, version: str) -> None:
    database = tmp_path / "study.db"
    create_study(str(database), "cnn-search")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    code, _, err = finish(start(command, "--trials", "2"))
    assert code == 2
    assert "Optuna" in one_line(err)
    check_sound(database)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with a study in which nobody, root included, can write."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mounted = False
    if os.geteuid() == 0:
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("mounting a tmpfs is not allowed")
        mounted = True
    study = create_study(str(folder / "study.db"), "cnn-search")
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
    study.tell(trial, 0.5)
    del study, trial
    gc.collect()  # closes the connections, which writes -wal back into the file
    assert [path.name for path in folder.iterdir()] == ["study.db"]
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    else:
        (folder / "study.db").chmod(0o444)
        folder.chmod(0o555)
    yield folder
    folder.chmod(0o755) if not mounted else None
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_read_only_study_cannot_be_searched_on(command: list[str], read_only: Path) -> None:
    code, _, err = finish(start(command, "--storage", str(read_only / "study.db"), "--trials", "2"))
    assert code == 2
    assert "cannot be opened for writing" in one_line(err)


def test_a_read_only_study_is_reported(read_only: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "search/report.py"), "--reports", str(tmp_path / "out")),
            *("--storage", str(read_only / "study.db")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "1 finished trial: 1 complete" in done.stdout
    assert [path.name for path in read_only.iterdir()] == ["study.db"]
