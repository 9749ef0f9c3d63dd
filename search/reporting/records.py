"""Trials as a report needs them: typed, finite, and tolerant of studies that are not ours."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.architecture.limits import Counts, Limits, demands, recorded_limits
from search.architecture.references import REFERENCES
from search.common.values import integer, number, positive, text
from search.data.problem import recorded_problem
from search.study import attributes

REFERENCE = "reference:"  # what the label of a reference system's trial begins with
STAND_IN = " (stand-in)"


class Outcome(enum.StrEnum):
    """How a trial ended, or that it has not."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    OVER_BUDGET = "over budget"
    FAILED = "failed"
    LEFT_OUT = "left out"  # its study goes on with a space that does not have it
    INTERRUPTED = "interrupted"  # of older studies; its candidate is tried again as another trial
    RUNNING = "running"
    WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class StudyLimits(Limits):
    """What the study demands; a limit that the study did not record is the tool's default."""

    epochs: int = 20
    target: float | None = None  # accuracy in [0, 1]; None: nobody has asked for one
    train_images: int | None = None  # None: not recorded
    validation_images: int | None = None  # None: not recorded, so no interval can be given
    exercise: bool = True  # MNIST's: BatchNorm, dropout, and GAP or a fully connected layer
    assumed: tuple[str, ...] = ()  # which of the above are defaults for want of a record


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial. None means: not recorded, or recorded as something unusable (NaN, wrong type)."""

    number: int
    outcome: Outcome
    accuracy: float | None  # the trial's value: of a pruned trial the last one reported
    curve: tuple[tuple[int, float], ...]  # (epoch, validation accuracy), finite ones only
    parameters: int | None
    macs: int | None
    peak_activation_bytes: int | None
    flash_bytes: int | None
    epochs: int | None
    seconds: float | None  # training time; from start to end where it was not recorded
    started: datetime | None
    ended: datetime | None
    best_epoch: int | None
    best_accuracy: float | None
    validation_loss: float | None
    balanced_accuracy: float | None  # where some classes have many more images than others
    seed: int | None
    architecture: str
    reason: str
    label: str
    worker: str
    device: str
    candidate: str | None  # the candidate's JSON, unread
    layers: tuple[object, ...] = ()  # rows of its layer table, unread; empty where JSON tells
    recipe: Mapping[str, object] = field(default_factory=dict)  # likewise
    modules: Mapping[str, object] = field(default_factory=dict)  # likewise: kinds and dropout
    params: Mapping[str, object] = field(default_factory=dict)
    adjusted: tuple[str, ...] = ()  # what was trained otherwise than its recipe asks, in words
    by_user: bool = False  # of the study beside the search's, which counts its own trials

    @property
    def name(self) -> str:
        """As a reader sees it: ``17``, or ``h3`` for the fourth of a user's candidates."""
        return f"h{self.number}" if self.by_user else str(self.number)

    @property
    def is_reference(self) -> bool:
        """Whether this is one of the hand-made systems, enqueued for comparison."""
        return self.label.startswith(REFERENCE)

    @property
    def is_found(self) -> bool:
        """Whether the search came upon this itself."""
        return not self.by_user and not self.is_reference

    @property
    def reference(self) -> str:
        """The name of the reference system, said to be a stand-in where it is one.

        Of another trial its name and label: several files may have one label.
        """
        if self.is_reference:
            return self.label.removeprefix(REFERENCE).strip()
        return f"{self.name} {self.label}".strip()


def read_limits(settings: object) -> StudyLimits:
    """The limits in a study's recorded settings; a target that is not recorded is not made up."""
    recorded = settings if isinstance(settings, Mapping) else {}
    dataset = recorded.get("dataset")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    limits: dict[str, Any] = dict(recorded_limits(recorded))
    epochs = integer(recorded.get("epochs"))
    missing = {"max_params": "max_params" not in limits, "epochs": epochs is None}
    return StudyLimits(
        **limits,
        epochs=StudyLimits.epochs if epochs is None else epochs,
        target=recorded_problem(settings).target,
        exercise=recorded_problem(settings).is_mnist,
        train_images=positive(dataset.get("train_images")),
        validation_images=positive(dataset.get("validation_images")),
        assumed=tuple(name for name, is_missing in missing.items() if is_missing),
    )


