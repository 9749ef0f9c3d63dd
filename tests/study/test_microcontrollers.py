"""What an export measured for a microcontroller is noted in the study, and reports show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.common.errors import UserError
from search.reporting.leaderboard import summarize
from search.reporting.pages import micro
from search.reporting.pages.writing import render
from search.study.attributes import MICRO, SETTINGS
from search.study.microcontrollers import FIELDS, read_measured, record_measured
from search.study.storages.opening import RECORDED as REQUIRED
from search.study.storages.opening import create_study, open_study
from tests.reporting.studies import SETTINGS as RECORDED

FIGURES: dict[str, Any] = {
    **{"images": 10_000, "float32_right": 9_960, "right": 9_958, "same": 9_990},
    **{"activations": 9_344, "arena": 13_584, "c_ram": 9_340, "c_flash": 17_570},
    "file_bytes": 27_640,
}


def study_at(path: Path, **settings: Any) -> str:
    study = create_study(str(path), "s")
    SETTINGS.set(study, {**dict.fromkeys(REQUIRED, {}), **RECORDED, **settings})
    return str(path)


def test_a_trial_measured_again_replaces_its_figures(tmp_path: Path) -> None:
    storage = study_at(tmp_path / "a.db")
    record_measured(storage, "s", 7, {**FIGURES, "right": 1})
    record_measured(storage, "s", 12, FIGURES)
    record_measured(storage, "s", 7, FIGURES)
    found = read_measured(open_study(storage))
    assert [(one.trial, one.right) for one in found] == [(7, 9_958), (12, 9_958)]
    assert all(getattr(found[0], name) == FIGURES[name] for name in FIELDS)


def test_what_is_unusable_is_left_out(tmp_path: Path) -> None:
    storage = study_at(tmp_path / "a.db")
    study = open_study(storage)
    MICRO.set(study, {"7": {"images": "x"}, "y": FIGURES, "8": 3, "9": {"images": 5, "right": -1}})
    (one,) = read_measured(open_study(storage))
    assert (one.trial, one.images, one.right, one.c_ram) == (9, 5, None, None)


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study at"):
        record_measured(str(tmp_path / "none.db"), "s", 0, FIGURES)


def test_reports_show_it_beside_the_limits(tmp_path: Path) -> None:
    storage = study_at(tmp_path / "a.db", max_ram=10_000, max_flash=17_000)
    record_measured(storage, "s", 7, FIGURES)
    summary = summarize(open_study(storage))
    (row,) = micro.rows(summary)
    assert row == (
        *("trial 7", "99.60 %", "99.58 %", "9,990 of 10,000"),
        *("9,340 (within 10,000)", "13,584 (over 10,000)"),
        *("17,570 (over 17,000)", "27,640 (over 17,000)"),
    )
    files = render(summary, top=10)
    assert "9,340 (within 10,000)" in files["leaderboard.md"]
