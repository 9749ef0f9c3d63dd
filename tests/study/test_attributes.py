"""Attributes that a stranger overwrites: unusable ones read as none, and nothing raises."""

from __future__ import annotations

import copy
import io
import tempfile
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from objective import Limits
from search.common import values
from search.common.errors import UserError
from search.console.live_view import Progress, outcome, snapshot
from search.console.terminal import Terminal
from search.console.time_left import seconds_left
from search.finals import studies as finals
from search.finals import user_candidates
from search.finals.repeating import recorded
from search.reporting import records
from search.reporting.dashboard.figures import budget_use, pareto
from search.reporting.dashboard.view import how_it_ended
from search.reporting.leaderboard import summarize
from search.reporting.pages.writing import render
from search.study import attributes
from search.study.attributes import Attribute
from search.study.parents import elsewhere, orphans, parent_of
from search.study.shared import SharedStudy, count_finished
from search.study.storages.opening import RECORDED, create_study
from tests.helpers.draws import draw, gate
from tests.workers.stand_ins import Judge

KNOWN = [value for value in vars(attributes).values() if isinstance(value, Attribute)]
NAMES = sorted({attribute.name for attribute in KNOWN})
NOTHING: list[Any] = [None, "", {}, [], ()]
GARBAGE: list[Any] = [
    *(None, True, False, 0, -1, 1.5, -0.0, 10**18, -(10**18), 2**64, 10**400, 1e308, 5e-324),
    *("", "x", "../../mine", "9" * 5_000, "a:9:9.9", "a:" + "9" * 30 + ":1.0", "{", "\x1b[2J\n"),
    *(
        [],
        [1, "two", None],
        {},
        {"dataset": 7},
        {"candidate": []},
        [{"when": [], "trainings": "x"}],
    ),
]
anything = st.one_of(
    st.sampled_from(GARBAGE),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=4,
    ),
)


def made() -> optuna.Study:
    """With a trial of every state, as a search leaves it."""
    study = optuna.create_study(
        study_name="made", direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.set_user_attr("settings", {"max_params": 20_000, "epochs": 3, "dataset": {"name": "x"}})
    ends = [
        TrialState.COMPLETE,
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        None,
        None,
    ]
    for end in ends:
        trial = study.ask()
        gate(trial, draw(trial), Limits(max_params=10**6))
        trial.set_user_attr("parent", "elsewhere:1:1.0")
        for name, value in {"seed": 3, "seconds": 2.5, "epochs": 2, "device": "cpu"}.items():
            trial.set_user_attr(name, value)
        trial.report(0.9, 1)
        if end is not None:
            study.tell(trial, 0.9 if end is TrialState.COMPLETE else None, state=end)
    return study


@pytest.fixture(scope="module")
def template() -> list[FrozenTrial]:
    return made().get_trials()


def look(study: optuna.Study, trials: list[FrozenTrial]) -> None:
    """What the commands read of a study."""
    now = snapshot(trials, 10)
    assert now.finished == count_finished(trials)
    for trial in trials:
        outcome(trial), how_it_ended(trial), parent_of(trial), user_candidates.result(trial)
    left = seconds_left(trials, 10, epochs=3, workers=2)
    assert left is None or 0 <= left < float("inf")
    with Progress(Terminal(io.StringIO(), force_terminal=True), epochs=3, workers=2) as shown:
        shown.update(trials, 10)
    orphans(trials, mine=(), silent=elsewhere(trials))
    assert pareto(trials, max_params=20_000, target=0.994).to_json()
    assert budget_use(trials, max_params=20_000).to_json()
    finals.distinct(trials, 3, records.StudyLimits())
    for trial in trials:
        try:
            recorded(study, trial.number)
        except UserError:
            continue


Edits = list[tuple[int, str, Any]]
edits_of = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(NAMES), anything), max_size=6)
found_by = settings(deadline=None, suppress_health_check=list(HealthCheck))


def edited(template: list[FrozenTrial], edits: Edits) -> optuna.Study:
    study = optuna.create_study(study_name="made", direction="maximize")
    for trial in copy.deepcopy(template):
        for number, name, value in edits:
            if number == trial.number:
                trial.user_attrs[name] = value
        study.add_trial(trial)
    for _, name, value in edits:  # the study's own as well
        study.set_user_attr(name, value)
    return study


@settings(found_by, max_examples=40)
@given(edits_of)
def test_nothing_that_reads_a_study_raises(template: list[FrozenTrial], edits: Edits) -> None:
    study = edited(template, edits)
    look(study, study.get_trials())
    assert count_finished(study.get_trials()) == 3


@settings(found_by, max_examples=6)
@given(edits_of)
def test_a_search_goes_on_whatever_was_edited(template: list[FrozenTrial], edits: Edits) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "a.db")
        create_study(path, "made").set_user_attr("settings", dict.fromkeys(RECORDED, {}))
        made = create_study(path, "made")
        made.add_trials(edited(template, edits).get_trials())
        study = SharedStudy(path, "made", RandomSampler(seed=0), NopPruner())
        taken = study.take_over()
        study.dispatch(Judge(), 100, "w", lambda task: None, lambda task: None)
        for number in (4, 5):
            if study.trials()[number].state == TrialState.RUNNING:
                study.put_back(number, died_after=1)
        assert 0 <= taken <= 2
        assert count_finished(made.get_trials()) == 3, "nothing counts twice"


@settings(found_by, max_examples=5)
@given(edits_of)
def test_every_report_can_be_made(template: list[FrozenTrial], edits: Edits) -> None:
    assert render(summarize(edited(template, edits)), top=3)


@pytest.mark.parametrize("value", GARBAGE)
def test_each_attribute_reads_as_itself_or_as_nothing(value: object) -> None:
    for attribute in KNOWN:
        assert attribute.kind(None) in NOTHING
        read = attribute.kind(value)
        assert read in NOTHING or read == value or isinstance(read, str | tuple)


def test_counts_are_exact_up_to_the_largest() -> None:
    for count in (2**53 + 1, 10**18 + 1, values.LARGEST):
        assert values.positive(count) == count
    assert values.positive(values.LARGEST + 1) is None
    assert values.positive(3.0) == 3
