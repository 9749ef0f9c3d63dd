"""The figures of the page, each with the sentence above it: what it shows in this study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from search.common.text import counted
from search.reporting.figures import accuracy_figures, search_figures, time_figures
from search.reporting.figures.accuracy_figures import (
    CURVES,
    FLASH,
    RAM,
    Axis,
    drawn_one_in,
    front_against,
    front_range,
)
from search.reporting.figures.drawing import has_accuracy
from search.reporting.figures.search_figures import LINES, history_range
from search.reporting.figures.time_figures import seconds_by_outcome, timed_trials
from search.reporting.leaderboard import Summary, best_so_far
from search.reporting.pages import words
from search.reporting.records import Outcome


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page, the sentence above it, and the text that stands for it."""

    draw: Callable[[Summary], go.Figure]
    needs: Callable[[Summary], bool]  # whether the study has anything to draw in it
    sentence: Callable[[Summary], str]
    alternative: str


def front(summary: Summary) -> str:
    """Accuracy against parameters."""
    on_front = [entry for entry in summary.entries if entry.on_front]
    target = summary.limits.target
    reaching = [e for e in summary.entries if target is not None and e.accuracy >= target]
    number, valid = len(on_front), len(summary.entries)
    text = (
        f"{number} of {counted(valid, 'valid architecture')} {_are(number)} on the Pareto front: "
        "no other is at most as large and at least as accurate."
    )
    if reaching:
        smallest = min(reaching, key=lambda entry: entry.parameters)
        text += (
            f" The smallest that reaches {words.points(target or 0.0)} has "
            f"{counted(smallest.parameters, 'parameter')} ({words.named(smallest)})."
        )
    return text + _not_drawn(summary)


def memory_front(summary: Summary, axis: Axis) -> str:
    """Accuracy against RAM or flash."""
    found, valid = front_against(summary, axis), len(summary.entries)
    (least, smallest), (most, best) = found[0], found[-1]
    text = (
        f"{len(found)} of {counted(valid, 'valid architecture')} {_are(len(found))} on the Pareto "
        f"front, from {least:,} {axis.unit} ({words.named(smallest)}) to {most:,} for the best "
        f"({words.named(best)}); of an int8 network, by formula."
    )
    return text + _not_drawn(summary)


def curves(summary: Summary) -> str:
    """Learning curves."""
    best = [entry for entry in summary.entries if entry.trial.curve][:CURVES]
    whose = f"The best {len(best)} over their" if len(best) > 1 else "The best over its"
    text = f"{whose} epochs, other complete and pruned trials in grey."
    late = [e for e in best if e.trial.best_epoch and e.trial.best_epoch < (e.trial.epochs or 0)]
    if late:
        text += (
            f" The last epoch counts, though {len(late)} of the {len(best)} had a higher one "
            "before: picking the best epoch would add luck."
        )
    return text


def history(summary: Summary) -> str:
    """Best so far over trials and over time."""
    ended = [t for t in summary.trials if t.outcome not in (Outcome.RUNNING, Outcome.WAITING)]
    best = best_so_far(summary, ended)
    improved = [
        (trial, value)
        for trial, value, before in zip(ended, best, [None, *best], strict=False)
        if value is not None and value != before
    ]
    if not improved:
        return "No trial counts as best yet; the strip below shows how the trials ended."
    (first, low), (last, high) = improved[0], improved[-1]
    value = words.percent if summary.measures_accuracy else words.rate
    if first is last:
        text = f"Trial {first.number} is the best so far with {value(low)}."
    else:
        text = (
            f"The best so far went from {value(low)} (trial {first.number}) to "
            f"{value(high)} (trial {last.number})."
        )
    after = sum(trial.number > last.number for trial in ended)
    if after:
        text += f" {counted(after, 'later trial')} did not beat it."
    if summary.measures_accuracy:
        complete = [trial.accuracy or 0.0 for trial in summary.trials if has_accuracy(trial)]
        text += _hidden(complete, history_range(summary)[0])
    return f"{text} Ticks below mark trials that were pruned, over budget or failed."


def history_over_time(summary: Summary) -> str:
    """The same over training time."""
    spent = words.duration(summary.training_seconds)
    return f"The same over training time ({spent} in all), in the order in which the trials ended."


def importance(summary: Summary) -> str:
    """Importance of the parameters."""
    measured = summary.importance
    if not measured.shares:
        return measured.reason
    return (
        f"How much more concentrated the best {100 * measured.top_share:.0f} % of the "
        f"{measured.trials:,} complete trials are in a parameter's range than all of them "
        "(PED-ANOVA). The sampler concentrates its later trials around the best so far, so a "
        "parameter without effect can stand out; and pruned trials are left out, so one that got "
        "trials pruned early can matter more than it shows."
    )


