"""The two figures of a study's page in the dashboard, small: it loads them at every refresh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import plotly.graph_objects as go
from optuna.trial import FrozenTrial

from search.reporting.architectures import Architecture, valid_architectures
from search.reporting.records import StudyLimits
from search.study.attributes import OVER_BUDGET, PARAMETERS
from search.training.recipe import MOST_EPOCHS

LARGEST = 200  # points of one kind; 300 points are 5 KB
GREY, BLUE, RED = "#8a8f98", "#1f6fb2", "#c0392b"
T = TypeVar("T")


def pareto(trials: Sequence[FrozenTrial], *, max_params: int, target: float | None) -> go.Figure:
    """Accuracy against parameters of architectures, means over seeds, with front and limits."""
    limits = StudyLimits(max_params=max_params, epochs=MOST_EPOCHS)
    found = sorted(
        (one.first.parameters or 0, round(100 * one.mean, 3), _named(one))
        for one in valid_architectures(trials, limits)
    )
    front: list[tuple[int, float, str]] = []
    for point in found:
        if not front or point[1] > front[-1][1]:
            front.append(point)
    figure = _blank("Accuracy against parameters", "parameters", "validation accuracy, %")
    best = max((point[1] for point in found), default=0.0)
    shown = [point for point in found if point[1] >= best - 2]  # the top two points of accuracy
    for points, name, mode, colour in (
        (_thinned(shown), "complete", "markers", GREY),
        ([point for point in front if point[1] >= best - 2], "Pareto front", "lines+markers", BLUE),
    ):
        figure.add_scatter(
            x=[point[0] for point in points],
            y=[point[1] for point in points],
            text=[point[2] for point in points],
            name=name,
            mode=mode,
            line={"color": colour, "shape": "hv"},
            marker={"color": colour, "size": 7},
        )
    figure.add_vline(max_params, line={"color": RED, "dash": "dot"})
    if target is not None:
        figure.add_hline(100 * target, line={"color": GREY, "dash": "dot"})
    return figure


def budget_use(trials: Sequence[FrozenTrial], *, max_params: int) -> go.Figure:
    """Parameters of each trial in the order of the search, over-budget ones apart."""
    figure = _blank("Use of the parameter budget", "trial", "parameters")
    ended = [
        (trial.number, parameters, OVER_BUDGET.of(trial) is True)
        for trial in trials
        if trial.state.is_finished() and (parameters := PARAMETERS.of(trial))
    ]
    for over, name, colour in ((False, "within the limit", BLUE), (True, "over budget", RED)):
        points = _thinned([point for point in ended if point[2] is over])
        figure.add_scatter(
            x=[point[0] for point in points],
            y=[point[1] for point in points],
            name=name,
            mode="markers",
            marker={"color": colour, "size": 6, "symbol": "x" if over else "circle"},
        )
    figure.add_hline(max_params, line={"color": RED, "dash": "dot"})
    return figure


def _named(one: Architecture) -> str:
    seeds = len(one.seeds)
    return f"trial {one.first.number}" + (f", {seeds} seeds" if seeds > 1 else "")


def _blank(title: str, x: str, y: str) -> go.Figure:
    """Without plotly's template, which alone would be 7 KB."""
    clear = "rgba(0,0,0,0)"
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "title": {"text": title},
            "xaxis": {**axis, "title": {"text": x}},
            "yaxis": {**axis, "title": {"text": y}},
            "paper_bgcolor": clear,
            "plot_bgcolor": clear,
            "font": {"color": GREY},
            "showlegend": True,
        }
    )


def _thinned(points: Sequence[T]) -> list[T]:
    """At most ``LARGEST`` of them, evenly, the last one included."""
    step = -(-len(points) // LARGEST) or 1
    return list(points[::-1][::step][::-1])
