"""What the search found: accuracy against parameters or memory, and the learning curves.

A figure has no title: the page's heading and the sentence above it say what it shows. What comes
from a study is escaped, since plotly renders a subset of HTML in its texts.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from search.reporting.candidates import flash_of
from search.reporting.figures.drawing import (
    PAGE,
    SERIES,
    Palette,
    blank,
    count_from_one,
    entry_text,
    escaped,
    limit_line,
    points,
    rounded,
    show_accuracies,
    target_line,
    visible_range,
)
from search.reporting.leaderboard import Summary
from search.reporting.pages import words
from search.reporting.ranking import Entry
from search.reporting.records import Outcome, StudyLimits, TrialRecord

CURVES = SERIES  # how many of the best are drawn in colour
FAINT_CURVES = 60  # how many others are drawn behind them
BEHIND_FRONT = 3000  # about how many architectures are drawn behind a front, for small pages


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What accuracy is weighed against."""

    title: str
    unit: str
    of: Callable[[Entry], int | None]  # None where it is not known
    limit: Callable[[StudyLimits], int | None]


PARAMETERS = Axis(
    title="parameters",
    unit="parameters",
    of=lambda entry: entry.parameters,
    limit=lambda limits: limits.max_params,
)
RAM = Axis(
    title="bytes of RAM for activations, int8",
    unit="bytes of RAM",
    of=lambda entry: _bytes_of_int8(entry.trial.peak_activation_bytes),
    limit=lambda limits: limits.max_ram,
)
FLASH = Axis(
    title="bytes of flash for weights, int8",
    unit="bytes of flash",
    of=lambda entry: flash_of(entry.trial),
    limit=lambda limits: limits.max_flash,
)


