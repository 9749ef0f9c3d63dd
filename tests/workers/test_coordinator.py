"""One process owns the study: what it hands out, what it makes of ends, deaths and signals."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.console.terminal import Terminal
from search.data.dataset import DataSource
from search.study.storages.opening import RECORDED, create_study
from search.study.trial_files import TrialFiles
from search.workers.coordinator import coordinate
from search.workers.local import LocalWorkers
from search.workers.messages import Event, MakeTraining
from search.workers.stopping import Stopping
from tests.helpers.no_data import job_without_data
from tests.workers.stand_ins import Deadly, DeadlyOnce, Judge, Make, Training, broken

pytestmark = pytest.mark.processes


@pytest.fixture
def path(tmp_path: Path) -> str:
    study = create_study(str(tmp_path / "a.db"), "s")
    study.set_user_attr("settings", dict.fromkeys(RECORDED, {}))
    return str(tmp_path / "a.db")


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    folder = tmp_path / "begun"
    folder.mkdir()
    return folder


def run(path: str, make: MakeTraining, trials: int = 3, workers: int = 2, **more: Any) -> int:
    folder = Path(path).parent
    job = job_without_data(
        path,
        more.pop("judge", Judge()),
        make,
        trials=trials,
        checkpoints=folder / "states",
        weights=folder / "weights",
        **more,
    )
    return coordinate(job, workers, Terminal(quiet=True), start=LocalWorkers)


def found(path: str) -> list[FrozenTrial]:
    return create_study(path, "s").get_trials()


def test_trials_are_trained_to_the_end_and_leave_their_weights(path: str, begun: Path) -> None:
    assert run(path, Make(Training, begun), trials=5) == 0
    trials = found(path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    for trial in trials:
        assert trial.intermediate_values == {1: 0.01, 2: 0.02, 3: 0.03}
        assert trial.user_attrs["epochs"] == 3
        assert trial.user_attrs["device"] == "none"
        weights = TrialFiles(Path(path).parent / "weights", "s").read(trial.number)
        assert weights == b"weights"
    assert not (Path(path).parent / "states").exists()


def test_what_is_over_budget_never_reaches_a_worker(path: str, begun: Path) -> None:
    assert run(path, Make(Training, begun), trials=12, judge=Judge(most=0.5)) == 0
    trials = found(path)
    trained = {trial.number for trial in trials if trial.state == TrialState.COMPLETE}
    assert 0 < len(trained) < 12
    assert {int(file.stem) for file in begun.iterdir()} == trained


def test_a_dead_workers_trial_goes_on_from_its_last_epoch(path: str, begun: Path) -> None:
    assert run(path, Make(DeadlyOnce, begun), trials=2, workers=1) == 0
    assert [file.read_text() for file in sorted(begun.iterdir())] == ["0\n1\n"] * 2
    for trial in found(path):
        assert trial.intermediate_values == {1: 0.01, 2: 0.02, 3: 0.03}
        assert trial.user_attrs["resumed_after_epoch"] == 1
        assert trial.user_attrs["worker_deaths"] == {"count": 1, "after_epoch": 1}


def test_a_candidate_that_kills_its_worker_again_and_again_is_failed(
    path: str, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.study.shared.MOST_DEATHS", 3)
    monkeypatch.setattr("search.study.shared.FAILURES_IN_A_ROW", 1)
    monkeypatch.setattr("search.workers.coordinator.FAILURES_IN_A_ROW", 1)
    assert run(path, Make(Deadly, begun), trials=1, workers=1) == 1
    trials = found(path)
    assert [trial.state for trial in trials][:1] == [TrialState.FAIL]
    assert "its worker died 3 times" in trials[0].user_attrs["reason"]
    assert begun.joinpath("0.txt").read_text().count("\n") == 3


def test_workers_that_cannot_begin_end_the_run(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(path, broken) == 1
    assert "ImportError: no such module" in capsys.readouterr().err
    assert found(path) == []


def _dies(worker: int, source: DataSource) -> Training:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_workers_that_die_again_and_again_are_not_replaced_for_ever(
    path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.workers.coordinator.DEATHS_IN_A_ROW", 3)
    assert run(path, _dies, workers=1) == 1
    err = capsys.readouterr().err
    assert "workers died 3 times with no epoch finished in between" in err
    assert "by SIGKILL (the system may be out of memory" in err


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.COMPLETE])
def test_a_trial_that_someone_else_ends_stays_as_he_left_it(
    path: str, begun: Path, state: TrialState
) -> None:
    def end() -> None:
        study = create_study(path, "s")
        while not (trials := study.get_trials()) or not trials[0].intermediate_values:
            time.sleep(0.05)
        study.tell(0, 0.25 if state == TrialState.COMPLETE else None, state=state)

    thread = threading.Thread(target=end)
    thread.start()
    assert run(path, Make(Training, begun, 4, 1.0), trials=1, workers=1) == 0
    thread.join()
    first = found(path)[0]
    assert (first.state, first.value) == (state, 0.25 if state == TrialState.COMPLETE else None)
    assert len(first.intermediate_values) < 4
    assert len(found(path)) == (1 if state == TrialState.COMPLETE else 2)
    assert not (Path(path).parent / "states").exists()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_puts_back_what_is_trained_and_the_next_run_goes_on(
    path: str, begun: Path, name: str
) -> None:
    number = getattr(signal, name)

    def interrupt() -> None:
        study = create_study(path, "s")
        while sum(bool(t.intermediate_values) for t in study.get_trials()) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run(path, Make(Training, begun, 6, 0.4), trials=3) == 128 + number
    thread.join()
    cut = found(path)
    assert [trial.state for trial in cut] == [TrialState.WAITING] * 2
    assert run(path, Make(Training, begun, 6), trials=3) == 0
    trials = found(path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert all(sorted(trial.intermediate_values) == [1, 2, 3, 4, 5, 6] for trial in trials)
    for trial in cut:
        assert trials[trial.number].params == trial.params
        first, then = begun.joinpath(f"{trial.number}.txt").read_text().split()
        assert (int(first), int(then)) == (0, max(trial.intermediate_values))


def test_when_the_time_is_over_what_is_trained_is_put_back_and_goes_on_next_time(
    path: str, begun: Path
) -> None:
    class OnceTwoAreTrained(Stopping):
        @property
        def seconds_left(self) -> float:
            return float(sum(bool(t.intermediate_values) for t in found(path)) < 2)

    limit = OnceTwoAreTrained(hours=1)
    assert run(path, Make(Training, begun, 60, 0.1), trials=3, stopping=limit) == 0
    assert limit.reason == "the time limit of 60 min was reached"
    cut = found(path)
    assert [trial.state for trial in cut] == [TrialState.WAITING] * 2
    assert run(path, Make(Training, begun, 60), trials=3, stopping=Stopping(hours=1)) == 0
    assert [trial.state for trial in found(path)] == [TrialState.COMPLETE] * 3
    for trial in cut:
        _, then = begun.joinpath(f"{trial.number}.txt").read_text().split()
        assert int(then) == max(trial.intermediate_values)


def test_a_search_that_stalls_ends_its_running_trials_and_begins_no_more(
    path: str, begun: Path
) -> None:
    stall = Stopping(stall=4)  # none of these is a valid architecture
    assert run(path, Make(Training, begun), trials=50, stopping=stall) == 0
    states = [trial.state for trial in found(path)]
    assert states in ([TrialState.COMPLETE] * 4, [TrialState.COMPLETE] * 5)
    assert run(path, Make(Training, begun), trials=50, stopping=Stopping(stall=4)) == 0
    assert [trial.state for trial in found(path)] == states


class NoWorkers:
    """Workers that never have anything to tell; remembers who would hear a signal meanwhile."""

    def __init__(self, make: MakeTraining, source: DataSource, count: int) -> None:
        self.heard = {name: signal.getsignal(name) for name in (signal.SIGHUP, signal.SIGTERM)}

    def give(self, worker: int, tasks: object) -> None: ...

    def stop(self, worker: int, number: int) -> None: ...

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        os.kill(os.getpid(), signal.SIGINT)
        return []

    def notices(self) -> list[str]:
        return []

    def close(self) -> None: ...


def test_nohup_is_respected_and_signals_are_handed_back(path: str, begun: Path) -> None:
    pools: list[NoWorkers] = []

    def start(make: MakeTraining, source: DataSource, count: int) -> NoWorkers:
        pools.append(NoWorkers(make, source, count))
        return pools[-1]

    job = job_without_data(path, Judge(), Make(Training, begun), trials=1)
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(name) for name in names]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert coordinate(job, 1, Terminal(quiet=True), start=start) == 130
    finally:
        signal.signal(signal.SIGHUP, before[2])
    assert coordinate(job, 1, Terminal(quiet=True), start=start) == 130
    assert [signal.getsignal(name) for name in names] == before
    ignoring, heeding = (pool.heard for pool in pools)
    assert ignoring[signal.SIGHUP] is signal.SIG_IGN
    assert callable(ignoring[signal.SIGTERM])
    assert callable(heeding[signal.SIGHUP])


class _Fails(Training):
    def __call__(self, tasks: object, tell: object, stops: object) -> None:
        raise RuntimeError("\x1b[2J\nx")


def test_failures_in_a_row_end_the_run_and_the_last_is_printed_without_its_commands(
    path: str, begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(path, Make(_Fails, begun), trials=9, workers=1) == 1
    err = capsys.readouterr().err
    assert "error: 5 trials failed in a row, the last: failed: [2J x" in err
    assert "\nTraceback" in err
    assert "\x1b" not in err
    assert [trial.state for trial in found(path)] == [TrialState.FAIL] * 5


def test_a_finished_study_is_left_alone(path: str, begun: Path) -> None:
    study = create_study(path, "s")
    study.tell(study.ask(), 0.5)
    assert run(path, Make(Training, begun), trials=1) == 0
    assert list(begun.iterdir()) == []


@pytest.mark.parametrize(
    ("again", "said"), [(False, "was deleted or renamed"), (True, "was replaced")]
)
def test_a_study_that_is_deleted_meanwhile_is_said(
    path: str, begun: Path, again: bool, said: str
) -> None:
    def delete() -> None:
        study = create_study(path, "s")
        while not study.get_trials():
            time.sleep(0.05)
        optuna.delete_study(study_name="s", storage=study.storage)
        if again:
            optuna.create_study(study_name="other", storage=study.storage)  # takes its number
            optuna.create_study(study_name="s", storage=study.storage)

    thread = threading.Thread(target=delete)
    thread.start()
    from search.common.errors import UserError

    with pytest.raises(UserError, match=said):
        run(path, Make(Training, begun, 9, 0.5), trials=3)
    thread.join()
