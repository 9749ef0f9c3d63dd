"""The finalists command on real processes: fresh seeds, one test each, stamped, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from objective import Settings
from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import Conv, Dropout, Pool
from search.common.errors import UserError
from search.data.sources import locate
from search.finals.retraining import QueuedTraining
from search.finals.studies import distinct, stamp
from search.reporting.records import StudyLimits
from search.study.attributes import OPENINGS
from search.study.storages.opening import open_study
from search.training.recipe import Recipe
from tests.helpers.data.idx_files import write_idx

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def with_test(tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]) -> Path:
    """1,000 images to train on and 200 to test on."""
    images, labels = mnist_1200
    folder = tmp_path / "data"
    write_idx(folder / "train-images-idx3-ubyte", images[:1000])
    write_idx(folder / "train-labels-idx1-ubyte", labels[:1000])
    write_idx(folder / "t10k-images-idx3-ubyte", images[1000:])
    write_idx(folder / "t10k-labels-idx1-ubyte", labels[1000:])
    return folder


def call(name: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = command_of(name, folder, *more)
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def command_of(name: str, folder: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "search" / name), "--data", str(folder / "data")),
        *("--storage", str(folder / "study.db"), "--reports", str(folder / "reports")),
        *("--device", "cpu", "--workers", "1", *more),
    ]


def test_the_best_are_retrained_tested_once_and_reported(tmp_path: Path, with_test: Path) -> None:
    done = call("run.py", tmp_path, "--trials", "4", "--epochs", "2", "--pruner", "none")
    assert done.returncode == 0, done.stderr
    two = ("--top", "2", "--shortlist", "0", "--no-references")
    first = call("finalists.py", tmp_path, *two, "--seeds", "2")
    assert first.returncode == 0, first.stderr
    search = open_study(str(tmp_path / "study.db"), "cnn-search")
    finals = open_study(str(tmp_path / "study.db"), "cnn-search finalists")
    assert len(finals.trials) == 4
    assert len(finals.user_attrs[OPENINGS.name]) == 1
    seeds = {trial.user_attrs["seed"] for trial in finals.trials}
    assert len(seeds) == 2
    assert not seeds & {trial.user_attrs.get("seed") for trial in search.trials}
    for trial in finals.trials:
        assert trial.value == trial.user_attrs["test_accuracy"]
        assert trial.user_attrs["test_correct"] == round(200 * trial.user_attrs["test_accuracy"])
        assert trial.intermediate_values == {}  # nothing was looked at on the way
    assert "not distinguishable" in first.stdout or "better than" in first.stdout
    assert "Finalist" in (tmp_path / "reports" / "leaderboard.html").read_text()

    again = call("finalists.py", tmp_path, *two, "--seeds", "2")
    assert again.returncode == 0, again.stderr
    assert len(finals.get_trials()) == 4
    assert len(finals.user_attrs[OPENINGS.name]) == 1  # nothing was missing: nothing was opened
    more = call("finalists.py", tmp_path, *two, "--seeds", "3")
    assert "already opened once for this study" in more.stdout
    finals = open_study(str(tmp_path / "study.db"), "cnn-search finalists")
    assert [trial.state for trial in finals.trials] == [TrialState.COMPLETE] * 6
    assert [opening["count"] for opening in finals.user_attrs[OPENINGS.name]] == [1, 2]
    assert [opening["trainings"] for opening in finals.user_attrs[OPENINGS.name]] == [4, 6]


def test_seeds_trained_as_one_network_are_killed_and_go_on(tmp_path: Path, with_test: Path) -> None:
    """Each is a trial of its own; their worker's death costs no epoch."""
    done = call("run.py", tmp_path, "--trials", "3", "--epochs", "8", "--pruner", "none")
    assert done.returncode == 0, done.stderr
    wanted = ("--top", "2", "--shortlist", "0", "--no-references", "--seeds", "3", "--stack", "3")
    process = subprocess.Popen(
        command_of("finalists.py", tmp_path, *wanted),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def begun() -> list[optuna.trial.FrozenTrial]:
        try:
            trials = open_study(str(tmp_path / "study.db"), "cnn-search finalists").trials
        except UserError:
            return []
        return [trial for trial in trials if trial.user_attrs.get("epochs", 0) >= 2]

    deadline = time.monotonic() + 90
    while len(begun()) < 3:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    killed = begun()[0].user_attrs["worker"]
    os.kill(int(killed.split(":")[1]), signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert (out + err).count("1 worker died and was replaced") == 1
    finals = open_study(str(tmp_path / "study.db"), "cnn-search finalists").trials
    assert [trial.state for trial in finals] == [TrialState.COMPLETE] * 6
    labels = [trial.user_attrs["label"] for trial in finals]
    assert labels[0] != labels[3]
    assert labels == [labels[0]] * 3 + [labels[3]] * 3  # each candidate's seeds in a row
    assert [trial.user_attrs["epochs"] for trial in finals] == [8] * 6
    stacked = ["stacked" in trial.user_attrs["device"] for trial in finals]
    assert stacked[:3] == [True] * 3
    assert sum(stacked) >= 5  # one that was handed out late may be alone
    resumed = [trial.user_attrs.get("resumed_after_epoch", 0) for trial in finals]
    assert sum(epoch >= 2 for epoch in resumed) >= 3


def test_a_shortlist_chooses_the_finalists_before_the_test_images_are_opened(
    tmp_path: Path, with_test: Path
) -> None:
    """It is trained on the search's 834 images alone, judged on its 166, and goes on when asked."""
    storage = str(tmp_path / "study.db")
    done = call("run.py", tmp_path, "--trials", "5", "--epochs", "1", "--pruner", "none")
    assert done.returncode == 0, done.stderr
    test = tmp_path / "data" / "t10k-images-idx3-ubyte"
    images = test.read_bytes()
    test.write_bytes(b"whoever opens this fails")
    wanted = ("--top", "1", "--shortlist", "3", "--shortlist-seeds", "2", "--seeds", "1")
    blind = call("finalists.py", tmp_path, *wanted, "--no-references")
    assert blind.returncode == 2 and "t10k-images" in blind.stderr
    again = open_study(storage, "cnn-search shortlist").trials
    assert [trial.state for trial in again] == [TrialState.COMPLETE] * 6  # without a test image
    test.write_bytes(images)
    last = call("finalists.py", tmp_path, *wanted, "--no-references")
    assert last.returncode == 0, last.stderr
    again = open_study(storage, "cnn-search shortlist").trials
    finals = open_study(storage, "cnn-search finalists").trials
    search = open_study(storage, "cnn-search").trials
    assert (len(again), len(finals)) == (6, 1)
    seeds = [{trial.user_attrs["seed"] for trial in group} for group in (search, again, finals)]
    assert [len(found) for found in seeds] == [5, 2, 1]
    assert len(set.union(*seeds)) == 8
    for trial in again:
        right = trial.user_attrs["validation_correct"]
        assert trial.value == pytest.approx(right / 166)
        assert "test_accuracy" not in trial.user_attrs
    means = {}
    for one in search:
        fresh = [t.value for t in again if t.user_attrs["search_trial"] == one.number]
        if fresh:
            means[one.number] = sum(value or 0.0 for value in [one.value, *fresh]) / 3
    assert len(means) == 3
    assert means[finals[0].user_attrs["search_trial"]] == max(means.values())
    assert "the finalists have the best means over all trainings" in last.stdout
    assert "How the finalists were chosen" in (tmp_path / "reports" / "leaderboard.md").read_text()


def test_only_trainings_chosen_later_have_seen_the_test_images(
    with_test: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(source=locate(with_test))
    finals = optuna.create_study()
    said = []
    for seed in (1, 1, 2):  # the second time the first training, cut, is there once more
        entry = QueuedTraining(kind="finalist", label="trial 0", candidate="{}", seed=seed)
        finals.enqueue_trial({}, user_attrs=entry.to_attributes())
        stamp(finals, settings)
        said.append("is not blind to them" in capsys.readouterr().out)
    assert said == [False, False, True]


def test_one_architecture_is_one_finalist() -> None:
    """Dropout and recipe may differ; the best trial stands for all, with its own place."""

    def trial(number: int, value: float, width: int, dropout: float):  # type: ignore[no-untyped-def]
        layers = (Conv(width=width), Pool(), Dropout(rate=dropout), Conv(width=8))
        candidate = LayeredCandidate(layers=layers, recipe=Recipe(learning_rate=0.01 * number))
        known = {"candidate": candidate.to_json(), "parameters": 100, "epochs": 2}
        made = create_trial(value=value, user_attrs=known)
        made.number = number
        return made

    trials = [trial(1, 0.95, 4, 0.0), trial(2, 0.99, 4, 0.1), trial(3, 0.97, 5, 0.0)]
    assert [(rank, t.number) for rank, t in distinct(trials, 5, StudyLimits())] == [(1, 2), (2, 3)]
    assert [(rank, t.number) for rank, t in distinct(trials, 1, StudyLimits())] == [(1, 2)]


def test_refusals_are_one_line(tmp_path: Path, with_test: Path) -> None:
    missing = call("finalists.py", tmp_path)
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1 and "error: " in missing.stderr
    call("run.py", tmp_path, "--trials", "1", "--epochs", "1")
    elsewhere = call("finalists.py", tmp_path, "--references")
    assert elsewhere.returncode == 2
    assert elsewhere.stderr.startswith(
        "error: the reference systems and their claims are for MNIST"
    )
    assert elsewhere.stderr.count("\n") == 1
    for file in (tmp_path / "data").glob("t10k*"):
        file.unlink()
    untested = call("finalists.py", tmp_path, "--no-references", "--seeds", "1")
    assert untested.returncode == 2
    assert "has no test files" in untested.stderr
