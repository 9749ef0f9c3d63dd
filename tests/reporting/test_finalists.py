"""Finalists: means, intervals and paired tests against scipy and by hand; what the report says."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import stats

from search.reporting.finalists import (
    Finalists,
    Run,
    compare,
    read_finalists,
)
from search.reporting.intervals import mean_interval, paired_test
from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages import lead
from search.reporting.pages.writing import render
from tests.reporting.studies import complete, study_of

OPENING = {"when": "2026-11-22 10:00 UTC", "commit": "abc123", "count": 1}


def run(accuracy: float, seed: int, **attributes: Any) -> FrozenTrial:
    attributes = {
        **{"candidate": "{}", "architecture": "c8 P c16", "parameters": 9_000, "rank": 1},
        **{"search_trial": 0, "seed": seed, "test_accuracy": accuracy, "kind": "finalist"},
        **{"test_correct": round(10_000 * accuracy), "label": "finalist"},
        **attributes,
    }
    return create_trial(state=TrialState.COMPLETE, value=accuracy, user_attrs=attributes)


def group(*accuracies: float, **attributes: Any) -> list[FrozenTrial]:
    return [run(accuracy, seed, **attributes) for seed, accuracy in enumerate(accuracies)]


def read(*trials: FrozenTrial) -> Finalists:
    found = read_finalists(trials, [OPENING], target=0.994)
    assert found is not None
    return found


def with_finalists(trials: list[FrozenTrial], openings: object = None) -> Summary:
    search = study_of([complete(accuracy=0.993), complete(accuracy=0.992)])
    beside = optuna.create_study(
        study_name="cnn-search finalists", storage=search.storage, direction="maximize"
    )
    beside.set_user_attr("test set openings", [OPENING] if openings is None else openings)
    beside.add_trials(trials)
    return summarize(search)


def test_the_figures_of_one_are_those_of_scipy() -> None:
    values = (0.9950, 0.9961, 0.9938, 0.9957, 0.9949)
    (one,) = read(*group(*values)).entries
    assert one.mean == pytest.approx(sum(values) / 5)
    expected = stats.t.interval(0.95, 4, loc=one.mean, scale=stats.sem(values))
    assert one.interval is not None
    assert (one.interval.low, one.interval.high) == pytest.approx(expected)
    assert one.minimum == 0.9938
    assert (one.reaching, one.share_reaching) == (4, 0.8)
    assert [r.correct for r in one.runs] == [9950, 9961, 9938, 9957, 9949]
    assert one.against_next is None


def test_neighbours_are_compared_over_the_seeds_that_both_have() -> None:
    first = [Run(seed=s, accuracy=a, correct=None) for s, a in ((1, 0.997), (2, 0.995), (3, 0.996))]
    second = [Run(seed=s, accuracy=a, correct=None) for s, a in ((9, 0.1), (2, 0.994), (3, 0.9945))]
    found = compare(first, second)
    assert found.seeds == 2
    assert found.difference == pytest.approx(0.00125)
    assert found.p == pytest.approx(stats.ttest_rel([0.995, 0.996], [0.994, 0.9945]).pvalue)
    assert compare(first, []).p is None
    assert not compare(first, []).distinguishable


@pytest.mark.parametrize(
    ("differences", "p"), [([], None), ([0.1], None), ([0.0, 0.0], 1.0), ([0.1, 0.1, 0.1], 0.0)]
)
def test_a_test_without_spread_or_seeds(differences: list[float], p: float | None) -> None:
    assert paired_test(differences)[0] == p


def test_a_single_value_has_no_interval() -> None:
    assert mean_interval([0.5]) is None


def numbered(first: int, trials: list[FrozenTrial]) -> list[FrozenTrial]:
    for number, trial in enumerate(trials, start=first):
        trial.number = number
    return trials


def test_they_are_placed_by_mean_and_the_winner_is_the_one_that_validation_chose() -> None:
    found = read(
        *numbered(0, group(0.9950, 0.9952)),
        *numbered(9, group(0.9970, 0.9972, label="reference: adaptive-pool-18k", kind="reference")),
        *numbered(2, group(0.9960, 0.9962, search_trial=7, candidate='{"a": 1}', rank=2)),
    )
    assert [lead.named(one) for one in found.entries] == [
        "reference: adaptive-pool-18k (stand-in)",
        "trial 7",
        "trial 0",
    ]
    assert [one.place for one in found.entries] == [1, 2, 3]
    assert found.chosen is found.entries[2], "validation put it first, whatever the test says"
    assert found.met
    assert not found.certain
    trials = [*group(0.9950, 0.9952), *group(0.9960, 0.9962, search_trial=7, candidate="b")]
    again = read_finalists(trials, [OPENING], target=0.994, order=["c", "b", "{}"])
    assert again is not None and again.chosen is not None
    assert again.chosen.search_trial == 7, "as it was chosen last, whatever was queued first"


def test_public_systems_stand_beside_their_claims() -> None:
    """A claim is above, within or below what was measured; one over the limit is rejected."""
    low = group(0.9920, 0.9921, 0.9922, label="reference: narrow-8k", kind="reference")
    around = group(0.9941, 0.9943, 0.9945, label="reference: valid-conv-18k", kind="reference")
    summary = with_finalists(group(0.995, 0.996) + low + around)
    verdicts = {system.label: system.verdict for system in summary.claims}
    assert verdicts == {
        "narrow-8k": "claim is 0.29 points above the mean",
        "valid-conv-18k": "claim lies within the interval",
        "gap-1x1-19k": "not measured again",
        "adaptive-pool-18k (stand-in)": "not measured again",
        "wide-vgg": "rejected: more than 20,000 parameters",
    }
    files = render(summary, top=5)
    row = next(
        line for line in files["leaderboard.md"].splitlines() if line.startswith("| narrow-8k")
    )
    cells = ("8,932", "99.21 %", "99.19–99.23 %", "99.50 %")
    assert all(cell in row for cell in cells), row
    section = files["leaderboard.html"].split('id="claims"')[1].split("</section>")[0]
    assert "6,379,786" in section and "rejected" in section
    data = json.loads(files["leaderboard.json"])
    assert data["claims"][0]["measured"]["mean"] == pytest.approx(0.9921)
    assert with_finalists(group(0.995, 0.996)).claims == ()


def test_what_is_not_a_result_is_left_out() -> None:
    odd = [
        create_trial(state=TrialState.FAIL),
        create_trial(state=TrialState.RUNNING, user_attrs={"test_accuracy": 0.99}),
        create_trial(state=TrialState.COMPLETE, value=0.9),
        create_trial(state=TrialState.COMPLETE, value=0.9, user_attrs={"test_accuracy": "x"}),
        create_trial(state=TrialState.COMPLETE, value=0.9, user_attrs={"test_accuracy": 1.5}),
    ]
    assert read_finalists(odd, None, target=0.994) is None
    found = read_finalists([*odd, run(0.9, 0)], [1, {"when": 3}], target=0.994)
    assert found is not None
    assert len(found.entries) == 1
    assert lead.openings_sentence(found).startswith("The test images were opened once")


def test_of_one_seed_the_last_attempt_counts() -> None:
    (one,) = read(run(0.1, 5), run(0.9, 5)).entries
    assert [r.accuracy for r in one.runs] == [0.9]


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        ((0.9960, 0.9961, 0.9962), "Target of 99.4 % reached on the test images"),
        (
            (0.9930, 0.9961, 0.9962),
            "Target of 99.4 % reached on the test images, but within the noise",
        ),
        ((0.9930, 0.9931, 0.9932), "Target of 99.4 % not reached on the test images"),
    ],
)
def test_they_lead_in_every_form(values: tuple[float, ...], headline: str) -> None:
    summary = with_finalists(group(*values))
    assert lead.headline(summary) == headline
    files = render(summary, top=10)
    assert f"**{headline}.**" in files["leaderboard.md"]
    assert f"<h1>{headline}</h1>" in files["leaderboard.html"].replace("\u00a0", " ")
    for text in (files["leaderboard.md"], files["leaderboard.html"]):
        assert text.index("Finalists on the test images") < text.index(
            "on 10,000 validation images"
        )
        assert "2026-11-22 10:00 UTC at commit abc123" in text
    grader = files["leaderboard.md"].split("## For graders")[1]
    assert f"{100 * sum(values) / 3:.2f} % on the test images, mean of 3 seeds" in grader
    assert "opened once for this study: 2026-11-22" in grader
    rows = list(csv.DictReader(io.StringIO(files["finalists.csv"])))
    assert [float(row["test_accuracy"]) for row in rows] == list(values)
    assert {row["minimum"] for row in rows} == {str(values[0])}
    data = json.loads(files["leaderboard.json"])
    assert data["finalists"]["entries"][0]["minimum"] == values[0]


def test_first_and_second_are_told_apart_or_not() -> None:
    near = with_finalists(group(0.995, 0.996, 0.994) + group(0.994, 0.995, 0.9955, label="b"))
    assert "First and second are not distinguishable" in lead.sentence(near)
    far = with_finalists(group(0.995, 0.996, 0.9952) + group(0.984, 0.985, 0.9841, label="b"))
    assert (
        "First and second are distinguishable (1.10 points apart, p < 0.001, 3 seeds)"
        in lead.sentence(far)
    )
    single = with_finalists(group(0.995) + group(0.984, label="b"))
    assert "cannot be compared: they share fewer than two seeds" in lead.sentence(single)
    assert "One seed says nothing" in lead.sentence(single)


def test_a_second_look_at_the_test_images_is_said() -> None:
    summary = with_finalists(group(0.995, 0.996), [OPENING, {**OPENING, "count": 2}])
    assert summary.finalists is not None
    assert "opened 2 times" in lead.openings_sentence(summary.finalists)
    assert "opened 2 times" in render(summary, top=5)["leaderboard.md"]
    assert "may rest on test results" in lead.openings_sentence(summary.finalists)


@pytest.mark.parametrize(("later", "chosen_before"), [(20, True), (30, False), (None, False)])
def test_going_on_after_an_interruption_is_no_second_look(
    later: int | None, chosen_before: bool
) -> None:
    looks = [{**OPENING, "trainings": 20}, {**OPENING, "count": 2, "trainings": later}]
    finalists = with_finalists(group(0.995, 0.996), looks).finalists
    assert finalists is not None
    said = lead.openings_sentence(finalists)
    assert ("chosen before the first" in said) == chosen_before
    assert ("may rest on test results" in said) != chosen_before


def test_without_finalists_the_search_leads_and_no_file_is_written() -> None:
    summary = summarize(study_of([complete(accuracy=0.993)]))
    assert summary.finalists is None
    assert not [name for name in render(summary, top=5) if name.startswith("finalists")]
    assert lead.headline(summary) == "Target of 99.4 % not reached"
