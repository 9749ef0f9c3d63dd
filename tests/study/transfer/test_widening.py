"""A study goes on with those of its trials that a changed space has too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from search.architecture.spaces import Space
from search.common.errors import UserError
from search.common.process_id import process_id
from search.study import attributes, parents
from search.study.companions import kept_of
from search.study.recording import record_candidate
from search.study.storages.opening import create_study
from search.study.storages.stored import StoredStudy
from search.study.transfer import widening
from search.study.transfer.widening import recover, refuse_shared, rewrite, widen, with_digests
from tests.study.transfer.spaces import FIRST, space_of

SETTINGS = {"max_params": 1, "epochs": 1, "seed": 0, "dataset": {}, "space": {"x": "then"}}
NOW = {**SETTINGS, "space": {"x": "now"}}
NEW = {"settings": NOW, "continued_with_other_settings": [["x"]]}


def searched(path: Path, space: Space, count: int = 8) -> StoredStudy:
    """A study of trials that a space drew: complete, pruned, one that waits to go on."""
    study = create_study(str(path), "s")
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    attributes.SETTINGS.set(study, SETTINGS)
    for number in range(count):
        trial = study.ask()
        candidate = space.suggest(trial)
        text = space.write(candidate, trial.params)
        record_candidate(trial, candidate, text, space.costs(candidate), space.limits)
        trial.report(0.5, 1)
        if number == count - 1:
            study.storage.set_trial_state_values(number + 1, TrialState.WAITING)
        else:
            study.tell(trial, *((0.9,) if number % 2 else (None, TrialState.PRUNED)))
    return study


def kept(trials: tuple[FrozenTrial, ...]) -> list[FrozenTrial]:
    return [trial for trial in trials if not attributes.LEFT_OUT.of(trial)]


def test_a_wider_range_and_one_choice_more_lose_nothing(tmp_path: Path) -> None:
    before = searched(tmp_path / "a.db", space_of(tmp_path)).trials
    wider = FIRST.replace("4, 16", "2, 64").replace('"GELU"]', '"GELU", "SiLU"]')
    space = space_of(tmp_path, wider)
    found = widen(before, space)
    assert found.lines == ("8 of 8 trials are kept",)
    assert found.changed
    was: dict[str, Any] = {"space_file": {"digest": "x"}}
    assert with_digests({"space_file": {"digest": "y"}}, was, found) == {
        "space_file": {"digest": "y", "same_as": ["x"]}
    }
    for then, now in zip(before, found.trials, strict=True):
        assert (now.number, now.state, now.values, now.params) == (
            *(then.number, then.state, then.values, then.params),
        )
        assert now.intermediate_values == then.intermediate_values
        choices = CategoricalDistribution(["ReLU", "GELU", "SiLU"])
        assert now.distributions["activation"] == choices
        assert now.user_attrs == then.user_attrs  # what kept weights and states go by


def test_a_narrower_range_keeps_what_fits(tmp_path: Path) -> None:
    before = searched(tmp_path / "a.db", space_of(tmp_path)).trials
    found = widen(before, space_of(tmp_path, FIRST.replace("4, 16", "4, 9")))
    fit = [trial.params["width"] <= 9 for trial in before]
    assert 0 < sum(fit) < 8
    assert [not attributes.LEFT_OUT.of(trial) for trial in found.trials] == fit
    for trial in found.trials:
        if attributes.LEFT_OUT.of(trial):
            assert trial.state == TrialState.FAIL
            assert (
                attributes.REASON.of(trial)
                == "left out: width is outside the new range (from 4 to 9)"
            )
    assert found.lines[0] == f"{sum(fit)} of 8 trials are kept"
    assert "left out: width is outside the new range (from 4 to 9)" in found.lines[1]


def test_a_new_parameter_counts_as_its_default_where_that_is_what_the_network_was(
    tmp_path: Path,
) -> None:
    before = searched(tmp_path / "a.db", space_of(tmp_path)).trials
    more = FIRST + '    width += trial.suggest_int("extra", 0, 3)\n'
    found = widen(before, space_of(tmp_path, more))
    assert found.lines == ("8 of 8 trials are kept", "extra is new: they count as drawn with 0")
    assert all(trial.params["extra"] == 0 for trial in found.trials)
    others = FIRST + '    width += trial.suggest_int("extra", 1, 3)\n'
    found = widen(before, space_of(tmp_path, others))
    assert kept(found.trials) == []
    assert "the new space builds a different network" in found.lines[1]
    told = 'DEFAULTS = {"extra": 0}\n'
    found = widen(before, space_of(tmp_path, others.replace("1, 3", "-1, 3"), above=told))
    assert found.lines[0] == "8 of 8 trials are kept"


def test_a_parameter_that_went_matters_where_it_changed_the_network(tmp_path: Path) -> None:
    before = searched(tmp_path / "a.db", space_of(tmp_path)).trials
    fixed = FIRST.replace('trial.suggest_categorical("activation", ["ReLU", "GELU"])', '"ReLU"')
    found = widen(before, space_of(tmp_path, fixed))
    were = [trial.params["activation"] == "ReLU" for trial in before]
    assert 0 < sum(were) < 8
    assert [not attributes.LEFT_OUT.of(trial) for trial in found.trials] == were
    assert all("activation" not in trial.params for trial in kept(found.trials))


def test_a_space_that_makes_other_networks_of_the_same_numbers_keeps_none(tmp_path: Path) -> None:
    before = searched(tmp_path / "a.db", space_of(tmp_path)).trials
    found = widen(before, space_of(tmp_path, FIRST + "    width *= 2\n"))
    assert kept(found.trials) == []
    found = widen(before, space_of(tmp_path, FIRST + "    rate /= 2\n"))
    assert kept(found.trials) == []


def facts(study: optuna.Study) -> list[Any]:
    return [
        (t.number, t.state, t.values, t.params, t.distributions, t.intermediate_values)
        for t in study.trials
    ]


def names(study: StoredStudy) -> list[str]:
    return sorted(optuna.get_all_study_names(study.storage))


def test_the_study_takes_its_own_place_and_the_old_one_is_kept(tmp_path: Path) -> None:
    study = searched(tmp_path / "a.db", space_of(tmp_path))
    before = facts(study)
    found = widen(study.trials, space_of(tmp_path, FIRST.replace("4, 16", "4, 9")))
    rewrite(study, found.trials, kept_of("s", 1), NEW)
    assert names(study) == ["s", "s before change 1"]
    assert facts(StoredStudy(kept_of("s", 1), study.storage)) == before
    after = StoredStudy("s", study.storage)
    assert [(t.number, t.params) for t in after.trials] == [
        (t.number, t.params) for t in found.trials
    ]
    assert attributes.SETTINGS.of(after) == NOW
    asked = after.ask()
    assert asked.number == 7  # what waited goes on first
    study.sampler = optuna.samplers.TPESampler(seed=0)
    after.tell(asked, 0.5)
    assert after.ask().suggest_int("width", 4, 9) <= 9


class Killed(BaseException):
    """In place of a signal that cannot be caught."""


@pytest.mark.parametrize("changes_before", [0, 1])
def test_killed_at_any_call_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes_before: int
) -> None:
    space = space_of(tmp_path)
    narrow = space_of(tmp_path, FIRST.replace("4, 16", "4, 12"))
    backend = RDBStorage  # what Optuna's cache calls, whose methods are not those of a storage
    changing = ("create_new_study", "_create_new_trial", "delete_study", "set_study_user_attr")
    outcomes = set()
    for call in range(1, 99):
        study = searched(tmp_path / f"{call}.db", space, 4)
        for number in range(1, changes_before + 1):
            rewrite(study, study.trials, kept_of("s", number), {"settings": SETTINGS})
            study = StoredStudy("s", study.storage)
        kept = kept_of("s", changes_before + 1)
        before, found = facts(study), widen(study.trials, narrow)
        left = call

        def dying(do: Any) -> Any:
            def maybe(*given: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0:
                    raise Killed
                return do(*given, **named)

            return maybe

        with monkeypatch.context() as patched:
            for name in changing:
                patched.setattr(backend, name, dying(getattr(backend, name)))
            try:
                rewrite(study, found.trials, kept, NEW)
            except Killed:
                pass
            else:
                break
        recover(study.storage, "s")
        after = StoredStudy("s", study.storage)
        outcomes.add(attributes.SETTINGS.of(after) == NOW)
        if attributes.SETTINGS.of(after) == SETTINGS:  # as if nothing had been: once more
            assert facts(after) == before
            rewrite(after, found.trials, kept, NEW)
            after = StoredStudy("s", study.storage)
        assert kept in names(study)
        assert facts(StoredStudy(kept, study.storage)) == before
        assert after.user_attrs["continued_with_other_settings"] == [["x"]]
        assert [(t.number, t.params) for t in after.trials] == [
            (t.number, t.params) for t in found.trials
        ]
    assert 15 < call < 99  # the four trials of both copies among them


def test_a_study_that_another_command_searches_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = create_study(str(tmp_path / "a.db"), "s")
    attributes.PARENT.set(study.ask(), process_id())
    refuse_shared(study.trials, "s")  # of an earlier command of this process
    monkeypatch.setattr(parents, "process_id", lambda: "who asks")
    with pytest.raises(UserError, match="another command is searching 's'"):
        refuse_shared(study.trials, "s")


def test_an_edit_that_changes_no_network_changes_no_trial(tmp_path: Path) -> None:
    conditional = (
        FIRST
        + """
    if trial.suggest_categorical("head", ["plain", "more"]) == "more":
        width += trial.suggest_int("extra", 1, 3)
