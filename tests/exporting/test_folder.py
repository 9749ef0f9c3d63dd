"""An export goes into a new directory or its own, over its own files alone, all or none."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from search.common.errors import UserError
from search.exporting.folder import FIGURES, FILES, check_folder
from search.exporting.writing import publish


def made(folder: Path, size: int = 10) -> Path:
    """An export's files before they are put into place."""
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(b"x" * size)
    (folder / FIGURES).write_text(json.dumps({"origin": {}, "validation": {}, "sizes": {}}))
    return folder


def test_a_new_an_empty_and_an_own_directory_are_written_to(tmp_path: Path) -> None:
    finished = made(tmp_path / "finished")
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "new"):
        publish(finished, tmp_path / name)
        assert {path.name for path in (tmp_path / name).iterdir()} >= set(FILES)
        (tmp_path / name / "notes.txt").write_text("a user's own")
    assert (tmp_path / "new" / "notes.txt").read_text() == "a user's own"


@pytest.mark.parametrize("name", ["README.md", "notes.txt", ".hidden", FIGURES])
def test_a_directory_with_other_files_is_refused_and_left(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / name).write_text("{}")
    with pytest.raises(UserError, match="holds files that no export wrote"):
        publish(made(tmp_path / "finished"), folder)
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text() == "{}"


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    finished, folder = made(tmp_path / "finished"), tmp_path / "out"
    publish(finished, folder)
    (folder / "model.py").unlink()
    (folder / "model.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(UserError, match=r"model\.py is not what an export writes"):
        check_folder(folder)


def test_an_export_that_does_not_fit_leaves_the_old_one_whole(tmp_path: Path) -> None:
    publish(made(tmp_path / "small"), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    larger = made(tmp_path / "large", size=20)
    (larger / FILES[-1]).write_bytes(b"x" * 5_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))  # as on a full disk
    try:
        for name in ("out", "new"):
            with pytest.raises(UserError, match="cannot be written"):
                publish(larger, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert not (tmp_path / "new").exists()
