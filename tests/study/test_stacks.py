"""Handing out seeds of one candidate that are trained as one network."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from search.study.attributes import CANDIDATE, SEED_OF
from search.study.judge import Task
from search.study.shared import SharedStudy
from search.study.storages.server_retry import LockLost
from tests.helpers.shared_study import Judge, new_study, queue, trials


@pytest.fixture
def path(tmp_path: Path) -> str:
    return new_study(tmp_path)


class RacingJudge(Judge):
    """Knows another seed of a candidate, as the objective does, and what waits."""

    def propose(self, trial: optuna.Trial) -> Task:
        task = super().propose(trial)
        CANDIDATE.set(trial, task.candidate)
        complete = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        first = next((one for one in complete if one.params == trial.params), None)
        if first is not None:
            SEED_OF.set(trial, first.number)
        return task


class OneOf(RandomSampler):
    """Draws one value; counts how often it is asked."""

    def __init__(self, value: float) -> None:
        super().__init__(seed=0)
        self.value, self.asked = value, 0

    def sample_independent(self, *given: object, **more: object) -> float:
        self.asked += 1
        return self.value


def together(study: SharedStudy, total: int = 100, stack: int = 3) -> list[int]:
    """Numbers of the trials that are given at once."""
    given: list[Task] = []
    judge = RacingJudge()
    study.dispatch(judge, total, "w", given.extend, lambda task: None, stack=stack)
    assert len({task.candidate for task in given}) <= 1
    return [task.number for task in given]


def test_another_seed_of_a_candidate_is_drawn_as_often_as_fits_into_a_stack(
    path: str,
) -> None:
    draws = OneOf(0.25)
    study = SharedStudy(path, "s", draws, optuna.pruners.NopPruner())
    assert together(study) == [0], "it is no other seed of any"
    study.complete(0, 0.5)
    assert together(study) == [1, 2, 3]
    assert [trial.params["x"] for trial in trials(path)] == [0.25] * 4
    assert {trial.state for trial in trials(path)[1:]} == {TrialState.RUNNING}
    draws.value = 0.5
    assert together(study) == [4]
    draws.value = 0.25
    assert together(study, total=7) == [5, 6], "no more than are wanted"
    assert together(study, total=7) == []
    assert draws.asked == 4, "the rest of a stack is queued, not drawn"


def test_what_was_cut_or_queued_together_is_given_together_and_nothing_is_added(
    path: str,
) -> None:
    study = SharedStudy(path, "s", RandomSampler(seed=0), optuna.pruners.NopPruner())
    for x in (0.25, 0.25, 0.5, 0.25):
        queue(path, x)
    numbers = [together(study) for _ in range(4)]
    assert numbers == [[0], [1], [2], [3]], "what they will be is not known yet"
    for number in range(4):
        study.put_back(number)
    assert together(study) == [0, 1]
    study.complete(0, 0.5)
    assert together(study) == [2]
    assert together(study) == [3], "it waited: it is no race's draw"
    assert len(trials(path)) == 4


def test_a_stack_that_is_cut_while_it_is_made_is_put_back(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SharedStudy(path, "s", OneOf(0.25), optuna.pruners.NopPruner())
    together(study)
    study.complete(0, 0.5)
    whole = study.study.enqueue_trial

    def second(*given: object, **more: object) -> None:
        whole(*given, **more)  # type: ignore[arg-type]
        monkeypatch.setattr(study.study, "enqueue_trial", lost)

    def lost(*given: object, **more: object) -> None:
        raise LockLost

    monkeypatch.setattr(study.study, "enqueue_trial", second)
    assert together(study) == []
    assert study.take_over() >= 1
    assert {trial.state for trial in trials(path)[1:]} == {TrialState.WAITING}
    found = together(study)
    assert found == [trial.number for trial in trials(path)[1:]]
    assert len(found) == 2
