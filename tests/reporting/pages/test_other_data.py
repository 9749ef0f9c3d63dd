"""Reports on images that are not MNIST's: no target, no claims, the best and its interval first."""

from __future__ import annotations

import json
import re
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import Conv, Head
from search.report import table
from search.reporting.dashboard.figures import pareto
from search.reporting.dashboard.view import how_it_ended
from search.reporting.figures.curve_picture import learning_curve
from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages import words
from search.reporting.pages.writing import render
from search.study.companions import candidates_of, finalists_of
from search.study.storages.stored import StoredStudy
from tests.reporting.studies import SETTINGS, complete, study_of

CANDIDATE = LayeredCandidate(layers=(Conv(width=8),), head=Head(classes=3))
DATASET = {"name": "clothes", "fingerprint": "f", "train_images": 1_000, "validation_images": 200}
NEW: dict[str, Any] = {
    **SETTINGS,
    "epochs": 1,
    "target": None,
    "dataset": {**DATASET, "classes": 3},
}
OLD: dict[str, Any] = {**SETTINGS, "epochs": 1, "dataset": DATASET}  # with a target of 0.994
VERDICTS = re.compile(r"[Tt]arget of|99\.4 ?%|≥ \d|reach(es|ing)? |claim|[^a-z]nan[^a-z]|NaN")


def finalist(seed: int) -> FrozenTrial:
    attributes = {"kind": "finalist", "label": "trial 0", "seed": seed, "search_trial": 0}
    attributes |= {"test_accuracy": 0.81, "parameters": 122, "candidate": CANDIDATE.to_json()}
    return create_trial(state=TrialState.COMPLETE, value=0.81, user_attrs=attributes)


def summary_of(settings: dict[str, Any], *, tested: bool, system: str = "handed in: a") -> Summary:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    study.set_user_attr("settings", settings)
    study.add_trials([complete(accuracy=0.8, epochs=1, parameters=122, candidate=CANDIDATE)])
    beside = optuna.create_study(study_name=candidates_of("s"), storage=storage)
    wide = LayeredCandidate(layers=(Conv(width=9),), head=Head(classes=3))
    for candidate in (CANDIDATE, wide):
        beside.add_trial(complete(epochs=1, parameters=130, candidate=candidate, label=system))
    if tested:
        finals = optuna.create_study(study_name=finalists_of("s"), storage=storage)
        finals.add_trial(finalist(0))
    return summarize(StoredStudy("s", storage))


@pytest.mark.parametrize("settings", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("tested", [False, True], ids=["searched", "tested"])
def test_no_form_judges_by_a_target_that_nobody_asked_for(
    settings: dict[str, Any], tested: bool
) -> None:
    summary = summary_of(settings, tested=tested, system="reference: narrow-8k")
    texts = render(summary, top=9)
    texts["leaderboard.html"] = re.sub(
        r"<(style|script).*?</\1>", "", texts["leaderboard.html"], flags=re.S
    )
    data = json.loads(texts.pop("leaderboard.json"))
    for name, text in {**texts, "terminal": table(summary)}.items():
        assert not VERDICTS.search(text), (name, VERDICTS.search(text))
        assert "at most 1 epochs" not in text
    assert data["limits"]["target"] is None
    assert data["verdict"]["met"] is None and data["verdict"]["reaching"] is None
    assert data["claims"] == []
    first = (
        "Mean test accuracy of the winner 81.00 %" if tested else "Best validation accuracy 80.00"
    )
    assert texts["leaderboard.md"].split("**")[1].startswith(first)
    if not tested:
        assert "(73.91–84.95 %)" in texts["leaderboard.md"].split("**")[1]


def test_every_form_says_what_was_trained_on() -> None:
    summary = summary_of(NEW, tested=False)
    said = "clothes, 1,000 training images, 200 validation images, at most 1 epoch"
    texts = render(summary, top=9)
    for text in (texts["leaderboard.md"], texts["leaderboard.html"], table(summary)):
        assert f"Data: {said}." in text.replace("\u00a0", " ")
    data = json.loads(texts["leaderboard.json"])
    assert data["problem"] == {
        **{"name": "clothes", "classes": 3, "target": None},
        **{"input_shape": [1, 28, 28], "class_names": ["0", "1", "2"], "fingerprint": "f"},
        **{"mean": [], "std": [], "train_images": 1_000, "validation_images": 200},
        "test_images": None,
    }
    assert (data["limits"]["train_images"], data["limits"]["validation_images"]) == (1_000, 200)
    assert words.data_sentence(summarize(study_of([], settings=None))) == (
        "Data: data set not recorded, training images not recorded, validation images not "
        "recorded, epochs not recorded."
    )


def test_a_target_that_was_asked_for_is_judged_by() -> None:
    summary = summary_of({**NEW, "target": 0.795}, tested=True)
    assert (
        "**Target of 79.5 % reached on the test images" in render(summary, top=9)["leaderboard.md"]
    )
    assert summary.entries[-1].checks[-1].name == "≥ 79.5 %"


def test_two_candidates_of_one_file_name_are_told_apart() -> None:
    text = render(summary_of(NEW, tested=False), top=9)["leaderboard.md"]
    for row in ("| h0 handed in: a |", "| h1 handed in: a |", "| h0 (handed in: a) |"):
        assert row in text


def test_the_dashboard_draws_no_target_where_there_is_none() -> None:
    trial = complete(accuracy=0.8, epochs=1, parameters=122)
    with_target, without = (
        pareto([trial], max_params=9, target=target) for target in (0.994, None)
    )
    assert len(with_target.layout.shapes) - len(without.layout.shapes) == 1
    assert "stroke-dasharray" not in learning_curve([(1, 0.8)], title="t", target=None)
    assert how_it_ended(trial) == "complete: 80.00 % after 1 epoch"
