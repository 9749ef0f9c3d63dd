"""Handing out trials: exact totals, nothing twice, cut trials queued again."""

from __future__ import annotations

import os
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from search.engine.claims import (
    CUTS,
    Decision,
    claim,
    close,
    first_number,
    release_dead,
    trailing_failures,
)
from search.engine.owners import machine_name, owner_name, process_number
from search.engine.sampling import make_sampler

DEAD = f"{machine_name()}:1:1.0"
PAST: frozenset[int] = frozenset()


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))


def start(study: optuna.Study, total: int = 100, owner: str | None = None) -> optuna.Trial:
    decision, trial = claim(study, total, owner or owner_name(), PAST)
    assert decision is Decision.TRIAL
    assert trial is not None
    trial.suggest_float("x", 0, 1)
    return trial


def fail(study: optuna.Study, *, retry: bool = False) -> None:
    close(study, start(study)._trial_id, reason="failed: why", retry=retry)


def test_the_total_counts_finished_and_running_trials(study: optuna.Study) -> None:
    first, second = start(study, total=2), start(study, total=2)
    assert claim(study, 2, "x", PAST) == (Decision.WAIT, None)
    study.tell(first, 0.5)
    assert claim(study, 2, "x", PAST) == (Decision.WAIT, None)
    study.tell(second, state=TrialState.PRUNED)
    assert claim(study, 2, "x", PAST) == (Decision.ENOUGH, None)
    start(study, total=3)


def test_a_failed_trial_does_not_count(study: optuna.Study) -> None:
    fail(study)
    study.tell(start(study, total=1), 0.5)
    assert claim(study, 1, "x", PAST) == (Decision.ENOUGH, None)


def test_five_failures_in_a_row_end_the_run(study: optuna.Study) -> None:
    fail(study)
    study.tell(start(study), 0.5)
    for _ in range(5):
        assert claim(study, 0, "x", PAST)[0] is not Decision.FAILING
        fail(study)
    assert claim(study, 100, "x", PAST) == (Decision.FAILING, None)
    assert len(trailing_failures(study.trials, PAST)) == 5
    assert claim(study, 100, "x", range(len(study.trials)))[0] is Decision.TRIAL, (
        "of an earlier run"
    )


def test_cut_trials_do_not_end_the_run(study: optuna.Study) -> None:
    for _ in range(7):
        fail(study, retry=True)
    assert claim(study, 100, "x", PAST)[0] is Decision.TRIAL


def test_a_cut_trial_is_queued_with_its_candidate_and_first_number(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.25}, user_attrs={"label": "simplest candidate"})
    trial = start(study)
    close(study, trial._trial_id, reason="interrupted", retry=True)
    again = start(study)
    close(study, again._trial_id, reason="interrupted", retry=True)
    third = start(study)
    assert trial.params == again.params == third.params == {"x": 0.25}
    assert third.user_attrs["retry_of"] == trial.number == 0
    assert third.user_attrs["label"] == "simplest candidate"
    assert study.trials[0].user_attrs["reason"] == "interrupted"


def test_a_trial_cut_before_it_drew_anything_keeps_its_queued_parameters(
    study: optuna.Study,
) -> None:
    study.enqueue_trial({"x": 0.75})
    _, trial = claim(study, 9, "x", PAST)
    assert trial is not None
    close(study, trial._trial_id, reason="interrupted", retry=True)
    assert start(study).params == {"x": 0.75}


def test_only_trials_of_dead_processes_are_released(study: optuna.Study) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from search.engine.owners import owner_name as n; print(n())"],
        stdout=subprocess.PIPE,
        text=True,
    )
    name, _ = process.communicate(timeout=30)
    dead = start(study, owner=name.strip())
    living = start(study)
    elsewhere = start(study, owner="some-other-host:1:1.0")
    host, number, _ = owner_name().rsplit(":", 2)
    number_reused = start(study, owner=f"{host}:{os.getpid()}:1.0")
    assert int(number) == os.getpid()
    assert release_dead(study) == [dead.number, number_reused.number]
    states = [trial.state for trial in study.trials]
    assert states[living.number] == states[elsewhere.number] == TrialState.RUNNING
    assert states.count(TrialState.WAITING) == 2


