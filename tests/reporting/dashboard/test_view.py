"""What a search writes for the dashboard: notes, small figures, the best network's files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial
from optuna_dashboard import get_note, save_note
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import layer_table
from search.architecture.layers import Conv, Pool
from search.reporting.candidates import layer_lines
from search.reporting.dashboard.figures import budget_use, pareto
from search.reporting.dashboard.view import (
    DashboardView,
    _artifacts,
    artifacts_folder,
    how_it_ended,
)
from search.study.judge import Task
from search.study.storages.opening import RECORDED, create_study
from search.study.storages.stored import StoredStudy
from search.study.weights import pack_weights, weights_files
from tests.commands.test_dashboard import DASHBOARD, answers, free_port
from tests.helpers.browser import browser, needs_browser
from tests.helpers.commands import wait_until
from tests.reporting.studies import complete, failed, pruned, realistic, study_of

SMALL = LayeredCandidate(layers=(Conv(width=4), Pool()))
NOTE = f"`{SMALL.one_line()}`\n\n{layer_lines(layer_table(SMALL))}"
KNOWN: dict[str, Any] = {"candidate": SMALL.to_json(), "architecture": SMALL.one_line()}


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return str(tmp_path / "study.db")


@pytest.fixture
def study(storage: str) -> StoredStudy:
    """With a trial of every kind; the complete one has left its weights."""
    study = create_study(storage, "cnn-search")
    study.set_user_attr("settings", dict.fromkeys(RECORDED, {}))
    over = "over budget: 23,120 parameters > 20,000"
    study.add_trials(
        [
            complete(accuracy=0.9912, candidate=SMALL, seed=7, best_epoch=3, best_accuracy=0.992),
            pruned(reason="median pruner at epoch 6: 0.9700", **KNOWN),
            pruned(reason=over, last=None, over_budget=True, **KNOWN, parameters=23_120),
            failed(reason="failed: loss is not finite at epoch 2", **KNOWN),
        ]
    )
    keep(storage, study.trials[0])
    return study


def keep(storage: str, trial: FrozenTrial) -> None:
    task = Task(number=trial.number, seed=7, candidate=trial.user_attrs["candidate"])
    packed = pack_weights(build(SMALL), task)
    assert weights_files(storage, "cnn-search").write(trial.number, packed)


def new_view(storage: str) -> DashboardView:
    return DashboardView(storage, "cnn-search", max_params=20_000, target=0.994)


def look(study: StoredStudy, storage: str) -> None:
    view = new_view(storage)
    view.look([])
    view.look(study.get_trials(deepcopy=False))
    view.refresh()


def trial_of(study: StoredStudy, number: int) -> optuna.Trial:
    found = study.storage.get_study_id_from_name(study.study_name)
    there = study.storage.get_trial_id_from_study_id_trial_number(found, number)
    drawing_nothing = optuna.load_study(
        study_name=study.study_name,
        storage=study.storage,
        sampler=optuna.samplers.RandomSampler(),
    )
    return optuna.Trial(drawing_nothing, there)


def notes(study: StoredStudy) -> list[str]:
    return [get_note(trial_of(study, trial.number)) for trial in study.trials]


def artifacts(study: StoredStudy) -> dict[str, dict[str, str]]:
    number = study.storage.get_study_id_from_name(study.study_name)
    return _artifacts(study.storage.get_study_system_attrs(number))


def files(study: StoredStudy) -> list[str]:
    return sorted(meta["filename"] for meta in artifacts(study).values())


def test_every_note_says_how_its_trial_ended_and_keeps_the_layers(
    study: StoredStudy, storage: str
) -> None:
    save_note(trial_of(study, 0), NOTE)  # as it is while a trial runs
    before = study.trials
    look(study, storage)
    ends = [
        "complete: 99.12 % after 20 epochs (best 99.20 % at epoch 3)",
        "pruned, median pruner at epoch 6: 0.9700",
        "pruned, over budget: 23,120 parameters > 20,000",
        "failed: loss is not finite at epoch 2",
    ]
    assert notes(study) == [f"**{end}**\n\n{NOTE}" for end in ends]
    assert study.trials == before
    look(study, storage)
    assert notes(study)[0].count("complete") == 1


def test_the_work_grows_with_what_is_new_not_with_what_is_there(
    study: StoredStudy, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = study.get_trials(deepcopy=False)
    view = new_view(storage)
    view.look(before)
    new = [failed(reason=f"new {number}", **KNOWN) for number in range(20)]
    study.add_trials(new)
    trials = study.get_trials(deepcopy=False)
    readings = []
    read_all = view._backend.get_study_system_attrs

    def counted(study_id: int) -> dict[str, Any]:
        readings.append(study_id)
        return read_all(study_id)

    with monkeypatch.context() as patched:
        patched.setattr(view._backend, "get_study_system_attrs", counted)
        view._note(trials)
        view._note(trials)
    assert len(readings) == 1, "all notes are read once, not for each trial"
    assert notes(study)[: len(before)] == [""] * len(before)
    assert all(found.startswith("**new ") for found in notes(study)[len(before) :])


def test_a_running_trial_is_described_within_seconds(
    study: StoredStudy, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = new_view(storage)
    view.refresh()
    assert files(study) == [], "nothing was looked at"
    view.look(study.get_trials(deepcopy=False))
    trial = study.ask()
    for name, value in KNOWN.items():
        trial.set_user_attr(name, value)
    trials = study.get_trials(deepcopy=False)
    view.look(trials)
    assert notes(study)[-1] == "", "too soon"
    monkeypatch.setattr("search.reporting.dashboard.view.NOTE_SECONDS", 0.0)
    view.look(trials)
    assert notes(study)[-1] == NOTE
    assert files(study) == [], "figures and files are drawn less often"


def test_what_a_person_wrote_into_a_note_stays(study: StoredStudy, storage: str) -> None:
    save_note(trial_of(study, 1), "look at this one")
    look(study, storage)
    assert notes(study)[1] == "look at this one"


def test_the_best_networks_files_take_the_place_of_an_earlier_best(
    study: StoredStudy, storage: str
) -> None:
    look(study, storage)
    look(study, storage)
    assert files(study) == ["best-trial-0.learning-curve.svg", "best-trial-0.safetensors"]
    other = LayeredCandidate(layers=(Conv(width=5), Pool()))
    study.add_trial(complete(accuracy=0.995, candidate=other, seed=7))
    keep(storage, study.trials[4])
    look(study, storage)
    assert files(study) == ["best-trial-4.learning-curve.svg", "best-trial-4.safetensors"]
    folder = artifacts_folder(storage)
    assert folder is not None
    assert {path.name for path in folder.iterdir()} == {
        meta["artifact_id"] for meta in artifacts(study).values()
    }


def test_only_what_is_named_as_an_artifact_is_deleted(
    study: StoredStudy, storage: str, tmp_path: Path
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("a user's own")
    meta = {"artifact_id": "../precious.txt", "filename": "best-trial-9.svg"}
    number = study.storage.get_study_id_from_name("cnn-search")
    study.storage.set_study_system_attr(number, "artifacts:x", json.dumps(meta))
    look(study, storage)
    assert files(study) == ["best-trial-0.learning-curve.svg", "best-trial-0.safetensors"]
    assert precious.read_text() == "a user's own"


def test_figures_stay_small_however_many_trials_there_are() -> None:
    trials = study_of(realistic(1000)).trials
    for figure in (
        pareto(trials, max_params=20_000, target=0.994),
        budget_use(trials, max_params=20_000),
    ):
        assert len(figure.to_json()) < 20_000
        assert sum(len(trace.x) for trace in figure.data) > 50
    assert json.loads(pareto([], max_params=20_000, target=0.994).to_json())


def test_a_study_that_was_deleted_meanwhile_ends_nothing(study: StoredStudy, storage: str) -> None:
    view = new_view(storage)
    view.look([])
    view.look(study.get_trials(deepcopy=False))
    optuna.delete_study(study_name="cnn-search", storage=study.storage)
    view.refresh()


def test_a_reason_is_never_missing() -> None:
    assert how_it_ended(failed()) == "fail"
    assert how_it_ended(complete(accuracy=0.5)) == "complete: 50.00 % after 20 epochs"


@needs_browser
@pytest.mark.processes
def test_the_dashboard_shows_the_figures_and_the_files(
    study: StoredStudy, storage: str, tmp_path: Path
) -> None:
    look(study, storage)
    port = free_port()
    server = subprocess.Popen(
        [*DASHBOARD, "--storage", storage, "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/dashboard/"))
        with browser(tmp_path, width=1500, height=2600) as driver:
            driver.get(f"http://127.0.0.1:{port}/dashboard/studies/1")
            wait = WebDriverWait(driver, 30)
            shown = ("Use of the parameter budget", "Accuracy against parameters", *files(study))
            wait.until(lambda d: all(text in d.page_source for text in shown))
            wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "[src*='/artifacts/1/']"))
            driver.get(f"http://127.0.0.1:{port}/dashboard/studies/1/trials?numbers=2")
            wait.until(lambda d: "over budget: 23,120 parameters &gt; 20,000" in d.page_source)
    finally:
        server.terminate()
        out, _ = server.communicate(timeout=20)
    assert f"its artifacts are kept in {storage}.artifacts" in out
