from __future__ import annotations

import csv
import io

import pytest
from optuna.trial import FrozenTrial

from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import Conv, Pool
from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages import words
from search.reporting.pages.writing import render
from tests.reporting.studies import SETTINGS, complete, pruned, study_of


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.0, "0 s"),
        (0.01, "under 0.1 s"),
        (4.21, "4.2 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (4320, "1 h 12 min"),
        (7199.9, "2 h"),
        (400_000, "111 h 7 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (999, "999"), (1_000, "1.00 k"), (30_420, "30.4 k"), (1_234_567, "1.23 M")],
)
def test_compact_numbers(value: int | None, shown: str) -> None:
    assert words.compact(value) == shown


def test_percent_and_counts() -> None:
    assert words.percent(0.99435) == "99.44 %"
    assert words.percent(1.0) == "100.00 %"
    assert words.count(17_890) == "17,890"
    assert words.widths((8, 16)) == "8 16"
    assert words.widths(None) == words.NOTHING


def sum_up(*trials: FrozenTrial, settings: object = SETTINGS) -> Summary:
    return summarize(
        study_of(list(trials), settings=settings)  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("accuracy", "headline", "said"),
    [
        (0.997, "Target of 99.4 % reached", "whole interval lies at or above"),
        (0.995, "Target of 99.4 % reached, but within the noise", "luck alone could explain it"),
        (0.993, "Target of 99.4 % not reached", "Its interval includes the target"),
        (0.97, "Target of 99.4 % not reached", "96.65–97.32 %"),
    ],
)
def test_the_verdict_in_words(accuracy: float, headline: str, said: str) -> None:
    summary = sum_up(complete(accuracy=accuracy))

    assert words.headline(summary) == headline
    assert said in words.verdict_sentence(summary)
    assert f"{100 * accuracy:.2f} %" in words.verdict_sentence(summary)


def test_seeds_are_said_where_there_are_several() -> None:
    candidate = LayeredCandidate(layers=(Conv(width=8), Pool()))
    trials = [complete(accuracy=value, candidate=candidate) for value in (0.996, 0.995, 0.997)]
    summary, single = sum_up(*trials, complete(accuracy=0.98)), sum_up(trials[0])
    best = summary.entries[0]

    assert words.over_seeds(best) == "3 (99.35–99.85 %)"
    assert words.over_seeds(summary.entries[1]) == "1"
    said = (
        "trial 0: 99.60 % over 3 seeds (95 % intervals: images 99.46–99.71 %, seeds 99.35–99.85 %)"
    )
    assert said in words.verdict_sentence(summary)
    assert "They are ranked by the accuracy expected of another seed" in words.noise_sentence(
        summary
    )
    assert "seed" not in words.verdict_sentence(single) + words.noise_sentence(single)
    page, markdown, table, _ = render(summary, top=10).values()
    assert "3 (99.35–99.85 %)" in markdown
    assert "99.60, 99.50, 99.70 % (trials 0, 1, 2)" in page.replace("\u00a0", " ")
    first = next(csv.DictReader(io.StringIO(table)))
    assert (first["validation_accuracy"], first["seeds"]) == ("0.996", "3")
    assert (first["seeds_low"], first["seeds_high"]) == ("0.993516", "0.998484")
    for text in render(single, top=10).values():
        assert "Expected" not in text and "| expected |" not in text


def test_nothing_complete_in_words() -> None:
    summary = sum_up(pruned(reason="median"))

    assert words.headline(summary) == "No valid architecture yet"
    assert "No trial is complete: 0 complete, 1 pruned" in words.verdict_sentence(summary)


def test_only_references_in_words() -> None:
    summary = sum_up(complete(label="reference: narrow-8k"))

    assert "Only candidates of users are ranked" in words.verdict_sentence(summary)


def test_ties_are_said_with_their_number() -> None:
    summary = sum_up(*(complete(accuracy=a) for a in (0.995, 0.9945, 0.97)))

    assert "10,000 validation images" in words.noise_sentence(summary)
    assert "The first 2 cannot be told apart" in words.noise_sentence(summary)
    assert [words.place(entry) for entry in summary.entries] == ["1=", "2=", "3"]


def test_what_is_not_recorded_is_said() -> None:
    summary = sum_up(complete(accuracy=0.995), complete(parameters=None), settings=None)

    assert "no interval" in words.noise_sentence(summary)
    assert "No interval can be given" in words.verdict_sentence(summary)
    assert "assumed: 20,000 parameters, 20 epochs." in words.assumed_sentence(summary)
    assert words.unranked_sentence(summary).endswith("1 without a recorded parameter count.")


def test_a_lucky_one_below_the_best_does_not_reach_the_target() -> None:
    lucky, best = (LayeredCandidate(layers=(Conv(width=width), Pool())) for width in (4, 8))
    summary = sum_up(
        *(complete(accuracy=value, candidate=best) for value in (0.9941, 0.9937) * 4),
        complete(accuracy=0.9941, candidate=lucky),
        *(complete(accuracy=value) for value in (0.99, 0.991)),
    )
    assert summary.verdict.best and summary.verdict.best.accuracy == pytest.approx(0.9939)
    assert words.headline(summary) == "Target of 99.4 % not reached"
    said = words.verdict_sentence(summary)
    assert "1 valid architecture below it reaches 99.4 %, by luck as it seems." in said