def _bytes_of_int8(float32: int | None) -> int | None:
    return None if float32 is None else -(-float32 // 4)


def front_against(summary: Summary, axis: Axis) -> list[tuple[int, Entry]]:
    """The entries that no other is as small as and more accurate, the smallest first."""
    found: list[tuple[int, Entry]] = []
    for entry in summary.entries:  # the best first
        size = axis.of(entry)
        if size is not None and (not found or size < found[-1][0]):
            found.append((size, entry))
    return found[::-1]


def drawn_one_in(summary: Summary) -> int:
    """Of how many architectures behind the front one is drawn, spread evenly over the ranks."""
    return max(1, math.ceil(len(summary.entries) / BEHIND_FRONT))


def accuracy_against(
    summary: Summary, palette: Palette = PAGE, *, axis: Axis = PARAMETERS
) -> go.Figure:
    """Valid architectures, the Pareto front with its intervals, limit, target, references."""
    limits = summary.limits
    figure = blank(palette, height=440)
    sizes = [(axis.of(entry), entry) for entry in summary.entries]
    known = [(size, entry) for size, entry in sizes if size is not None]
    front = front_against(summary, axis)
    best = {entry.rank for _, entry in front}
    others = [(size, e) for size, e in known if e.trial.is_found and e.rank not in best]
    others = others[:: drawn_one_in(summary)]
    marked = [(size, entry) for size, entry in known if not entry.trial.is_found]
    figure.add_scatter(
        x=[size for size, _ in others],
        y=[points(entry.accuracy) for _, entry in others],
        mode="markers",
        name="valid architecture",
        marker={"size": 6, "color": palette.muted, "opacity": 0.45},
        text=[entry_text(entry) for _, entry in others],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_scatter(
        x=[size for size, _ in front],
        y=[points(entry.accuracy) for _, entry in front],
        error_y=_error_bars([entry for _, entry in front], palette),
        mode="lines+markers",
        name="Pareto front, with 95 % intervals",
        line={"color": palette.accent, "width": 1.5, "shape": "hv"},
        marker={"size": 8, "color": palette.accent},
        text=[entry_text(entry) for _, entry in front],
        hovertemplate="%{text}<extra></extra>",
    )
    figure.add_scatter(
        x=[size for size, _ in marked],
        y=[points(entry.accuracy) for _, entry in marked],
        mode="markers+text",
        name="reference system or user's candidate",
        marker={"size": 10, "symbol": "diamond-open", "color": palette.warn, "line": {"width": 2}},
        text=[_short_label(entry.trial) for _, entry in marked],
        textposition="bottom center",
        textfont={"size": 11, "color": palette.warn},
        customdata=[entry_text(entry) for _, entry in marked],
        hovertemplate="%{customdata}<extra></extra>",
    )
    limit = axis.limit(limits)
    largest = max([limit or 0, *(size for size, _ in known)])
    figure.update_xaxes(title_text=axis.title, range=[0, 1.06 * largest], tickformat=",d")
    show_accuracies(figure, front_range(summary))
    if limit is not None:
        limit_line(figure, palette, limit)
    target_line(figure, palette, limits.target, front_range(summary))
    return figure


def front_range(summary: Summary) -> tuple[float, float]:
    """The accuracies that the first figure shows."""
    accuracies = [entry.accuracy for entry in summary.entries]
    return visible_range(accuracies, summary.limits.target)


def learning_curves(summary: Summary, palette: Palette = PAGE) -> go.Figure:
    """Validation accuracy over epochs: the best few in colour, other complete ones behind."""
    figure = blank(palette, height=380)
    best = [entry for entry in summary.entries if entry.trial.curve][:CURVES]
    shown = {entry.trial.name for entry in best}
    rest = [
        trial
        for trial in summary.trials
        if trial.curve
        and trial.name not in shown
        and trial.outcome in (Outcome.COMPLETE, Outcome.PRUNED)
    ]
    behind = rest[:: max(1, math.ceil(len(rest) / FAINT_CURVES))]
    x, y = _joined([trial.curve for trial in behind])
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines",
        name="others",
        line={"color": palette.faint, "width": 1},
        hoverinfo="skip",
    )
    for colour, entry in zip(palette.accents, best, strict=False):
        figure.add_scatter(
            x=[epoch for epoch, _ in entry.trial.curve],
            y=[points(value) for _, value in entry.trial.curve],
            mode="lines" if len(entry.trial.curve) > 1 else "markers",
            name=f"{words.place(entry)} trial {entry.trial.name}",
            line={"color": colour, "width": 2},
            hovertemplate=f"trial {entry.trial.name}, epoch %{{x}}: %{{y:.2f}} %<extra></extra>",
        )
    shown_curves = [*(trial.curve for trial in behind), *(entry.trial.curve for entry in best)]
    late = [value for curve in shown_curves for epoch, value in curve if 4 * epoch > len(curve)]
    visible = visible_range(late, summary.limits.target, share=0.15)
    epochs = [epoch for entry in best for epoch, _ in entry.trial.curve]
    figure.update_xaxes(title_text="epoch", **count_from_one(epochs))
    show_accuracies(figure, visible)
    target_line(figure, palette, summary.limits.target, visible)
    return figure


def median_curve(summary: Summary) -> list[tuple[int, float]]:
    """The median accuracy of complete trials at each epoch: what a single curve compares with."""
    at: dict[int, list[float]] = {}
    for trial in summary.trials:
        if trial.outcome is Outcome.COMPLETE:
            for epoch, value in trial.curve:
                at.setdefault(epoch, []).append(value)
    return [(epoch, statistics.median(values)) for epoch, values in sorted(at.items())]


def _error_bars(entries: Sequence[Entry], palette: Palette) -> dict[str, object] | None:
    if not entries or any(entry.interval is None for entry in entries):
        return None
    intervals = [(entry, entry.interval) for entry in entries if entry.interval is not None]
    return {
        "type": "data",
        "symmetric": False,
        "array": [rounded(100 * (span.high - entry.accuracy)) for entry, span in intervals],
        "arrayminus": [rounded(100 * (entry.accuracy - span.low)) for entry, span in intervals],
        "color": palette.accent,
        "thickness": 0.8,
        "width": 2,
    }


def _short_label(trial: TrialRecord) -> str:
    label = trial.reference
    return escaped(label if len(label) <= 24 else label[:23] + "…")


def _joined(
    curves: Iterable[Sequence[tuple[int, float]]],
) -> tuple[list[int | None], list[float | None]]:
    """Many curves as one trace, with a gap after each: a fraction of the size of many traces."""
    x: list[int | None] = []
    y: list[float | None] = []
    for curve in curves:
        x += [epoch for epoch, _ in curve] + [None]
        y += [points(value) for _, value in curve] + [None]
    return x, y
