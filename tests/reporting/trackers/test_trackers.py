"""Ended trials told to MLflow and TensorBoard: the real packages, their stores read back."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from search.common.errors import UserError
from search.common.process_id import process_id
from search.reporting.trackers import tracking
from search.reporting.trackers.event_files import EventFiles
from search.reporting.trackers.mlflow_runs import MLflowRuns
from search.reporting.trackers.tracking import Tracking, refuse_missing
from search.study.storages.opening import create_study
from tests.reporting.studies import complete, failed, pruned


def ended() -> list[FrozenTrial]:
    ranges = {"rate": FloatDistribution(0, 1)}
    trials = [
        complete(accuracy=0.99, params={"rate": 0.25}, distributions=ranges, macs=123),
        pruned(reason="median pruner at epoch 6", last=0.95),
        failed(reason="failed: no memory"),
        create_trial(state=TrialState.RUNNING),
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    return trials


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_mlflow_has_a_run_for_each_trial_once(tmp_path: Path) -> None:
    storage = str(tmp_path / "st?udy%41.db")
    create_study(storage, "cnn-search")
    said: list[str] = []
    for _ in range(2):  # a second command tells nothing again
        told = Tracking.of(["mlflow"], storage, "cnn-search", said.append)
        told.look(ended())
        told.look(ended())
    assert said == []
    client = MlflowClient(tracking_uri=f"sqlite:///{quote(storage)}.mlflow.db")
    experiment = client.get_experiment_by_name(f"{tmp_path.name}/st?udy%41")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["tags.trial"])
    assert [run.info.run_name for run in runs] == ["trial 0", "trial 1", "trial 2"]
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "FAILED"]
    first, second, third = runs
    assert first.data.params == {"rate": "0.25"}
    assert first.data.metrics["validation_accuracy"] == 0.99
    assert (first.data.metrics["macs"], first.data.metrics["parameters"]) == (123, 10_000)
    curve = client.get_metric_history(first.info.run_id, "validation_accuracy")
    assert [point.step for point in curve] == list(range(1, 21))
    assert second.data.tags["reason"] == "median pruner at epoch 6"
    assert third.data.tags["state"] == "fail"


def test_a_run_that_was_left_half_told_is_told_anew(tmp_path: Path) -> None:
    file = tmp_path / "m.db"
    first = MLflowRuns(file, "x", "of a")
    client = MlflowClient(tracking_uri=f"sqlite:///{file}")
    experiment = client.get_experiment_by_name("x")
    assert experiment is not None
    gone = process_id().replace(str(os.getpid()), "4194305")
    left = {"trial": "0", "study": "of a", "told_by": gone}
    client.create_run(experiment.experiment_id, tags=left)  # and was killed
    assert first.told == set()
    again = MLflowRuns(file, "x", "of a")
    again.tell(ended()[0])
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert MLflowRuns(file, "x", "of a").told == {0}
    first.tell(ended()[0])  # another command's, which had not seen it
    assert len(client.search_runs([experiment.experiment_id])) == 1
    assert MLflowRuns(file, "x", "another study of this name").told == set()


def test_tensorboard_has_a_folder_for_each_trial_once(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    folder = tmp_path / "study.db.tensorboard" / "cnn-search"
    (folder / "unfinished-4194305-0").mkdir(parents=True)  # of a process that is gone
    for _ in range(2):
        Tracking.of(["tensorboard"], storage, "cnn-search", print).look(ended())
    assert sorted(path.name for path in folder.iterdir()) == ["trial-0", "trial-1", "trial-2"]
    events = EventAccumulator(str(folder / "trial-0"))
    events.Reload()
    curve = events.Scalars("validation_accuracy")
    assert [point.step for point in curve] == list(range(1, 21))
    assert curve[-1].value == pytest.approx(0.99)
    assert events.Scalars("final/parameters")[0].value == 10_000
    plugins = events.PluginTagToContent("hparams")
    assert "_hparams_/session_start_info" in plugins
    assert b"rate" in plugins["_hparams_/session_start_info"]
    other = EventFiles(folder.parent, "of a/another")
    assert other.told == set()
    late = EventFiles(folder.parent, "cnn-search")
    late.tell(ended()[0])  # another command was first
    assert len(list(folder.iterdir())) == 3
    stopped = EventAccumulator(str(folder / "trial-1"))
    stopped.Reload()
    assert len(stopped.Scalars("validation_accuracy")) == 6


def test_one_that_fails_is_said_once_and_the_others_go_on(tmp_path: Path) -> None:
    class Broken:
        where, told = "nowhere", set[int]()

        def tell(self, trial: FrozenTrial) -> None:
            raise OSError(28, "No space left on device")

    said: list[str] = []
    files = EventFiles(tmp_path / "t", "x")
    both = Tracking({"mlflow": Broken(), "tensorboard": files}, said.append)
    both.look(ended()[:1])
    both.look(ended())
    assert files.told == {0, 1, 2}
    assert len(said) == 1
    assert "mlflow can no longer be written to: " in said[0]
    assert "No space left on device" in said[0]


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_without_its_package_a_line_says_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_missing([name])
    monkeypatch.setitem(tracking.PACKAGES, name, "no_such_package")
    with pytest.raises(UserError, match=r"pip install -r requirements-logging\.txt"):
        refuse_missing([name])


def test_a_server_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="Set MLFLOW_TRACKING_URI"):
        MLflowRuns(None, "x", "y")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    with pytest.raises(UserError, match="MLflow cannot be used") as error:
        MLflowRuns(None, "x", "y")
    assert "\n" not in str(error.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UserError, match="writes beside a study's file"):
        EventFiles(None, "x")
