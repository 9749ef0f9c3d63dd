"""What an architecture must keep to be ranked, and what is asked of it one by one."""

from __future__ import annotations

from dataclasses import dataclass

from search.architecture.limits import demands
from search.common.text import counted
from search.reporting.candidates import HEADS, Description, dropout_text
from search.reporting.records import StudyLimits, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Check:
    """One constraint; ``passed`` is None where nothing recorded tells."""

    name: str
    passed: bool | None
    found: str


def why_not_valid(trial: TrialRecord, limits: StudyLimits, *, maximizes: bool = True) -> str:
    """Why a complete trial is not ranked, or the empty string for a valid architecture."""
    if not maximizes:
        return "of a study that does not maximise one value"
    if trial.accuracy is None or not 0.0 <= trial.accuracy <= 1.0:
        return "whose value is not an accuracy from 0 to 1"
    if trial.parameters is None:
        return "without a recorded parameter count"
    for kind, limit, count in demands(limits, trial):
        if count is None:
            return f"without recorded {kind.units}"
        if count > limit:
            return f"with more than {kind.words(limit)}"
    if trial.epochs is None:
        return "without a recorded number of epochs"
    if trial.epochs > limits.epochs:
        return f"with more than {counted(limits.epochs, 'epoch')}"
    return ""


def at_least(target: float) -> str:
    """What reaching a target is called, as a check and as a column: ``≥ 99.4 %``."""
    return f"≥ {100 * target:.4g} %"


def constraint_checks(
    trial: TrialRecord, description: Description, limits: StudyLimits
) -> tuple[Check, ...]:
    """What is asked of an architecture, each with what was found; of MNIST's the exercise's too."""
    rates = description.dropout
    head = description.head
    unknown = "not recorded"
    epochs, accuracy = trial.epochs, trial.accuracy
    of_exercise = [
        Check(
            name="BatchNorm",
            passed=description.batch_norm,
            found={True: "used", False: "not used", None: unknown}[description.batch_norm],
        ),
        Check(
            name="Dropout",
            passed=None if rates is None else bool(rates),
            found=unknown if rates is None else dropout_text(rates) if rates else "not used",
        ),
        Check(
            name="GAP or fully connected",
            passed=None if head is None else head in HEADS,
            found=unknown if head is None else HEADS.get(head, head),
        ),
    ]
    checks = [
        *(of_exercise if limits.exercise else ()),
        *(
            Check(
                name=f"≤ {kind.words(limit)}",
                passed=None if count is None else count <= limit,
                found=unknown if count is None else f"{count:,}",
            )
            for kind, limit, count in demands(limits, trial)
        ),
        Check(
            name=f"≤ {counted(limits.epochs, 'epoch')}",
            passed=None if epochs is None else epochs <= limits.epochs,
            found=unknown if epochs is None else str(epochs),
        ),
    ]
    if limits.target is not None:
        checks.append(
            Check(
                name=at_least(limits.target),
                passed=None if accuracy is None else accuracy >= limits.target,
                found=unknown if accuracy is None else f"{100 * accuracy:.2f} %",
            )
        )
    return tuple(checks)
