"""The comparison's figures: best so far over trials and over training time, with bands."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

import plotly.graph_objects as go

from search.reporting.comparing.comparison import Compared, Comparison, Point
from search.reporting.figures.drawing import (
    PAGE,
    SERIES,
    Palette,
    blank,
    count_from_one,
    escaped,
    points,
    show_accuracies,
    target_line,
    time_unit,
    visible_range,
)

DASHES = ("solid", "dash", "dot", "dashdot")  # where there are more studies than colours
PLACES = 200  # at which a band is drawn


def colour(group: int, palette: Palette = PAGE) -> str:
    """A group's colour."""
    return palette.accents[group % SERIES]


def best_over_trials(comparison: Comparison, palette: Palette = PAGE) -> go.Figure:
    """Best so far over the trials that have ended."""
    figure = _best(comparison, palette, lambda point: point.trials, 1.0)
    longest = [len(study.path) for study in comparison.studies]
    figure.update_xaxes(title_text="trials", **count_from_one(longest))
    return figure


def best_over_time(comparison: Comparison, palette: Palette = PAGE) -> go.Figure:
    """Best so far over the training time of all trials of a study together."""
    longest = max((study.path[-1].seconds for study in comparison.studies if study.path), default=0)
    unit, name = time_unit(longest)
    figure = _best(comparison, palette, lambda point: point.seconds, unit)
    figure.update_xaxes(title_text=f"training time, {name}", rangemode="tozero")
    return figure


def _best(
    comparison: Comparison, palette: Palette, place: Callable[[Point], float], unit: float
) -> go.Figure:
    figure = blank(palette, height=400)
    figure.update_layout(legend={"traceorder": "normal"})
    for at, group in enumerate(comparison.groups):
        line = {
            "color": colour(at, palette),
            "width": 2,
            "shape": "hv",
            "dash": DASHES[at // SERIES % len(DASHES)],
        }
        x: list[float]
        y: list[float | None]
        if len(group) == 1:
            path = group[0].path
            x = [round(place(point) / unit, 4) for point in path]
            y = [None if point.best is None else points(point.best) for point in path]
        else:
            x, low, y, high = _band(group, place, unit)
            for edge, fill in ((low, None), (high, "tonexty")):
                figure.add_scatter(
                    x=x,
                    y=edge,
                    mode="lines",
                    line={"width": 0, "shape": "hv", "color": colour(at, palette)},
                    fill=fill,
                    fillcolor=palette.bands[at % SERIES],
                    showlegend=False,
                    hoverinfo="skip",
                )
        name = escaped(name_of(group))
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=name,
            line=line,
            hovertemplate=f"{name}: %{{y:.2f}} %<extra></extra>",
        )
    best = [point.best for study in comparison.studies for point in study.path if point.best]
    targets = {study.summary.limits.target for study in comparison.studies}
    target = targets.pop() if len(targets) == 1 else None
    visible = visible_range(best, target, share=0.25)
    target_line(figure, palette, target, visible)
    show_accuracies(figure, visible)
    return figure


def name_of(group: Sequence[Compared]) -> str:
    """What a group is called: its study, or its first one and how many."""
    if len(group) == 1:
        return group[0].name
    return f"{group[0].name} and {len(group) - 1} more seed{'s' * (len(group) > 2)}"


def _band(
    group: Sequence[Compared], place: Callable[[Point], float], unit: float
) -> tuple[list[float], list[float], list[float | None], list[float]]:
    """Places, and there the lowest, the mean and the highest best so far of a group's studies.

    From where all of them have one to where the first of them ends.
    """
    steps = [
        [(place(point), point.best) for point in study.path if point.best is not None]
        for study in group
    ]
    if not all(steps):
        return [], [], [], []
    start, end = max(path[0][0] for path in steps), min(path[-1][0] for path in steps)
    every = sorted({x for path in steps for x, _ in path if start <= x <= end})
    shown = every[:: max(1, len(every) // PLACES)]
    values = [[path[bisect.bisect_right(path, (x, 2.0)) - 1][1] for path in steps] for x in shown]
    return (
        [round(x / unit, 4) for x in shown],
        [points(min(of)) for of in values],
        [points(sum(of) / len(of)) for of in values],
        [points(max(of)) for of in values],
    )
