"""What is given as a storage: exactly that file, or a server, or one line without a password."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from search.common.errors import UserError
from search.console.arguments import Parser, storage_name
from search.study.storages.location import sqlite_file, without_password
from search.study.storages.locks import study_lock
from search.study.storages.opening import create_study, open_study

NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1),
    st.binary(min_size=1, max_size=80).map(os.fsdecode),
).filter(lambda name: name not in (".", "..") and not {"/", "\0"} & set(name))


@settings(max_examples=15, deadline=None)
@given(NAMES.filter(lambda name: len(os.fsencode(name)) <= 243))
@example("q?x=1.db")
@example("p%41%20.db")
@example("a#b {c} 'd' \"e\"\n.db")
@example("postgresql:user:word@host")
@example(os.fsdecode(b"\xff.db"))
@example("n" * 243)
def test_a_study_is_in_exactly_the_file_that_was_named(name: str) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        given = str(folder / name)
        with study_lock(given):
            study = create_study(given, "s")
        study.enqueue_trial({})
        beside = {path.name.removeprefix(name) for path in folder.iterdir()}
        assert beside <= {"", "-wal", "-shm", ".lock"}
        assert (folder / name).stat().st_size > 0
        assert len(open_study(given).trials) == len(open_study(given, read_only=True).trials) == 1
    finally:
        shutil.rmtree(folder)


def test_a_url_of_sqlalchemy_and_a_path_mean_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("a b.db", "./a b.db", "~/a b.db", "sqlite:///a b.db", "sqlite:///a%20b.db"):
        assert sqlite_file(text) == tmp_path / "a b.db"
    assert sqlite_file(f"sqlite+pysqlite:///{tmp_path}/a.db") == tmp_path / "a.db"
    assert sqlite_file("postgresql+psycopg://me:secret@host/db") is None
    assert without_password("postgresql+psycopg://me:secret@host/db").endswith("//me:***@host/db")


def test_a_link_stands_for_the_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to("real.db")
    create_study(str(tmp_path / "link.db"), "s")
    assert (tmp_path / "real.db").is_file()
    with study_lock(str(tmp_path / "link.db")), study_lock(str(tmp_path / "real.db"), 0) as held:
        assert not held
    assert not (tmp_path / "link.db.lock").exists()


@pytest.mark.parametrize(
    "text",
    [
        *("", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite:x.db", "sqlite:/x.db"),
        *("sqlite:///x.db?timeout=5", "sqlite:///file:x.db?uri=true", "sqlite://host/x.db"),
        *("sqlite+aiosqlite:///x.db", "sqlite:///%00"),
        "postgresql+psycopg:user:SECRET@host/db",
        "postgres:/user:SECRET@host/db",
        "postgresql//user:SECRET@host/db",
        "//user:SECRET@host/db",
        "user:SECRET@host/db",
        "'postgresql://user:SECRET@host/db'",
        "postgresql+psycopg:///user:SECRET@host/db",
        "postgresql+psycopg://user:SEC@RET@host/db",
    ],
)
def test_what_is_neither_is_refused_and_not_shown(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    parser = Parser(prog="run.py")
    parser.add_argument("--storage", type=storage_name)
    for arguments in (["--storage", text], ["--storge", text]):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(arguments)
        error = capsys.readouterr().err
        assert ended.value.code == 2
        assert error.count("\n") == 1
        assert "SEC" not in error
        assert "RET" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_no_mistyped_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="looks like a database URL"):
        sqlite_file("mysql:backup.db")
    assert sqlite_file("./mysql:backup.db") == tmp_path / "mysql:backup.db"
    (tmp_path / "mysql:backup.db").touch()
    assert sqlite_file("mysql:backup.db") == tmp_path / "mysql:backup.db"


@pytest.mark.parametrize("name", ["a" * 244, "a" * 255, "a" * 256, "a/" * 260 + "a.db"])
def test_a_name_to_which_nothing_can_be_added_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    before = list(tmp_path.iterdir())
    for opening in (create_study, open_study):
        with pytest.raises(UserError, match="too long"):
            opening(str(tmp_path / name), "s")
    assert list(tmp_path.iterdir()) == before
