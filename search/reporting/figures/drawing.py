"""What all figures share: colours by role, a blank figure, reference lines, texts for hovering."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from search.common.text import counted
from search.reporting.pages import words
from search.reporting.ranking import Entry
from search.reporting.records import Outcome, TrialRecord

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SERIES = 5  # colours for lines that must be told apart


@dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours by role; the page's are CSS variables that its script resolves."""

    ink: str = "var(--ink)"
    muted: str = "var(--muted)"
    faint: str = "var(--faint)"
    rule: str = "var(--rule)"
    paper: str = "var(--paper)"
    accent: str = "var(--accent)"
    accents: tuple[str, ...] = tuple(f"var(--series-{i})" for i in range(1, SERIES + 1))
    bands: tuple[str, ...] = tuple(f"var(--band-{i})" for i in range(1, SERIES + 1))
    good: str = "var(--good)"
    warn: str = "var(--warn)"
    bad: str = "var(--bad)"


PAGE = Palette()
LIGHT = Palette(  # for figures that stand alone, as on the dashboard
    ink="#1b1e23",
    muted="#5c6470",
    faint="#c3c9d1",
    rule="#e4e7eb",
    paper="#ffffff",
    accent="#1f5fbf",
    accents=("#1f5fbf", "#b4540a", "#2a7f62", "#8a3fa0", "#a8324a"),
    bands=tuple(
        f"rgba({of}, .16)"
        for of in ("31,95,191", "180,84,10", "42,127,98", "138,63,160", "168,50,74")
    ),
    good="#1d7a4a",
    warn="#975a00",
    bad="#b3261e",
)


def blank(palette: Palette, *, height: int) -> go.Figure:
    """A figure with one pair of quiet axes and nothing in it; height in pixels."""
    axis = {
        "type": "linear",  # also where there is no point to guess it from
        "gridcolor": palette.rule,
        "linecolor": palette.faint,
        "zeroline": False,
        "ticks": "",
        "automargin": True,
        "title": {"font": {"size": 12, "color": palette.muted}, "standoff": 10},
        "tickfont": {"size": 11, "color": palette.muted},
    }
    return go.Figure(
        layout={
            "template": {},  # plotly's default would add 7 kB and its own colours
            "height": height,
            "margin": {"l": 48, "r": 16, "t": 36, "b": 44},
            "font": {"family": FONT, "size": 12, "color": palette.ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hoverlabel": {
                "bgcolor": palette.paper,
                "bordercolor": palette.faint,
                "font": {"color": palette.ink, "size": 12, "family": FONT},
                "align": "left",
            },
            "hovermode": "closest",
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)",
                "color": palette.muted,
                "activecolor": palette.ink,
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.0,
                "xanchor": "left",
                "yanchor": "bottom",
                "font": {"size": 11, "color": palette.muted},
            },
            "xaxis": axis,
            "yaxis": axis,
        }
    )


def limit_line(figure: go.Figure, palette: Palette, limit: int) -> None:
    """Mark a limit by an upright line."""
    figure.add_vline(
        x=limit,
        line=_dashed(palette),
        annotation={"text": f"limit {limit:,}", "font": {"size": 11, "color": palette.muted}},
        annotation_position="bottom left",
    )


def target_line(
    figure: go.Figure, palette: Palette, target: float | None, visible: tuple[float, float]
) -> None:
    """Mark a target by a level line; its name stands where the visible range has room."""
    if target is None:
        return
    low, high = visible
    above = high - target > 0.08 * (high - low)
    text = f"target {points(target):.4g} %"
    figure.add_hline(
        y=points(target),
        line=_dashed(palette),
        annotation={"text": text, "font": {"size": 11, "color": palette.muted}},
        annotation_position="top left" if above else "bottom left",
    )


def _dashed(palette: Palette) -> dict[str, object]:
    return {"color": palette.muted, "width": 1, "dash": "4px,4px"}


def visible_range(
    accuracies: Iterable[float], target: float | None, *, share: float = 0.1
) -> tuple[float, float]:
    """The accuracies around what matters: the lowest ``share`` of them may lie outside."""
    known = sorted(accuracies) or [0.99 if target is None else target - 0.01]
    low, high = known[int(share * (len(known) - 1))], known[-1]
    if target is not None:
        low, high = min(low, target - 0.001), max(high, target)
    margin = max(0.0005, 0.08 * (high - low))
    return low - margin, min(1.0, high + 2 * margin)


def show_accuracies(figure: go.Figure, visible: tuple[float, float]) -> None:
    """Make the upright axis one of accuracies in percent."""
    figure.update_yaxes(
        title_text="validation accuracy, %",
        range=[points(share) for share in visible],
        selector=0,
    )


def count_from_one(values: Sequence[float]) -> dict[str, object]:
    """Axis settings for whole numbers: no ticks between them, however few there are."""
    few = max(values, default=0) < 10
    return {"rangemode": "tozero", "tickformat": "d", **({"dtick": 1} if few else {})}


def entry_text(entry: Entry) -> str:
    """What hovering over a ranked architecture shows; escaped."""
    architecture = escaped(entry.trial.architecture)
    first = f"<b>{words.place(entry)}</b> {escaped(words.named(entry))}"
    figures = f"{words.percent(entry.accuracy)} ({words.interval(entry.interval)})"
    rest = [figures, counted(entry.parameters, "parameter"), architecture]
    return "<br>".join(part for part in (first, *rest) if part)


def trial_text(trial: TrialRecord) -> str:
    """What hovering over a trial shows: how it ended and why; escaped."""
    said = trial.reason
    if not said and has_accuracy(trial) and 0 <= (trial.accuracy or 0.0) <= 1:
        said = words.percent(trial.accuracy)
    parts = [f"trial {trial.number}: {trial.outcome}", said]
    return "<br>".join(escaped(part) for part in parts if part)


def points(share: float) -> float:
    """An accuracy in percent, to the hundredth of a point that 10,000 images resolve."""
    return round(100 * share, 3)


def rounded(value: float | None) -> float | None:
    """Four decimals: more would only make the page larger."""
    return None if value is None else round(value, 4)


def escaped(text: str) -> str:
    """Text that plotly shows as it is; it knows ``&lt;`` but not ``&quot;``."""
    return html.escape(text, quote=False)


def has_accuracy(trial: TrialRecord) -> bool:
    """Whether a trial is complete with a usable value."""
    return trial.outcome is Outcome.COMPLETE and trial.accuracy is not None


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit for an axis that reaches so far: its length in seconds, and its name."""
    if seconds >= 2 * 3600:
        return 3600.0, "hours"
    return (60.0, "minutes") if seconds >= 120 else (1.0, "seconds")
