"""The objective: what is recorded, pruning, other seeds, failures, no test images."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from objective import Limits, Objective, Settings
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import count_macs, count_parameters, peak_activation_bytes
from search.architecture.feasibility import first_candidate
from search.architecture.layers import Conv, Pool
from search.architecture.spaces import read_space
from search.common.errors import TrainingError
from search.data.dataset import DataSource, fingerprint
from search.study.attributes import ADJUSTED, USER_CANDIDATE
from search.training.recipe import Recipe
from tests.helpers.draws import SPACE, simplest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def source(mnist_1200: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> DataSource:
    """A data folder with training files only: there is no test file that could be read."""
    pixels, labels = mnist_1200
    np.save(tmp_path / "train_images.npy", pixels)
    np.save(tmp_path / "train_labels.npy", labels)
    return DataSource(
        folder=tmp_path,
        name="MNIST",
        description="the first 1,200 images",
        fingerprint=fingerprint(pixels, labels),
        mean=(0.1307,),
        std=(0.3081,),
        train_images=1_000,
        validation_images=200,
    )


def new_study(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    return optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner
    )


def ask_small(study: optuna.Study, **changes: float) -> optuna.Trial:
    study.enqueue_trial({**simplest(), "learning_rate": 0.2, **changes})
    return study.ask()


def test_a_trained_trial_records_what_it_did(source: DataSource) -> None:
    study = new_study()
    trial = ask_small(study)
    value = Objective(Settings(source=source, space_file=SPACE, epochs=3, commit="abc"))(trial)
    frozen = study.tell(trial, value)
    seen = frozen.user_attrs
    assert list(frozen.intermediate_values) == [1, 2, 3]
    assert frozen.value == frozen.intermediate_values[3]
    assert seen["best_accuracy"] == max(frozen.intermediate_values.values())
    assert frozen.intermediate_values[seen["best_epoch"]] == seen["best_accuracy"]
    candidate = LayeredCandidate.from_json(seen["candidate"])
    assert seen["parameters"] == count_parameters(candidate)
    assert seen["macs"] == count_macs(candidate)
    assert seen["peak_activation_bytes"] == peak_activation_bytes(candidate)
    assert seen["architecture"] == candidate.one_line()
    assert seen["epochs"] == 3
    assert seen["seconds"] > 0
    assert seen["commit"] == "abc"
    assert seen["device"].startswith("cpu")
    assert "torch" in seen["versions"]
    assert 0 < seen["validation_loss"] < 10


def test_an_interrupted_trial_is_proposed_as_it_was(source: DataSource, tmp_path: Path) -> None:
    """Without a word of Optuna's on constraints that are set already."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/a.db")
    study = optuna.create_study(
        study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    judge = Objective(Settings(source=source, space_file=SPACE, limits=Limits(max_macs=10**9)))
    task = judge.propose(study.ask())
    before = study.trials[0]
    there = storage.get_trial_id_from_study_id_trial_number(1, 0)
    storage.set_trial_state_values(there, TrialState.WAITING)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judge.propose(study.ask()) == task
    (after,) = study.trials
    assert (after.params, after.user_attrs) == (before.params, before.user_attrs)


def test_a_candidate_is_rebuilt_from_its_trials_parameters(source: DataSource) -> None:
    study, judge = new_study(), Objective(Settings(source=source, space_file=SPACE))
    for _ in range(20):
        trial = study.ask()
        try:
            task = judge.propose(trial)
        except optuna.TrialPruned:
            continue
        drawn = judge.settings.space.suggest(optuna.trial.FixedTrial(trial.params))
        assert judge.settings.space.read(task.candidate) == drawn


def test_plain_optuna_runs_it_without_anything_else_of_ours(source: DataSource) -> None:
    """As a notebook does: one process, any storage, Optuna's own pruner."""
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    study.enqueue_trial(simplest())
    study.optimize(Objective(Settings(source=source, space_file=SPACE, epochs=2)), n_trials=3)
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    first = study.trials[0]
    assert first.state == TrialState.COMPLETE
    assert first.value == first.intermediate_values[2]
    assert study.best_value >= first.value


@pytest.mark.processes
def test_one_process_and_many_train_the_same(source: DataSource, tmp_path: Path) -> None:
    """The command's first trial is, bit by bit, what the objective makes of its parameters."""
    from search.console.terminal import Terminal
    from search.study.storages.opening import RECORDED, create_study
    from search.workers.coordinator import coordinate
    from search.workers.job import Job
    from search.workers.local import LocalWorkers
    from search.workers.training import training_by

    settings = Settings(source=source, space_file=SPACE, epochs=2, seed=5)
    path = str(tmp_path / "a.db")
    study = create_study(path, "s")
    study.set_user_attr("settings", dict.fromkeys(RECORDED, {}))
    study.enqueue_trial(simplest())
    job = Job(
        storage=path,
        study="s",
        trials=1,
        sampler="random",
        pruner="none",
        seed=5,
        epochs=2,
        validation_images=200,
        source=source,
        judge=Objective(settings),
        make_training=training_by(Objective, settings),
    )
    assert coordinate(job, 1, Terminal(quiet=True), start=LocalWorkers) == 0
    plain = new_study()
    plain.enqueue_trial(simplest())
    plain.optimize(Objective(settings), n_trials=1)
    assert study.trials[0].intermediate_values == plain.trials[0].intermediate_values
    timed = {"seconds", "worker", "parent"}
    both = [study.trials[0].user_attrs, plain.trials[0].user_attrs]
    assert [{k: v for k, v in of.items() if k not in timed} for of in both][0] == {
        k: v for k, v in both[1].items() if k not in timed
    }


class PruneAfter(optuna.pruners.BasePruner):
    """Prunes every trial at an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step == self.epoch


def test_a_pruned_trial_records_when_and_why(source: DataSource) -> None:
    study = new_study(PruneAfter(2))
    trial = ask_small(study)
    with pytest.raises(optuna.TrialPruned):
        Objective(Settings(source=source, space_file=SPACE, epochs=5))(trial)
    assert trial.user_attrs["epochs"] == 2
    assert trial.user_attrs["reason"].startswith("pruneafter pruner at epoch 2: 0.")
    assert "validation_loss" in trial.user_attrs


def test_another_seed_of_a_candidate_is_trained_to_the_end_from_another_seed(
    source: DataSource,
) -> None:
    study = new_study()
    judge = Objective(Settings(source=source, space_file=SPACE, epochs=3))
    params = {**simplest(), "learning_rate": 0.2}
    for _ in range(2):
        study.enqueue_trial(params)
    study.optimize(judge, n_trials=1)
    study.pruner = PruneAfter(1)
    study.optimize(judge, n_trials=1)
    study.enqueue_trial({**params, "learning_rate": 0.1})
    study.optimize(judge, n_trials=1)
    first, again, other = study.trials
    assert [trial.user_attrs.get("seed_of") for trial in study.trials] == [None, 0, None]
    assert again.state == TrialState.COMPLETE and len(again.intermediate_values) == 3
    assert other.state == TrialState.PRUNED
    assert first.user_attrs["candidate"] == again.user_attrs["candidate"]
    assert first.user_attrs["seed"] != again.user_attrs["seed"]
    assert first.intermediate_values != again.intermediate_values


def test_a_candidate_that_is_handed_in_twice_stays_two(source: DataSource) -> None:
    text = LayeredCandidate(layers=(Conv(width=2), Pool())).to_json()
    study, judge = new_study(), Objective(Settings(source=source, space_file=SPACE, epochs=1))
    for _ in range(2):
        study.enqueue_trial({}, user_attrs={USER_CANDIDATE.name: text})
    study.optimize(judge, n_trials=2)
    assert ["seed_of" in trial.user_attrs for trial in study.trials] == [False, False]


def test_a_loss_that_is_not_finite_fails_the_trial(source: DataSource) -> None:
    broken = DataSource(**{**source.__dict__, "std": (1e-40,)})
    with pytest.raises(TrainingError, match="not finite"):
        Objective(Settings(source=broken, space_file=SPACE, epochs=1))(ask_small(new_study()))


@pytest.mark.processes
def test_the_test_images_cannot_be_reached(source: DataSource) -> None:
    """Nothing that a trial imports can open them, and a whole trial opens no such file."""
    for name in ("train_images.npy", "train_labels.npy"):
        bytes_ = (source.folder / name).read_bytes()
        (source.folder / name.replace("train", "test")).write_bytes(bytes_)
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import optuna, objective, torch
torch.set_num_threads(1)
from search.architecture.spaces import read_space
from search.data.dataset import DataSource
from pathlib import Path
source = DataSource(folder=Path({str(source.folder)!r}), name="MNIST", description="",
                    fingerprint={source.fingerprint!r}, mean=(0.13,), std=(0.31,),
                    train_images=1000, validation_images=200)
study = optuna.create_study(direction="maximize")
study.enqueue_trial({simplest()!r})
space = read_space(Path({str(SPACE.path)!r}))
settings = objective.Settings(source=source, space_file=space, epochs=1)
study.optimize(objective.Objective(settings), n_trials=1)
here = [Path(name) for name in opened if {str(source.folder)!r} in name]
print(*sorted(set(path.name for path in here)))
print([name for name in sys.modules if "testset" in name])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    expected = ["train_images.npy", "train_labels.npy", "[]"]
    assert ran.stdout.split() == expected, ran.stdout + ran.stderr


def test_a_recipe_that_is_not_followed_is_recorded(source: DataSource) -> None:
    recipe = Recipe(epochs=100, batch_size=5_000)
    asked = LayeredCandidate(layers=(Conv(width=2), Pool()), recipe=recipe)
    study = new_study()
    study.enqueue_trial({}, user_attrs={USER_CANDIDATE.name: asked.to_json()})
    study.optimize(Objective(Settings(source=source, space_file=SPACE, epochs=1)), n_trials=1)
    assert study.trials[0].user_attrs[ADJUSTED.name] == [
        "1 epoch instead of its recipe's 100",
        "batches of all 1,000 images instead of 5,000",
    ]
    usual = ask_small(study)
    Objective(Settings(source=source, space_file=SPACE, epochs=1))(usual)
    assert ADJUSTED.name not in usual.user_attrs


def test_equal_parameters_under_other_limits_are_another_candidate(source: DataSource) -> None:
    """The widths of the default space follow from the limits."""
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=1))
    made: list[dict[str, Any]] = []
    for max_macs in (None, 200_000, None):
        space_file = read_space()
        limits = Limits(max_macs=max_macs)
        settings = Settings(source=source, space_file=space_file, epochs=1, limits=limits)
        objective = Objective(settings)
        if made:
            study.enqueue_trial(study.trials[0].params)
        else:
            study.enqueue_trial(first_candidate(settings.space))
        trial = study.ask()
        study.tell(trial, objective(trial))
        made.append(study.trials[-1].user_attrs)
    assert study.trials[0].params == study.trials[1].params == study.trials[2].params
    assert made[0]["macs"] > made[1]["macs"]
    assert [attrs.get("seed_of") for attrs in made] == [None, None, 0]
    assert made[0]["candidate"] == made[2]["candidate"] != made[1]["candidate"]
