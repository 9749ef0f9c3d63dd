"""How the search went: its history and the parameters that mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from search.reporting.figures.drawing import (
    PAGE,
    Palette,
    blank,
    count_from_one,
    entry_text,
    escaped,
    has_accuracy,
    points,
    rounded,
    show_accuracies,
    time_unit,
    trial_text,
    visible_range,
)
from search.reporting.leaderboard import Summary, best_so_far
from search.reporting.ranking import Entry
from search.reporting.records import Outcome
from search.reporting.searched_parameters import Dimension

LINES = 200  # how many trials parallel coordinates hold at most
AXES = 8  # how many parameters they hold at most


def history(summary: Summary, palette: Palette = PAGE, *, over_time: bool = False) -> go.Figure:
    """Accuracy and best so far over trials or training time, with a strip of how others ended."""
    figure = blank(palette, height=400)
    ended = [t for t in summary.trials if t.outcome not in (Outcome.RUNNING, Outcome.WAITING)]
    if over_time:
        ended.sort(key=lambda t: (t.ended is None, t.ended.timestamp() if t.ended else 0.0))
    unit, unit_name = time_unit(summary.training_seconds)
    positions: list[float] = []
    spent = 0.0
    for trial in ended:
        spent += trial.seconds or 0.0
        positions.append(round(spent / unit, 4) if over_time else trial.number)
    complete = [(x, t) for x, t in zip(positions, ended, strict=True) if has_accuracy(t)]
    shown = points if summary.measures_accuracy else float
    figure.add_scatter(
        x=[x for x, _ in complete],
        y=[shown(trial.accuracy or 0.0) for _, trial in complete],
        mode="markers",
        name="complete",
        marker={"size": 5, "color": palette.muted, "opacity": 0.5},
        text=[trial_text(trial) for _, trial in complete],
        hovertemplate="%{text}<extra></extra>",
    )
    best = best_so_far(summary, ended)
    figure.add_scatter(
        x=positions,
        y=[None if value is None else shown(value) for value in best],
        mode="lines",
        name="best so far",
        line={"color": palette.accent, "width": 2, "shape": "hv"},
        hovertemplate="best so far %{y}<extra></extra>",
    )
    strip = (
        (Outcome.FAILED, palette.bad),
        (Outcome.OVER_BUDGET, palette.warn),
        (Outcome.PRUNED, palette.muted),
    )
    for level, (outcome, colour) in enumerate(strip):
        marks = [(x, t) for x, t in zip(positions, ended, strict=True) if t.outcome is outcome]
        figure.add_scatter(
            x=[*(x for x, _ in marks), None],  # never empty: plotly would drop the strip's axis
            y=[level] * (len(marks) + 1),
            yaxis="y2",
            mode="markers",
            name=str(outcome),
            showlegend=False,
            marker={"size": 9, "symbol": "line-ns-open", "color": colour, "line": {"width": 1.2}},
            text=[*(trial_text(trial) for _, trial in marks), ""],
            hovertemplate="%{text}<extra></extra>",
        )
    if over_time:
        figure.update_xaxes(title_text=f"training time, {unit_name}", rangemode="tozero")
    else:
        figure.update_xaxes(title_text="trial", **count_from_one(positions))
    figure.update_xaxes(anchor="y2")
    figure.update_layout(
        yaxis={"domain": [0.26, 1]},
        yaxis2={
            "domain": [0, 0.2],
            "anchor": "x",
            "type": "linear",
            "tickvals": list(range(len(strip))),
            "ticktext": [str(outcome) for outcome, _ in strip],
            "range": [-0.6, 2.6],
            "showgrid": False,
            "zeroline": False,
            "ticks": "",
            "automargin": True,
            "linecolor": palette.faint,
            "tickfont": {"size": 11, "color": palette.muted},
        },
    )
    if summary.measures_accuracy:
        show_accuracies(figure, history_range(summary))
    else:
        figure.update_yaxes(title_text="value", selector=0)
    return figure


def history_range(summary: Summary) -> tuple[float, float]:
    """The accuracies that the history shows."""
    complete = [trial.accuracy or 0.0 for trial in summary.trials if has_accuracy(trial)]
    return visible_range(complete, summary.limits.target)


def importance(summary: Summary, palette: Palette = PAGE) -> go.Figure:
    """The share of each parameter, largest on top."""
    shares = summary.importance.shares[:12][::-1]
    figure = blank(palette, height=90 + 24 * max(3, len(shares)))
    figure.add_bar(
        x=[100 * share for _, share in shares],
        y=[escaped(name.replace("_", " ")) for name, _ in shares],
        orientation="h",
        marker={"color": palette.accent},
        width=0.55,
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    figure.update_xaxes(title_text="share of importance, %", rangemode="tozero")
    figure.update_yaxes(type="category", showgrid=False)
    return figure


def parallel_coordinates(summary: Summary, palette: Palette = PAGE) -> go.Figure:
    """Each complete trial a line across the parameters; the best tenth in colour.

    Drawn as ordinary lines rather than by plotly's own kind of figure, which needs WebGL, cannot be
    hovered and prints as a bitmap.
    """
    figure = blank(palette, height=420)
    ranked = [name for name, _ in summary.importance.shares]
    dimensions = sorted(
        (d for d in summary.dimensions if d.choices or d.high > d.low),
        key=lambda d: ranked.index(d.name) if d.name in ranked else len(ranked),
    )[:AXES]
    entries = [entry for entry in summary.entries if entry.trial.params][:LINES]
    best = max(1, math.ceil(len(entries) / 10))
    x, y = _across(entries[best:], dimensions)
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name="other valid architectures",
        line={"color": palette.faint, "width": 0.8},
        hoverinfo="skip",
    )
    x, y = _across(entries[:best], dimensions)
    texts: list[str] = []
    for entry in entries[:best]:
        for d in dimensions:
            setting = f"{escaped(d.name)} = {_value(entry.trial.params.get(d.name))}"
            texts.append(f"{entry_text(entry)}<br>{setting}")
        texts.append("")  # the gap after each line
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name=f"best {best}",
        line={"color": palette.accent, "width": 1.6},
        text=texts,
        hovertemplate="%{text}<extra></extra>",
    )
    for place, dimension in enumerate(dimensions):
        figure.add_shape(
            type="line", x0=place, x1=place, y0=0, y1=1, line={"color": palette.muted, "width": 1}
        )
        for end, at, anchor in zip(dimension.ends(), (0, 1), ("top", "bottom"), strict=True):
            figure.add_annotation(
                x=place,
                y=at,
                text=escaped(end),
                showarrow=False,
                yanchor=anchor,
                font={"size": 11, "color": palette.muted},
            )
    figure.update_xaxes(
        tickvals=list(range(len(dimensions))),
        ticktext=["<br>".join(escaped(d.name).split("_")) for d in dimensions],
        showgrid=False,
        range=[-0.4, len(dimensions) - 0.6],
        tickangle=0,
    )
    figure.update_yaxes(visible=False, range=[-0.1, 1.1])
    return figure


def _across(
    entries: Sequence[Entry], dimensions: Sequence[Dimension]
) -> tuple[list[float | None], list[float | None]]:
    """One line for each entry across the dimensions, with a gap after each."""
    x: list[float | None] = []
    y: list[float | None] = []
    for entry in entries:
        params = entry.trial.params
        x += [*range(len(dimensions)), None]
        y += [rounded(d.position(params.get(d.name))) for d in dimensions] + [None]
    return x, y


def _value(value: object) -> str:
    return escaped(f"{value:.4g}" if isinstance(value, float) else str(value))