"""
    )
    before = searched(tmp_path / "a.db", space_of(tmp_path, conditional)).trials
    found = widen(before, space_of(tmp_path, conditional + "    # a remark\n"))
    assert found.lines == ("8 of 8 trials are kept",)
    assert not found.changed
    assert {"extra" in trial.params for trial in before} == {True, False}


def test_what_is_queued_is_fitted_too(tmp_path: Path) -> None:
    study = create_study(str(tmp_path / "a.db"), "s")
    study.enqueue_trial({"width": 5, "activation": "ReLU", "rate": 0.05, "gone": 1})
    study.enqueue_trial({"width": 5, "activation": "GELU", "rate": 0.05})
    study.enqueue_trial({"width": 15})
    only = FIRST.replace('["ReLU", "GELU"]', '["ReLU"]').replace("4, 16", "4, 9")
    space = space_of(tmp_path, only)
    found = widen(study.trials, space)
    assert found.lines[0] == "1 of 3 trials is kept"
    rewrite(study, found.trials, kept_of("s", 1), NEW)
    after = StoredStudy("s", study.storage)
    asked = after.ask()
    space.suggest(asked)
    assert asked.params == {"width": 5, "activation": "ReLU", "rate": 0.05}
    states = [trial.state for trial in after.trials]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.FAIL]


def test_system_attributes_of_the_study_stay(tmp_path: Path) -> None:
    study = searched(tmp_path / "a.db", space_of(tmp_path), 2)
    there = study.storage.get_study_id_from_name("s")
    study.storage.set_study_system_attr(there, "dashboard:note_ver", 3)
    rewrite(study, study.trials, kept_of("s", 1), NEW)
    there = study.storage.get_study_id_from_name("s")
    assert study.storage.get_study_system_attrs(there)["dashboard:note_ver"] == 3


def test_candidates_of_layers_are_whole_in_themselves(tmp_path: Path) -> None:
    """Another limit makes other networks of the same numbers, and what was trained stays true."""
    assert not widening._is_drawn(json.dumps({"layers": []}))
    assert widening._is_drawn(json.dumps({"params": {}, "space": {}}))
