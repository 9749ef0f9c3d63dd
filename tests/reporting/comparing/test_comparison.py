"""Several studies on one page: groups of seeds, bands, finalists by the right test."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import stats

from search.reporting.comparing.comparison import Comparison, compare_studies
from search.reporting.comparing.figures import best_over_time, best_over_trials
from search.reporting.comparing.pages import (
    frame,
    headline,
    pair_sentence,
    to_html,
    to_markdown,
)
from search.reporting.intervals import welch_test
from search.study.storages.stored import StoredStudy
from tests.reporting.studies import SETTINGS, START, complete, pruned, study_of


def study(*accuracies: float | None, **settings: Any) -> StoredStudy:
    """A study whose trials took ten seconds each; None is one that was pruned."""
    trials: list[FrozenTrial] = []
    for number, accuracy in enumerate(accuracies):
        trial = pruned(reason="") if accuracy is None else complete(accuracy=accuracy)
        trial.user_attrs["seconds"] = 10.0
        trial.datetime_start = START + dt.timedelta(seconds=10 * number)
        trial.datetime_complete = trial.datetime_start + dt.timedelta(seconds=10)
        trials.append(trial)
    return study_of(trials, settings={**SETTINGS, **settings})


def test_a_path_is_in_the_order_of_ends() -> None:
    found = compare_studies([("a", study(0.98, None, 0.97, 0.99))])
    path = found.studies[0].path
    assert [(point.trials, point.seconds, point.best) for point in path] == [
        (1, 10, 0.98),
        (2, 20, 0.98),
        (3, 30, 0.98),
        (4, 40, 0.99),
    ]


def several() -> Comparison:
    return compare_studies(
        [
            ("a", study(0.990, 0.992, 0.994, seed=0)),
            ("b", study(0.980, 0.994, 0.994, seed=1)),
            ("c", study(0.970, 0.980, seed=1, sampler="random")),
        ]
    )


def test_what_differs_in_the_seed_alone_is_one_group() -> None:
    found = several()
    assert [[one.name for one in group] for group in found.groups] == [["a", "b"], ["c"]]
    assert found.differing == (
        ("seed", ("0", "1", "1")),
        ("sampler", ("tpe", "tpe", "random")),
    )


def test_a_band_reaches_from_the_lowest_to_the_highest_and_the_line_is_the_mean() -> None:
    figure = best_over_trials(several())
    low, high, line, other = figure.data
    assert list(low.x) == list(high.x) == list(line.x) == [1, 2, 3]
    assert list(low.y) == [98.0, 99.2, 99.4]
    assert list(high.y) == [99.0, 99.4, 99.4]
    assert list(line.y) == pytest.approx([98.5, 99.3, 99.4])
    assert line.name == "a and 1 more seed"
    assert (other.name, list(other.x), list(other.y)) == ("c", [1, 2], [97.0, 98.0])
    assert line.line.color != other.line.color
    over_time = best_over_time(several())
    assert list(over_time.data[2].x) == [10, 20, 30]
    assert over_time.layout.xaxis.title.text == "training time, seconds"


def with_finalists(study: StoredStudy, accuracies: list[float], first_seed: int = 0) -> StoredStudy:
    beside = optuna.create_study(
        study_name="cnn-search finalists", storage=study.storage, direction="maximize"
    )
    for seed, accuracy in enumerate(accuracies, first_seed):
        attributes = {
            **{"candidate": "{}", "architecture": "c8", "parameters": 9_000, "kind": "finalist"},
            **{"search_trial": 0, "seed": seed, "test_accuracy": accuracy, "label": "finalist"},
        }
        trial = create_trial(state=TrialState.COMPLETE, value=accuracy, user_attrs=attributes)
        beside.add_trial(trial)
    return study


FIRST = [0.9950, 0.9952, 0.9949, 0.9953]
SECOND = [0.9945, 0.9946, 0.9945, 0.9946]


@pytest.mark.parametrize("seeds_shared", [True, False])
def test_finalists_are_paired_by_seeds_where_they_share_some(seeds_shared: bool) -> None:
    worse = with_finalists(study(0.99, seed=0), SECOND, first_seed=0 if seeds_shared else 50)
    better = with_finalists(study(0.99, seed=1), FIRST)
    pair = compare_studies([("worse", worse), ("better", better)]).pairs[0]
    assert (pair.first.name, pair.second.name, pair.paired) == ("better", "worse", seeds_shared)
    test = stats.ttest_rel if seeds_shared else _welch
    assert pair.difference.p == pytest.approx(test(FIRST, SECOND).pvalue)
    sentence = pair_sentence(pair)
    assert sentence.startswith("better against worse: +0.055 points (95 %: ")
    assert ("paired t test over 4 seeds" if seeds_shared else "Welch's t test") in sentence
    assert sentence.endswith(": better")


def _welch(first: list[float], second: list[float]) -> Any:
    return stats.ttest_ind(first, second, equal_var=False)


def test_other_images_are_not_compared() -> None:
    other = {**SETTINGS["dataset"], "fingerprint": "of other images", "name": "Fashion-MNIST"}
    studies = [
        ("a", with_finalists(study(0.99), FIRST)),
        ("b", with_finalists(study(0.93, dataset=other), SECOND)),
    ]
    found = compare_studies(studies)
    assert found.pairs == ()
    assert "cannot be compared" in headline(found)


def test_the_headline_goes_by_the_test_where_all_were_tested() -> None:
    untested = compare_studies([("a", study(0.99)), ("b", study(0.98, seed=3))])
    assert headline(untested) == "a is ahead on the validation images: 99.00 %"
    both = [
        ("a", with_finalists(study(0.99), SECOND)),
        ("b", with_finalists(study(0.98, seed=3), FIRST)),
    ]
    assert headline(compare_studies(both)) == "b leads on the test images: 99.51 %"
    assert headline(compare_studies([("a", study()), ("b", study(seed=1))])).startswith("No study")


def test_it_is_the_same_in_all_forms_and_names_do_no_harm() -> None:
    harmful = '<script>alert("x")</script>|'
    found = compare_studies(
        [
            (harmful, with_finalists(study(0.99), FIRST)),
            ("b", with_finalists(study(0.98, seed=3), SECOND)),
        ]
    )
    page, text = to_html(found), to_markdown(found)
    assert "<script>alert" not in page
    assert "<script>alert" not in text
    for form in (page, text):
        assert "99.51" in form
        assert "99.46" in form
    assert len(page) < 2_500_000
    rows = list(csv.DictReader(io.StringIO(frame(found).to_csv(index=False))))
    assert [(row["study"], row["trials"], row["best"]) for row in rows] == [
        (harmful, "1", "0.99"),
        ("b", "1", "0.98"),
    ]
    assert re.search(r"\| seed \| 0 \| 3 \|", text)


@pytest.mark.parametrize("values", [([0.9], [0.9, 0.8]), ([0.9, 0.9], [0.8, 0.8])])
def test_welch_says_nothing_of_too_little(values: tuple[list[float], list[float]]) -> None:
    assert welch_test(*values) == (None, None)


def test_studies_of_other_programs_are_compared_by_their_values() -> None:
    foreign = study_of([complete(accuracy=0.97)], settings=None, name="theirs")
    found = compare_studies([("ours", study(0.99)), ("theirs", foreign)])
    assert "theirs" in to_html(found)
    assert "theirs" in to_markdown(found)
    assert dict(found.differing)["sampler"] == ("tpe", "–")


def test_what_began_with_others_candidates_is_another_search() -> None:
    warm = study(0.99, seed=1)
    warm.set_user_attr("knows", ["small"])
    found = compare_studies([("cold", study(0.98)), ("warm", warm)])
    assert [len(group) for group in found.groups] == [1, 1]
    assert dict(found.differing)["from"] == ("–", "small")


def test_without_a_test_of_the_two_no_winner_is_certain() -> None:
    unknown = {**SETTINGS["dataset"], "fingerprint": ""}
    both = [(n, with_finalists(study(0.99, dataset=unknown), FIRST)) for n in "ab"]
    assert (
        headline(compare_studies(both))
        == "a leads on the test images: 99.51 %, but within the noise"
    )
