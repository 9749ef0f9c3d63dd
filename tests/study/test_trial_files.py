"""Files beside a study, one a trial: replaced at once, swept, and never a user's own."""

from __future__ import annotations

from pathlib import Path

from search.study.trial_files import TrialFiles


def test_what_is_written_is_read_and_removed(tmp_path: Path) -> None:
    for folder in (tmp_path / "states", None):
        files = TrialFiles(folder, "../a")
        assert files.read(3) is None
        assert files.write(3, b"one")
        assert files.write(3, b"two")
        assert files.read(3) == b"two"
        assert files.read(30) is None
        files.remove(3)
        assert files.read(3) is None
        assert folder is None or not folder.exists()


def test_a_folder_that_cannot_be_written_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = TrialFiles(tmp_path / "file", "a")
    assert files.write(1, b"x") is False
    assert files.read(1) is None
    files.remove(1)


def test_only_what_trials_that_have_ended_left_is_swept(tmp_path: Path) -> None:
    for study, number in (("a", 1), ("a", 12), ("../b", 1)):
        assert TrialFiles(tmp_path, study).write(number, b"x")
    ours, others = TrialFiles(tmp_path, "a"), TrialFiles(tmp_path, "../b")
    paths = [ours.path(1), ours.path(12), others.path(1)]
    one, twelve, other = (path for path in paths if path is not None)
    one.with_name(f"{one.name}.abcd_123").touch()  # half written
    users = {one.with_suffix(".pt.backup"), tmp_path / "notes.txt"}
    for file in users:
        file.write_text("a user's own")
    ours.sweep(ended={1})
    assert set(tmp_path.iterdir()) == {twelve, other} | users
    TrialFiles(tmp_path / "none", "a").sweep(ended={1})
