"""Trials as a report needs them: typed, finite, and tolerant of studies that are not ours."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from search.architecture.references import REFERENCES
from search.data.problem import recorded_problem
from search.study.attributes import integer, number, positive, text
from search.study.companions import HANDED_IN
from search.training.recipe import adjusted_of

REFERENCE = "reference:"  # what the label of a reference system's trial begins with
STAND_IN = " (stand-in)"


class Outcome(enum.StrEnum):
    """How a trial ended, or that it has not."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    OVER_BUDGET = "over budget"
    FAILED = "failed"
    CUT = "cut"  # interrupted or killed; its candidate is tried again as another trial
    RUNNING = "running"
    WAITING = "waiting"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the study demands; a limit that the study did not record is the tool's default."""

    max_params: int = 20_000
    max_macs: int | None = None
    epochs: int = 20
    target: float | None = None  # accuracy in [0, 1]; None: nobody has asked for one
    train_images: int | None = None  # None: not recorded
    validation_images: int | None = None  # None: not recorded, so no interval can be given
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
    epochs: int | None
    seconds: float | None  # training time; from start to end where it was not recorded
    started: datetime | None
    ended: datetime | None
    best_epoch: int | None
    best_accuracy: float | None
    validation_loss: float | None
    seed: int | None
    architecture: str
    reason: str
    label: str
    worker: str
    device: str
    candidate: str | None  # the candidate's JSON, unread
    params: Mapping[str, object] = field(default_factory=dict)
    adjusted: tuple[str, ...] = ()  # what was trained otherwise than its recipe asks, in words
    handed_in: bool = False  # of the study beside the search's, which counts its own trials

    @property
    def name(self) -> str:
        """The number as a reader sees it: ``17``, or ``h3`` for the fourth that was handed in."""
        return f"h{self.number}" if self.handed_in else str(self.number)

    @property
    def is_reference(self) -> bool:
        """Whether this is one of the hand-made systems, enqueued for comparison."""
        return self.label.startswith(REFERENCE)

    @property
    def is_found(self) -> bool:
        """Whether the search came upon this itself."""
        return not self.handed_in and not self.is_reference

    @property
    def reference(self) -> str:
        """The name of the reference system, said to be a stand-in where it is one.

        Of another trial its name and label: several files may have one label.
        """
        if self.is_reference:
            return self.label.removeprefix(REFERENCE).strip()
        return f"{self.name} {self.label}".strip()


def read_limits(settings: object) -> Limits:
    """The limits in a study's recorded settings; a target that is not recorded is not made up."""
    recorded = settings if isinstance(settings, Mapping) else {}
    dataset = recorded.get("dataset")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    max_params = integer(recorded.get("max_params"))
    epochs = integer(recorded.get("epochs"))
    missing = {"max_params": max_params is None, "epochs": epochs is None}
    default = Limits()
    return Limits(
        max_params=default.max_params if max_params is None else max_params,
        max_macs=integer(recorded.get("max_macs")),
        epochs=default.epochs if epochs is None else epochs,
        target=recorded_problem(settings).target,
        train_images=positive(dataset.get("train_images")),
        validation_images=positive(dataset.get("validation_images")),
        assumed=tuple(name for name, is_missing in missing.items() if is_missing),
    )


def read_trials(
    trials: Iterable[FrozenTrial], limits: Limits, *, handed_in: bool = False
) -> tuple[TrialRecord, ...]:
    """All trials as records, in the order of their numbers."""
    ordered = sorted(trials, key=lambda trial: trial.number)
    return tuple(_record(trial, limits, handed_in) for trial in ordered)


def latest_attempts(trials: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Of trials of one candidate under one label the last: earlier ones were cut or failed."""
    last = {(trial.label, trial.candidate): trial for trial in trials}
    return tuple(sorted(last.values(), key=lambda trial: trial.number))


def _record(trial: FrozenTrial, limits: Limits, handed_in: bool) -> TrialRecord:
    attrs = trial.user_attrs
    parameters = positive(attrs.get("parameters"))
    macs = positive(attrs.get("macs"))
    curve = tuple(
        (int(epoch), float(value))
        for epoch, value in sorted(trial.intermediate_values.items())
        if number(value) is not None
    )
    epochs = positive(attrs.get("epochs"))
    if epochs is None and curve:
        epochs = curve[-1][0]
    seconds = number(attrs.get("seconds"))
    started, ended = trial.datetime_start, trial.datetime_complete
    if seconds is None and started is not None and ended is not None:
        seconds = max(0.0, (ended - started).total_seconds())
    values = list(trial.values or [])
    candidate = attrs.get(HANDED_IN, attrs.get("candidate"))
    return TrialRecord(
        number=trial.number,
        outcome=_outcome(trial, parameters, macs, limits),
        accuracy=number(values[0]) if len(values) == 1 else None,
        curve=curve,
        parameters=parameters,
        macs=macs,
        peak_activation_bytes=positive(attrs.get("peak_activation_bytes")),
        epochs=epochs,
        seconds=seconds,
        started=started,
        ended=ended,
        best_epoch=positive(attrs.get("best_epoch")),
        best_accuracy=number(attrs.get("best_accuracy")),
        validation_loss=number(attrs.get("validation_loss")),
        seed=integer(attrs.get("seed")),
        architecture=text(attrs.get("architecture")),
        reason=text(attrs.get("reason")),
        label=reference_label(attrs.get("label")),
        worker=text(attrs.get("worker")),
        device=text(attrs.get("device")),
        candidate=candidate if isinstance(candidate, str) else None,
        params=dict(trial.params),
        adjusted=adjusted_of(attrs),
        handed_in=handed_in,
    )


def reference_label(recorded: object) -> str:
    """The recorded label; a reference whose layout is not known is always called a stand-in."""
    label = text(recorded)
    known = REFERENCES.get(label.removeprefix(REFERENCE).strip())
    stands_in = label.startswith(REFERENCE) and known is not None and not known.exact
    return label + STAND_IN if stands_in else label


def _outcome(
    trial: FrozenTrial, parameters: int | None, macs: int | None, limits: Limits
) -> Outcome:
    if trial.state == TrialState.PRUNED:
        over = trial.user_attrs.get("over_budget")
        if not isinstance(over, bool):  # not recorded: judge by the limits, as the gate does
            over = (parameters or 0) > limits.max_params or (
                limits.max_macs is not None and (macs or 0) > limits.max_macs
            )
        return Outcome.OVER_BUDGET if over else Outcome.PRUNED
    if trial.state == TrialState.FAIL and trial.user_attrs.get("retried") is True:
        return Outcome.CUT
    return {
        TrialState.COMPLETE: Outcome.COMPLETE,
        TrialState.FAIL: Outcome.FAILED,
        TrialState.RUNNING: Outcome.RUNNING,
        TrialState.WAITING: Outcome.WAITING,
    }[trial.state]
