from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import plotly.graph_objects as go
import plotly.io
import pytest

from search.reporting.figures import accuracy_figures as figures
from search.reporting.figures import catalogue as captions
from search.reporting.figures import search_figures, time_figures
from search.reporting.figures.drawing import LIGHT, time_unit, visible_range
from search.reporting.leaderboard import Summary, summarize
from search.reporting.records import Outcome
from tests.reporting.studies import complete, study_of

ALL: list[Callable[..., go.Figure]] = [
    figures.accuracy_against,
    figures.learning_curves,
    search_figures.history,
    search_figures.importance,
    search_figures.parallel_coordinates,
    time_figures.time_by_outcome,
    time_figures.cost,
]


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(trace for trace in figure.data if trace.name == name)


def test_the_front_and_the_rest_are_all_entries(summary: Summary) -> None:
    figure = figures.accuracy_against(summary)
    front = trace(figure, "Pareto front, with 95 % intervals")
    drawn = [len(t.x) for t in figure.data]
    both = sum(entry.on_front and entry.trial.is_reference for entry in summary.entries)

    assert sum(drawn) == len(summary.entries) + both
    assert list(front.x) == sorted(e.parameters for e in summary.entries if e.on_front)
    assert list(front.y) == sorted(front.y)
    assert len(front.error_y.array) == len(front.x)
    assert trace(figure, "reference system or user's candidate").text == (
        "narrow-8k",
        "valid-conv-18k",
    )
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert texts == ["limit 20,000", "target 99.4 %"]


@pytest.mark.parametrize(
    ("axis", "limit"), [(figures.RAM, "limit 30,000"), (figures.FLASH, "limit 25,000")]
)
def test_memory_has_a_front_of_its_own_with_its_limit(
    summary: Summary, axis: figures.Axis, limit: str
) -> None:
    limits = replace(summary.limits, max_ram=30_000, max_flash=25_000)
    figure = figures.accuracy_against(replace(summary, limits=limits), axis=axis)
    front = trace(figure, "Pareto front, with 95 % intervals")
    assert len(front.x) >= 2
    assert list(front.x) == sorted(front.x)
    for size, accuracy in zip(front.x, front.y, strict=True):
        better = [e for e in summary.entries if (axis.of(e) or 0) <= size]
        assert accuracy == pytest.approx(100 * max(better, key=lambda e: e.expected).accuracy)
    assert limit in [annotation.text for annotation in figure.layout.annotations]
    unlimited = figures.accuracy_against(summary, axis=axis)
    assert limit not in [annotation.text for annotation in unlimited.layout.annotations]


def test_of_very_many_behind_the_front_some_are_drawn_and_the_sentence_says_so(
    summary: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = trace(figures.accuracy_against(summary), "valid architecture").x
    assert "is drawn" not in captions.front(summary)
    monkeypatch.setattr(figures, "BEHIND_FRONT", len(summary.entries) // 2)
    one_in = figures.drawn_one_in(summary)
    assert one_in >= 2
    figure = figures.accuracy_against(summary)
    assert trace(figure, "valid architecture").x == every[::one_in]
    front = trace(figure, "Pareto front, with 95 % intervals")
    assert list(front.x) == sorted(e.parameters for e in summary.entries if e.on_front)
    for sentence in (captions.front(summary), captions.memory_front(summary, figures.FLASH)):
        assert sentence.endswith(f"Of those in grey one in {one_in} is drawn.")


def test_the_history_marks_every_ended_trial(summary: Summary) -> None:
    figure = search_figures.history(summary)

    for outcome in (Outcome.PRUNED, Outcome.OVER_BUDGET, Outcome.FAILED):
        marks = [x for x in trace(figure, str(outcome)).x if x is not None]
        assert len(marks) == summary.counts[outcome]
    assert len(trace(figure, "complete").x) == summary.counts[Outcome.COMPLETE]
    best = [value for value in trace(figure, "best so far").y if value is not None]
    assert best == sorted(best)
    assert best[-1] == round(100 * summary.entries[0].accuracy, 3)


def test_the_history_over_time_ends_with_all_the_time(summary: Summary) -> None:
    figure = search_figures.history(summary, over_time=True)
    x = list(trace(figure, "best so far").x)

    assert x == sorted(x)
    unit, _ = time_unit(summary.training_seconds)
    assert x[-1] * unit == pytest.approx(summary.training_seconds, rel=1e-3)


def test_curves_of_the_best_end_at_their_accuracy(summary: Summary) -> None:
    figure = figures.learning_curves(summary)

    for drawn, entry in zip(figure.data[1:], summary.entries[:5], strict=True):
        assert drawn.y[-1] == round(100 * entry.accuracy, 3)


def test_parallel_lines_stay_between_their_ends(summary: Summary) -> None:
    figure = search_figures.parallel_coordinates(summary)
    values = [y for drawn in figure.data for y in drawn.y if y is not None]

    assert values
    assert min(values) >= 0
    assert max(values) <= 1


def test_hidden_points_are_counted_in_the_sentence() -> None:
    trials = [complete(accuracy=0.99 + n / 10_000) for n in range(30)]
    trials += [complete(accuracy=0.5), complete(accuracy=0.6)]
    summary = summarize(study_of(trials))

    assert "2 less accurate ones lie below the axis" in captions.front(summary)
    assert "2 less accurate ones lie below the axis" in captions.history(summary)


def test_the_visible_range_holds_the_target_and_the_best() -> None:
    low, high = visible_range([0.9, 0.97, 0.98], 0.994)

    assert low < 0.9
    assert 0.994 < high <= 1.0
    assert visible_range([], 0.994)[0] < 0.994
    assert visible_range([1.0], 0.994)[1] == 1.0


@pytest.mark.parametrize("draw", ALL)
def test_figures_of_an_empty_study_can_be_drawn(
    draw: Callable[..., go.Figure],
) -> None:
    summary = summarize(study_of([]))

    json.loads(plotly.io.to_json(draw(summary)))


@pytest.mark.parametrize("draw", ALL)
def test_a_standalone_figure_has_no_variables_for_colours(
    draw: Callable[..., go.Figure], summary: Summary
) -> None:
    assert "var(--" in plotly.io.to_json(draw(summary))
    assert "var(--" not in plotly.io.to_json(draw(summary, LIGHT))


@pytest.mark.parametrize("draw", ALL)
def test_text_from_a_study_is_escaped(draw: Callable[..., go.Figure]) -> None:
    import optuna

    markup = '<a href="javascript:alert(1)">x</a>'
    ranges = {markup: optuna.distributions.FloatDistribution(0, 1)}
    trials = [
        complete(
            accuracy=0.9 + n / 1000,
            architecture=markup,
            label=f"reference: {markup}" if n % 2 else markup,
            reason=markup,
            params={markup: n / 30},
            distributions=ranges,
            macs=100,
        )
        for n in range(30)
    ]
    summary = summarize(study_of(trials, name=markup))
    drawn = json.loads(plotly.io.to_json(draw(summary)))

    tags = set(re.findall(r"</?\w+", json.dumps(drawn)))
    assert tags <= {"<b", "</b", "<br", "<extra", "</extra"}
