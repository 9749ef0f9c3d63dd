"""A worker's reads and writes on a server: fewer than Optuna's, and with the same result."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from search.engine.frugal import FrugalStorage, frugal, reading_once, together
from search.engine.servers import PatientStorage
from search.engine.storage import connect, create_study

COMPLETE = (TrialState.COMPLETE,)


@pytest.fixture
def others(database: str) -> optuna.Study:
    """The study as all others use it."""
    return create_study(database, "s")


@pytest.fixture
def mine(database: str, others: optuna.Study) -> optuna.Study:
    """The study as a worker uses it."""
    return optuna.load_study(study_name="s", storage=frugal(connect(database)))


@pytest.fixture
def statements(mine: optuna.Study) -> Iterator[list[str]]:
    """What the worker sends to the server."""
    storage = mine._storage
    assert isinstance(storage, FrugalStorage)
    backend = storage._backend
    assert isinstance(backend, PatientStorage)
    sent: list[str] = []

    def note(_c: object, _u: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sqlalchemy.event.listen(backend.engine, "before_cursor_execute", note)
    yield sent


def seen(study: optuna.Study) -> list[tuple[int, float | None]]:
    found: list[FrozenTrial] = study.get_trials(deepcopy=False, states=COMPLETE)
    return [(trial.number, trial.value) for trial in found]


def test_complete_trials_are_seen_and_running_ones_cost_nothing(
    mine: optuna.Study,
    others: optuna.Study,
    statements: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.engine.frugal.RECENT_SECONDS", 0)
    trials = [others.ask() for _ in range(6)]
    for trial in trials:
        trial.suggest_float("x", 0, 1)
    assert seen(mine) == []
    for at in (4, 1):
        others.tell(trials[at], at / 10)
        late = others.ask()
        assert seen(mine) == sorted([(4, 0.4), *([(1, 0.1)] if at == 1 else [])])
        trials.append(late)
    statements.clear()
    assert len(seen(mine)) == 2
    assert len(statements) == 1, statements
    whole = mine.get_trials(deepcopy=False)
    assert [t.number for t in whole] == list(range(8))
    assert [t.state for t in whole] == [t.state for t in others.trials]
    assert whole[0].params == trials[0].params
    for trial in trials:
        if trial.number not in (1, 4):
            others.tell(trial, 0.5)
    assert len(seen(mine)) == 8
    assert [t.value for t in mine.trials] == [t.value for t in others.trials]


def test_looks_of_the_pruner_soon_after_each_other_are_one_read(
    mine: optuna.Study,
    others: optuna.Study,
    statements: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert seen(mine) == []
    others.tell(others.ask(), 0.5)
    statements.clear()
    assert seen(mine) == []
    assert statements == []
    monkeypatch.setattr("search.engine.frugal.RECENT_SECONDS", 0)
    assert seen(mine) == [(0, 0.5)]


def test_looks_at_the_same_moment_are_one_read(
    mine: optuna.Study, others: optuna.Study, statements: list[str]
) -> None:
    others.enqueue_trial({})
    with reading_once(mine):
        assert len(mine.get_trials(deepcopy=False)) == 1
        statements.clear()
        others.enqueue_trial({})
        assert len(mine.get_trials(deepcopy=False)) == 1
        assert seen(mine) == []
        assert statements == []
    assert len(mine.get_trials(deepcopy=False)) == 2


def test_a_candidate_is_drawn_from_what_was_read_when_its_trial_was_started(
    mine: optuna.Study, others: optuna.Study, statements: list[str]
) -> None:
    mine.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=1)
    for value in (0.1, 0.2):
        trial = others.ask()
        trial.suggest_float("x", 0, 1)
        others.tell(trial, value)
    with reading_once(mine):
        mine.get_trials(deepcopy=False)
        trial = mine.ask()
    statements.clear()
    with together(trial):
        trial.suggest_float("x", 0, 1)
        assert [one for one in statements if "FROM trials" in one] == []
    assert trial.params["x"] == others.trials[2].params["x"]


def test_a_start_sees_who_runs_what_waits_and_what_has_finished(
    mine: optuna.Study, others: optuna.Study
) -> None:
    for trial in [others.ask() for _ in range(3)]:
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr("worker", "someone")
    others.tell(1, 0.25)
    others.enqueue_trial({"x": 0.125}, user_attrs={"label": "mine"})
    with reading_once(mine):
        trials = mine.get_trials(deepcopy=False)
        assert [trial.state.name for trial in trials] == [
            *("RUNNING", "COMPLETE", "RUNNING", "WAITING")
        ]
        assert trials[1] == others.trials[1]
        assert trials[3] == others.trials[3]
        assert trials[0].params == {}
        assert mine.ask().user_attrs == {"label": "mine"}
    assert mine.trials == others.trials


def test_what_is_written_together_is_there_at_the_end_even_of_a_pruned_trial(
    mine: optuna.Study, others: optuna.Study, statements: list[str]
) -> None:
    trial = mine.ask()
    statements.clear()
    with pytest.raises(optuna.TrialPruned), together(trial):
        drawn = trial.suggest_float("x", 0, 1)
        trial.suggest_int("n", 1, 9, log=True)
        trial.set_user_attr("reason", "too large")
        trial.set_constraint("size", 0.5)
        assert others.trials[0].params == {}
        raise optuna.TrialPruned
    writes = [statement for statement in statements if statement.startswith("INSERT")]
    assert len(writes) == 3, writes  # parameters, user and system attributes
    written = others.trials[0]
    assert written.params == trial.params
    assert written.params["x"] == drawn
    assert written.user_attrs["reason"] == "too large"
    assert written.system_attrs == {"constraints:size": 0.5}
    with pytest.raises(ValueError, match="incompatible|inconsistent|distribution"):
        second = mine.ask()
        with together(second):
            second.suggest_categorical("x", ["a"])


def test_a_trial_that_someone_ended_takes_no_more(mine: optuna.Study, others: optuna.Study) -> None:
    trial = mine.ask()
    others.tell(0, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError), together(trial):
        trial.set_user_attr("late", True)
    assert others.trials[0].user_attrs == {}
