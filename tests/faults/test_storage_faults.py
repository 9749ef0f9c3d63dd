"""Locks, full disks, deleted files, other schemas: wait, or one clear line, and no damage."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import (
    check_done,
    check_sound,
    finish,
    finished_records,
    start,
    trials,
    wait_for,
)


def one_line(err: str) -> str:
    assert err.count("\n") == 1, err
    assert err.startswith("error: ")
    return err


def test_a_database_that_someone_locks_is_waited_for(command: list[str], tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    process = start(command, "--trials", "6", "--workers", "2")
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
    check_done(database, 6)


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
    code, _, err = finish(start(command, "--trials", "1"))
    assert code == 0, err
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    code, _, err = finish(start(command, "--trials", "2"))
    assert code == 2
    assert "Optuna" in one_line(err)
    check_sound(database)


def test_a_read_only_study_is_one_line(command: list[str], tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    code, _, err = finish(start(command, "--trials", "1"))
    assert code == 0, err
    code_ = (
        "import os, runpy, sys; os.setuid(65534) if os.geteuid() == 0 else None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    database.chmod(0o444)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    root = Path(__file__).parents[2]
    probe = [sys.executable, "-c", code_, str(root / "search/report.py"), "--help"]
    if subprocess.run(probe, capture_output=True).returncode != 0:
        pytest.skip("another user cannot run this installation")
    done = subprocess.run(
        [sys.executable, "-c", code_, *command[1:], "--trials", "2"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "cannot be opened" in one_line(done.stderr)