def read_trials(
    trials: Iterable[FrozenTrial], limits: StudyLimits, *, by_user: bool = False
) -> tuple[TrialRecord, ...]:
    """All trials as records, in the order of their numbers."""
    ordered = sorted(trials, key=lambda trial: trial.number)
    found = tuple(_record(trial, limits, by_user) for trial in ordered)
    if limits.max_flash is None:
        return found
    from search.reporting.candidates import flash_of  # which knows records

    return tuple(replace(one, flash_bytes=flash_of(one)) for one in found)  # of older studies too


def latest_attempts(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Of trials of one candidate and label the last: earlier ones were interrupted or failed."""
    last = {(trial.label, trial.candidate): trial for trial in trials}
    return tuple(sorted(last.values(), key=lambda trial: trial.number))


def _record(trial: FrozenTrial, limits: StudyLimits, by_user: bool) -> TrialRecord:
    curve = tuple(
        (int(epoch), float(value))
        for epoch, value in sorted(trial.intermediate_values.items())
        if number(value) is not None
    )
    epochs = attributes.EPOCHS.of(trial)
    if epochs is None and curve:
        epochs = curve[-1][0]
    seconds = attributes.SECONDS.of(trial)
    started, ended = trial.datetime_start, trial.datetime_complete
    if seconds is None and started is not None and ended is not None:
        seconds = max(0.0, (ended - started).total_seconds())
    values = list(trial.values or [])
    candidate = attributes.USER_CANDIDATE.of(trial) or attributes.CANDIDATE.of(trial)
    record = TrialRecord(
        number=trial.number,
        outcome=Outcome.WAITING,
        accuracy=number(values[0]) if len(values) == 1 else None,
        curve=curve,
        parameters=attributes.PARAMETERS.of(trial),
        macs=attributes.MACS.of(trial),
        peak_activation_bytes=attributes.PEAK_BYTES.of(trial),
        flash_bytes=attributes.FLASH_BYTES.of(trial),
        epochs=epochs,
        seconds=seconds,
        started=started,
        ended=ended,
        best_epoch=attributes.BEST_EPOCH.of(trial),
        best_accuracy=attributes.BEST_ACCURACY.of(trial),
        validation_loss=attributes.VALIDATION_LOSS.of(trial),
        balanced_accuracy=attributes.BALANCED_ACCURACY.of(trial),
        seed=attributes.SEED.of(trial),
        architecture=attributes.ARCHITECTURE.of(trial),
        reason=attributes.REASON.of(trial),
        label=reference_label(attributes.LABEL.of(trial)),
        worker=text(attributes.WORKER.of(trial)),
        device=attributes.DEVICE.of(trial),
        candidate=candidate,
        layers=tuple(attributes.LAYERS.of(trial)),
        recipe=attributes.RECIPE.of(trial),
        modules=attributes.MODULES.of(trial),
        params=dict(trial.params),
        adjusted=attributes.ADJUSTED.of(trial),
        by_user=by_user,
    )
    return replace(record, outcome=_outcome(trial, record, limits))


def reference_label(recorded: object) -> str:
    """The recorded label; a reference whose layout is not known is always called a stand-in."""
    label = text(recorded)
    known = REFERENCES.get(label.removeprefix(REFERENCE).strip())
    stands_in = label.startswith(REFERENCE) and known is not None and not known.exact
    return label + STAND_IN if stands_in else label


def _outcome(trial: FrozenTrial, counts: Counts, limits: StudyLimits) -> Outcome:
    if trial.state == TrialState.PRUNED:
        over = attributes.OVER_BUDGET.of(trial)
        if over is None:  # not recorded: judge by the limits, as the gate does
            over = any((count or 0) > limit for _, limit, count in demands(limits, counts))
        return Outcome.OVER_BUDGET if over else Outcome.PRUNED
    if trial.state == TrialState.FAIL and attributes.LEFT_OUT.of(trial):
        return Outcome.LEFT_OUT
    if trial.state == TrialState.FAIL and attributes.RETRIED.of(trial):
        return Outcome.INTERRUPTED
    return {
        TrialState.COMPLETE: Outcome.COMPLETE,
        TrialState.FAIL: Outcome.FAILED,
        TrialState.RUNNING: Outcome.RUNNING,
        TrialState.WAITING: Outcome.WAITING,
    }[trial.state]
