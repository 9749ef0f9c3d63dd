"""Handing out trials: exact totals, nothing twice, a cut trial goes on under its number."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.study.judge import Task
from search.study.sampling.choice import make_sampler
from search.study.shared import MOST_DEATHS, Answer, SharedStudy
from search.study.storages.opening import create_study
from tests.helpers.shared_study import Judge, new_study, queue, trials


@pytest.fixture
def path(tmp_path: Path) -> str:
    return new_study(tmp_path)


def opened(path: str) -> SharedStudy:
    return SharedStudy(path, "s", RandomSampler(seed=0), optuna.pruners.NopPruner())


@pytest.fixture
def study(path: str) -> SharedStudy:
    return opened(path)


def ask(
    study: SharedStudy,
    total: int = 100,
    give: Callable[[Task], None] = lambda task: None,
    *,
    queue_only: bool = False,
) -> tuple[Answer, Task | None]:
    given: list[Task] = []

    def both(tasks: Sequence[Task]) -> None:
        given.extend(tasks)
        for task in tasks:
            give(task)

    answer = study.dispatch(Judge(), total, "w", both, lambda task: None, queue_only=queue_only)
    return answer, given[0] if given else None


def start(study: SharedStudy, total: int = 100) -> Task:
    answer, task = ask(study, total)
    assert answer is Answer.GIVEN
    assert task is not None
    return task


def test_the_total_counts_finished_and_running_trials(study: SharedStudy) -> None:
    first, second = start(study, 2), start(study, 2)
    assert ask(study, 2) == (Answer.WAIT, None)
    study.complete(first.number, 0.5)
    assert ask(study, 2) == (Answer.WAIT, None)
    study.prune(second.number)
    assert ask(study, 2) == (Answer.ENOUGH, None)
    start(study, 3)


def test_a_failed_trial_does_not_count(study: SharedStudy) -> None:
    study.fail(start(study).number, "failed: why")
    study.complete(start(study, 1).number, 0.5)
    assert ask(study, 1) == (Answer.ENOUGH, None)


def test_five_failures_in_a_row_end_the_run(path: str, study: SharedStudy) -> None:
    study.fail(start(study).number, "failed: why")
    study.complete(start(study).number, 0.5)
    for _ in range(5):
        assert len(study.failures()) < 5
        study.fail(start(study).number, "failed: why")
    assert ask(study) == (Answer.FAILING, None)
    assert ask(opened(path))[0] is Answer.GIVEN, "those are of an earlier run"


def test_what_was_over_a_limit_is_no_success_among_failures(path: str, study: SharedStudy) -> None:
    for _ in range(4):
        study.fail(start(study).number, "failed: why")
    queue(path, label="large")
    assert ask(study) == (Answer.AGAIN, None)
    study.fail(start(study).number, "failed: why")
    assert ask(study) == (Answer.FAILING, None)


def test_what_is_not_to_be_trained_leaves_nobody_waiting(path: str, study: SharedStudy) -> None:
    queue(path, label="large")
    queue(path, label="bad")
    assert ask(study) == (Answer.AGAIN, None)
    assert ask(study) == (Answer.AGAIN, None)
    pruned, failed = trials(path)
    assert (pruned.state, failed.state) == (TrialState.PRUNED, TrialState.FAIL)
    assert failed.user_attrs["reason"] == "failed: no such candidate"
    assert "ValueError" in failed.user_attrs["traceback"]


def test_a_trial_is_in_the_file_as_a_whole_once_it_is_given(path: str, study: SharedStudy) -> None:
    start(study)
    (trial,) = trials(path)
    assert trial.state == TrialState.RUNNING
    assert trial.params.keys() == {"x"}
    assert trial.user_attrs["worker"] == "w"


def test_a_cut_trial_goes_on_under_its_number(path: str, study: SharedStudy) -> None:
    queue(path)
    task = start(study)
    study.trial(task.number).report(0.5, 1)
    for _ in range(3):
        assert study.put_back(task.number)
        assert trials(path)[0].state == TrialState.WAITING
        again = start(study)
        assert again == task
    study.trial(task.number).report(0.6, 2)
    study.complete(task.number, 0.6)
    (trial,) = trials(path)
    assert trial.intermediate_values == {1: 0.5, 2: 0.6}
    assert trial.params == {"x": 0.25}
    assert trial.user_attrs["label"] == "mine"


def test_a_cut_trial_is_taken_before_a_new_one_is_drawn(path: str, study: SharedStudy) -> None:
    first, second = start(study), start(study)
    study.put_back(first.number)
    assert start(study) == first
    assert start(study).number == second.number + 1


def test_two_commands_share_exactly(path: str, study: SharedStudy) -> None:
    queue(path)
    other = opened(path)
    given = [start(study, 4), start(other, 4), start(study, 4), start(other, 4)]
    assert [task.number for task in given] == [0, 1, 2, 3]
    assert ask(study, 4)[0] is ask(other, 4)[0] is Answer.WAIT
    for at, task in enumerate(given):
        (study, other)[at % 2].complete(task.number, 0.5)
    assert ask(study, 4)[0] is ask(other, 4)[0] is Answer.ENOUGH
    assert [trial.state for trial in trials(path)] == [TrialState.COMPLETE] * 4


def test_a_queue_is_worked_off_and_nothing_is_drawn(path: str, study: SharedStudy) -> None:
    queue(path)
    answer, task = ask(study, 9, queue_only=True)
    assert (answer, task and json.loads(task.candidate)) == (Answer.GIVEN, {"x": 0.25})
    assert task is not None
    assert ask(study, 9, queue_only=True) == (Answer.WAIT, None)  # that one may be cut yet
    study.put_back(task.number)
    assert ask(study, 9, queue_only=True) == (Answer.GIVEN, task)
    study.complete(task.number, 0.5)
    assert ask(study, 9, queue_only=True) == (Answer.ENOUGH, None)


def test_what_a_command_left_that_is_gone_is_put_back(path: str) -> None:
    task = start(opened(path))  # of this very process, but forgotten
    create_study(path, "s").ask()  # cut before it was marked
    next_one = opened(path)
    assert next_one.take_over() == 2
    assert [trial.state for trial in trials(path)] == [TrialState.WAITING] * 2
    assert start(next_one) == task
    assert next_one.take_over() == 0


def test_a_kill_while_it_is_given_loses_nothing(path: str, study: SharedStudy) -> None:
    """The worker has it already, the file does not: the next one has its number and draws."""

    def die(task: Task) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(study, give=die)
    assert trials(path) == []
    assert start(opened(path)).number == 0


def test_a_trial_that_someone_makes_meanwhile_without_the_lock_stays_his(
    path: str, study: SharedStudy
) -> None:
    taken: list[Task] = []
    answer = study.dispatch(Judge(), 9, "w", lambda tasks: queue(path), taken.append)
    assert (answer, [task.number for task in taken]) == (Answer.AGAIN, [0])
    his, ours = trials(path)
    assert (his.state, his.user_attrs["label"]) == (TrialState.WAITING, "mine")
    assert ours.state == TrialState.FAIL
    assert start(study).candidate == '{"x": 0.25}'


def test_a_trial_whose_worker_dies_again_and_again_is_given_up(
    path: str, study: SharedStudy
) -> None:
    """Also when an attempt is cut before it has told what its state holds."""
    for _ in range(MOST_DEATHS - 1):
        assert study.put_back(start(study).number, died_after=1)
    assert study.put_back(start(study).number, died_after=2), "an epoch more: it begins anew"
    for attempt in range(2, MOST_DEATHS):
        assert study.put_back(start(study).number, died_after=attempt % 3)
    assert not study.put_back(start(study).number, died_after=2)
    (trial,) = trials(path)
    assert trial.state == TrialState.FAIL
    assert "its worker died 8 times" in trial.user_attrs["reason"]


def test_a_trial_that_is_cut_with_everything_else_is_never_given_up(
    path: str, study: SharedStudy
) -> None:
    for _ in range(3 * MOST_DEATHS):
        assert study.put_back(start(study).number)
    assert [trial.state for trial in trials(path)] == [TrialState.WAITING]


def test_what_someone_has_ended_stays_so(path: str, study: SharedStudy) -> None:
    task = start(study)
    create_study(path, "s").tell(task.number, 0.75)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study.trial(task.number).report(0.5, 1)
    assert study.was_ended(task.number)
    assert study.trials()[0].value == 0.75
    assert ask(study, 1) == (Answer.ENOUGH, None)


def test_what_a_cut_trial_had_not_drawn_is_drawn_the_same_again(path: str) -> None:
    drawn = []
    for _ in range(2):
        study = SharedStudy(path, "s", make_sampler("random", 3), optuna.pruners.NopPruner())
        study.take_over()
        drawn.append(start(study).candidate)
    assert drawn[0] == drawn[1]
