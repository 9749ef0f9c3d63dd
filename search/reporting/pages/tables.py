"""The leaderboard as data: CSV for a spreadsheet, JSON for a program."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from search.reporting.finalists import Finalists
from search.reporting.leaderboard import Summary
from search.reporting.ranking import Entry

COLUMNS = (
    "rank",
    "tied_with_rank",
    "trial",
    "validation_accuracy",
    "interval_low",
    "interval_high",
    "seeds",
    "seeds_low",
    "seeds_high",
    "expected_accuracy",
    "parameters",
    "macs",
    "epochs",
    "learning_rate",
    "dropout",
    "widths",
    "on_pareto_front",
    "passes_all_checks",
    "best_epoch",
    "best_accuracy",
    "validation_loss",
    "balanced_accuracy",
    "training_seconds",
    "label",
    "adjusted",
    "architecture",
)
FINALIST_COLUMNS = (
    *("place", "label", "kind", "search_rank", "search_trial", "parameters", "architecture"),
    *("seeds", "mean_test_accuracy", "interval_low", "interval_high", "minimum"),
    *("share_reaching_target", "difference_to_next", "p_against_next"),
    *("seed", "test_accuracy", "test_correct", "test_balanced_accuracy"),
)


def leaderboard_frame(summary: Summary) -> pd.DataFrame:
    """All valid architectures, best first; accuracies in [0, 1], rates as they were drawn.

    The accuracy is the mean of an architecture's seeds; ``interval`` is what other images would
    give, ``seeds_low`` to ``seeds_high`` the mean that more seeds would on these. What else is said
    of a training is its first seed's. Balanced accuracy is a column where the classes are uneven.
    The checks follow as one column each (True, False, None for unknown).
    """
    rows = [
        _row(entry) | {f"check: {check.name}": check.passed for check in entry.checks}
        for entry in summary.entries
    ]
    frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS), dtype=object)
    return _without_empty(frame, "balanced_accuracy")


def _without_empty(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.drop(columns=column) if len(frame) and frame[column].isna().all() else frame


def finalists_frame(finalists: Finalists) -> pd.DataFrame:
    """One row for each seed of each finalist, with the candidate's figures repeated."""
    rows = []
    for entry in finalists.entries:
        span, versus = entry.interval, entry.against_next
        shared = (
            *(entry.place, entry.label, "reference" if entry.is_reference else "finalist"),
            *(entry.search_rank, entry.search_trial, entry.parameters, entry.architecture),
            *(len(entry.runs), entry.mean, span and span.low, span and span.high),
            *(entry.minimum, entry.share_reaching),
            *(versus and versus.difference, versus and versus.p),
        )
        for run in entry.runs:
            row = (*shared, run.seed, run.accuracy, run.correct, run.balanced)
            rows.append([round(cell, 6) if isinstance(cell, float) else cell for cell in row])
    frame = pd.DataFrame(rows, columns=list(FINALIST_COLUMNS), dtype=object)
    frame = _without_empty(frame, "test_balanced_accuracy")
    return frame if finalists.target is not None else frame.drop(columns="share_reaching_target")


def to_csv(frame: pd.DataFrame) -> str:
    """A frame for a spreadsheet: ``yes`` and ``no``, and nothing where nothing is known."""
    return frame.map(_cell).to_csv(index=False, lineterminator="\n")


def to_json(summary: Summary) -> str:
    """The whole summary: every trial, the ranked ones with checks, layers and description.

    Times are ISO 8601; what is not known is null. ``format`` grows when a field changes meaning.
    """
    data = {"format": 4, **_plain(summary)}
    data["problem"]["classes"] = summary.problem.classes
    data["entries"] = [_entry(entry) for entry in summary.entries]
    for key, trials in (("trials", summary.trials), ("user_candidates", summary.user_candidates)):
        data[key] = [{"name": trial.name, **_plain(trial)} for trial in trials]
    data["references"] = [trial.name for trial in summary.references]
    best = summary.verdict.best
    data["verdict"]["best"] = None if best is None else best.trial.name
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _row(entry: Entry) -> dict[str, object]:
    trial, about = entry.trial, entry.description
    interval, over_seeds = entry.interval, entry.over_seeds
    return {
        "rank": entry.rank,
        "tied_with_rank": entry.tie if entry.tied else None,  # the first of its group
        "trial": trial.name,
        "validation_accuracy": round(entry.accuracy, 6),
        "interval_low": interval and round(interval.low, 6),
        "interval_high": interval and round(interval.high, 6),
        "seeds": len(entry.seeds),
        "seeds_low": over_seeds and round(over_seeds.low, 6),
        "seeds_high": over_seeds and round(over_seeds.high, 6),
        "expected_accuracy": round(entry.expected, 6),
        "parameters": entry.parameters,
        "macs": trial.macs,
        "epochs": trial.epochs,
        "learning_rate": about.learning_rate,
        "dropout": None if about.dropout is None else " ".join(map(str, about.dropout or (0,))),
        "widths": None if about.widths is None else " ".join(map(str, about.widths)),
        "on_pareto_front": entry.on_front,
        "passes_all_checks": entry.passes_all,
        "best_epoch": trial.best_epoch,
        "best_accuracy": trial.best_accuracy,
        "validation_loss": trial.validation_loss,
        "balanced_accuracy": entry.balanced and round(entry.balanced, 6),
        "training_seconds": trial.seconds and round(trial.seconds, 2),
        "label": trial.label,
        "adjusted": "; ".join(trial.adjusted),
        "architecture": trial.architecture,
    }


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")):
        return "'" + value  # or a spreadsheet would take it for a formula
    return value


def _entry(entry: Entry) -> dict[str, object]:
    """An entry that refers to its trials by name: they are listed once."""
    fields = {f.name: _plain(getattr(entry, f.name)) for f in dataclasses.fields(entry)}
    seeds = [trial.name for trial in entry.seeds]
    return {**fields, "trial": entry.trial.name, "seeds": seeds, "passes_all": entry.passes_all}


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (
                isinstance(value, Summary) and f.name in ("entries", "trials", "user_candidates")
            )
        }
    if isinstance(value, enum.Enum):
        return str(value)
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
