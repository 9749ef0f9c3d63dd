"""The README's pictures are made from a kept study by the live view itself."""

from __future__ import annotations

import datetime as dt
import importlib.util
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from optuna.trial import TrialState

from search.study.storages.opening import open_study

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "reports" / "reference" / "study.db"


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_study_as_it_stood(pictures: ModuleType) -> None:
    trials = open_study(str(STUDY), read_only=True).get_trials()
    middle = trials[50]
    assert middle.datetime_start is not None
    assert middle.datetime_complete is not None
    moment = middle.datetime_start + dt.timedelta(seconds=30)
    assert moment < middle.datetime_complete
    then = {trial.number: trial for trial in pictures.at_moment(trials, moment)}
    assert max(then) < 99
    running = then[50]
    assert (running.state, running.values) == (TrialState.RUNNING, None)
    assert 0 < len(running.intermediate_values) < len(middle.intermediate_values)
    for number, trial in then.items():
        if trial.state != TrialState.RUNNING:
            assert trial.values == trials[number].values


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_terminal_is_a_picture_that_asks_no_server(pictures: ModuleType, theme: str) -> None:
    svg = pictures.terminal(str(STUDY), 0.5, theme)
    ElementTree.fromstring(svg)
    assert "/100&#160;trials" in svg
    assert "best&#160;so&#160;far" in svg
    assert "url(" not in svg.replace("url(#", "")
    assert "@font-face" not in svg


def test_the_readme_shows_them_all() -> None:
    readme = (ROOT / "README.md").read_text()
    files = sorted((ROOT / "docs" / "pictures").iterdir())
    assert len(files) == 4
    for file in files:
        assert f"docs/pictures/{file.name}" in readme