def parallel(summary: Summary) -> str:
    """Parallel coordinates."""
    text = "Each line is one valid architecture, the best tenth in colour"
    if len(summary.entries) > LINES:
        text += f", the best {LINES} of {len(summary.entries):,} are drawn"
    return f"{text}. Where coloured lines gather, the search has found what works."


def time(summary: Summary) -> str:
    """Where the time went."""
    spent = seconds_by_outcome(summary)
    total = sum(spent.values())
    if not total:
        return "No trial recorded how long it took."
    text = f"{words.duration(total)} of training"
    if summary.span_seconds:
        workers = total / summary.span_seconds
        text += f" in {words.duration(summary.span_seconds)} from first start to last end"
        if workers >= 1.2:
            text += f", {workers:.1f} trials at a time on average"
    pruned = summary.counts[Outcome.PRUNED]
    if pruned:
        share = spent.get(Outcome.PRUNED, 0.0) / total
        text += f". The {counted(pruned, 'pruned trial')} took {100 * share:.0f} % of it"
    over = summary.counts[Outcome.OVER_BUDGET]
    if over:
        seconds = spent.get(Outcome.OVER_BUDGET, 0.0)
        text += f". The {over:,} over budget took {words.duration(seconds)} in all, untrained"
    return f"{text}."


def cost(summary: Summary) -> str:
    """Cost of an epoch."""
    rates = sorted((t.seconds or 0.0) / (t.epochs or 1) for t in timed_trials(summary))
    if not rates:
        return ""
    return (
        f"An epoch took from {words.duration(rates[0])} to {words.duration(rates[-1])}; "
        "multiply-accumulates, not parameters, say how long."
    )


def _not_drawn(summary: Summary) -> str:
    accuracies = [entry.accuracy for entry in summary.entries]
    text = _hidden(accuracies, front_range(summary)[0])
    one_in = drawn_one_in(summary)
    return text if one_in == 1 else f"{text} Of those in grey one in {one_in} is drawn."


def _hidden(accuracies: list[float], lowest: float) -> str:
    below = sum(accuracy < lowest for accuracy in accuracies)
    if not below:
        return ""
    return f" {below:,} less accurate {'one lies' if below == 1 else 'ones lie'} below the axis."


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _is_ranked(summary: Summary) -> bool:
    return bool(summary.entries)


def _is_known(summary: Summary, axis: Axis) -> bool:
    return any(axis.of(entry) is not None for entry in summary.entries)


def _has_history(summary: Summary) -> bool:
    return any(has_accuracy(trial) for trial in summary.trials)


FIGURES = {
    "curves": Figure(
        draw=accuracy_figures.learning_curves,
        needs=lambda summary: any(entry.trial.curve for entry in summary.entries),
        sentence=curves,
        alternative="Line chart of validation accuracy over epochs for the best trials.",
    ),
    "front": Figure(
        draw=accuracy_figures.accuracy_against,
        needs=_is_ranked,
        sentence=front,
        alternative="Scatter chart of validation accuracy against parameters, with Pareto front.",
    ),
    **{
        name: Figure(
            draw=partial(accuracy_figures.accuracy_against, axis=axis),
            needs=partial(_is_known, axis=axis),
            sentence=partial(memory_front, axis=axis),
            alternative=f"Scatter chart of validation accuracy against {axis.title}.",
        )
        for name, axis in (("front-ram", RAM), ("front-flash", FLASH))
    },
    "history": Figure(
        draw=search_figures.history,
        needs=_has_history,
        sentence=history,
        alternative="Chart of each trial's accuracy and the best so far, over trials.",
    ),
    "history-time": Figure(
        draw=partial(search_figures.history, over_time=True),
        needs=lambda summary: _has_history(summary) and summary.training_seconds > 0,
        sentence=history_over_time,
        alternative="Chart of each trial's accuracy and the best so far, over training time.",
    ),
    "importance": Figure(
        draw=search_figures.importance,
        needs=lambda summary: bool(summary.importance.shares),
        sentence=importance,
        alternative="Bar chart of the importance of each searched parameter.",
    ),
    "parallel": Figure(
        draw=search_figures.parallel_coordinates,
        needs=lambda summary: sum(bool(entry.trial.params) for entry in summary.entries) > 1,
        sentence=parallel,
        alternative="Parallel coordinates of the searched parameters of valid architectures.",
    ),
    "time": Figure(
        draw=time_figures.time_by_outcome,
        needs=lambda summary: bool(time_figures.seconds_by_outcome(summary)),
        sentence=time,
        alternative="Bar chart of training time by how the trials ended.",
    ),
    "cost": Figure(
        draw=time_figures.cost,
        needs=lambda summary: bool(time_figures.timed_trials(summary)),
        sentence=cost,
        alternative="Scatter chart of seconds an epoch against multiply-accumulates.",
    ),
}