def test_workers_elsewhere_are_dead_when_who_placed_them_says_so(study: optuna.Study) -> None:
    """Their trials are queued at once, not only after minutes of silence."""
    owners = [f"node-{number}:1:1.0" for number in range(3)]
    trials = [start(study, owner=owner) for owner in owners]
    assert release_dead(study) == []
    assert release_dead(study, alone=[1]) == [], "a process number counts on this machine alone"
    assert release_dead(study, gone=[owners[0]]) == [trials[0].number]
    assert release_dead(study, alone=[owners[1]]) == [trials[1].number]
    assert study.trials[trials[2].number].state == TrialState.RUNNING
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.user_attrs["cuts"] for trial in waiting] == [0, 1]


def test_a_queue_is_worked_off_and_nothing_is_drawn(study: optuna.Study) -> None:
    def ask() -> tuple[Decision, optuna.Trial | None]:
        return claim(study, 9, owner_name(), PAST, queue_only=True)

    study.enqueue_trial({}, user_attrs={"handed_in": "{}", "label": "mine"})
    decision, trial = ask()
    assert decision is Decision.TRIAL
    assert trial is not None
    assert ask() == (Decision.WAIT, None)  # that one may be cut yet
    close(study, trial._trial_id, reason="its worker died", retry=True)
    decision, again = ask()
    assert again is not None
    assert again.user_attrs["handed_in"] == "{}"
    assert again.user_attrs["label"] == "mine"
    study.tell(again, 0.5)
    assert ask() == (Decision.ENOUGH, None)
    assert len(study.trials) == 2


def test_a_kill_between_queueing_and_failing_queues_nothing_twice(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order matters: a kill after failing and before queueing would lose the candidate."""
    trial = start(study, owner=DEAD)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(study, "tell", _killed)
        release_dead(study)
    assert study.trials[trial.number].state == TrialState.RUNNING
    assert release_dead(study) == [trial.number]
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [t.user_attrs["retries"] for t in waiting] == [trial.number]
    assert start(study).params == trial.params


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_trial_whose_worker_dies_again_and_again_is_given_up(study: optuna.Study) -> None:
    """Also when an attempt is cut before it has reported what its checkpoint holds."""
    for attempt in range(CUTS):
        trial = start(study, owner=DEAD)
        if attempt % 2 == 0:
            trial.report(0.5, 1)
        release_dead(study, alone=[process_number(DEAD)])
        cut = study.trials[-2] if attempt < CUTS - 1 else study.trials[-1]
        assert cut.user_attrs.get("retried", False) == (attempt < CUTS - 1)
    assert "its worker died 8 times" in study.trials[-1].user_attrs["reason"]
    assert study.get_trials(states=(TrialState.WAITING,)) == []


def test_a_trial_that_is_cut_with_everything_else_is_never_given_up(study: optuna.Study) -> None:
    for _ in range(3 * CUTS):
        start(study, owner=DEAD)
        release_dead(study)
        close(study, start(study)._trial_id, reason="interrupted", retry=True)
    assert all(trial.user_attrs["retried"] for trial in study.trials[:-1])
    assert study.trials[-1].state == TrialState.WAITING


def test_attributes_that_someone_edits_are_not_believed(study: optuna.Study) -> None:
    trial = start(study, owner=DEAD)
    for name in ("retry_of", "cuts", "reached_before"):
        trial.set_user_attr(name, "../../mine")
    assert first_number(trial) == trial.number
    assert release_dead(study) == [trial.number]
    assert start(study).user_attrs["retry_of"] == trial.number


def test_what_a_cut_trial_had_not_drawn_is_drawn_the_same_again() -> None:
    study = optuna.create_study(sampler=make_sampler("random", 3))
    drawn = []
    for retry in (True, False):
        _, trial = claim(study, 9, DEAD, PAST)
        assert trial is not None
        drawn.append([trial.suggest_float(name, 0, 1) for name in "xy"])
        if retry:
            trial = study.ask()  # another one meanwhile
            release_dead(study)
    assert drawn[0] == drawn[1]
