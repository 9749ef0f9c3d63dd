"""Where a search's time went: by how trials ended, and by what an epoch of each cost."""

from __future__ import annotations

import plotly.graph_objects as go

from search.reporting.figures.drawing import PAGE, Palette, blank, time_unit, trial_text
from search.reporting.leaderboard import Summary
from search.reporting.pages import words
from search.reporting.records import Outcome, TrialRecord


def time_by_outcome(summary: Summary, palette: Palette = PAGE) -> go.Figure:
    """Training time that went into trials of each outcome."""
    spent = seconds_by_outcome(summary)
    unit, unit_name = time_unit(max(spent.values(), default=0.0))
    outcomes = list(spent)[::-1]
    colours = {Outcome.COMPLETE: palette.accent, Outcome.FAILED: palette.bad}
    figure = blank(palette, height=110 + 30 * max(2, len(outcomes)))
    figure.add_bar(
        x=[spent[outcome] / unit for outcome in outcomes],
        y=[str(outcome) for outcome in outcomes],
        orientation="h",
        marker={"color": [colours.get(outcome, palette.muted) for outcome in outcomes]},
        width=0.5,
        text=[words.duration(spent[outcome]) for outcome in outcomes],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    longest = max(spent.values(), default=0.0) / unit
    figure.update_xaxes(title_text=f"training time, {unit_name}", range=[0, 1.15 * longest])
    figure.update_yaxes(type="category", showgrid=False)
    return figure


def cost(summary: Summary, palette: Palette = PAGE) -> go.Figure:
    """Training seconds an epoch against multiply-accumulates."""
    figure = blank(palette, height=320)
    timed = timed_trials(summary)
    figure.add_scatter(
        x=[(trial.macs or 0) / 1e6 for trial in timed],
        y=[round((trial.seconds or 0.0) / (trial.epochs or 1), 3) for trial in timed],
        mode="markers",
        marker={"size": 5, "color": palette.accent, "opacity": 0.55},
        text=[trial_text(trial) for trial in timed],
        hovertemplate="%{text}<br>%{y:.2f} s an epoch, %{x:.2f} million<extra></extra>",
    )
    figure.update_xaxes(
        title_text="multiply-accumulates of one image, millions", rangemode="tozero"
    )
    figure.update_yaxes(title_text="seconds an epoch", rangemode="tozero")
    return figure


def timed_trials(summary: Summary) -> list[TrialRecord]:
    """The trials that say what an epoch of them cost."""
    ended = (Outcome.COMPLETE, Outcome.PRUNED)
    return [t for t in summary.trials if t.outcome in ended and t.seconds and t.epochs and t.macs]


def seconds_by_outcome(summary: Summary) -> dict[Outcome, float]:
    """Training seconds of each outcome that took any, in the order of the outcomes."""
    spent = {
        outcome: sum(t.seconds or 0.0 for t in summary.trials if t.outcome is outcome)
        for outcome in Outcome
    }
    return {outcome: seconds for outcome, seconds in spent.items() if seconds > 0}
