"""What a coordinator is to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from search.workers.stopping import Stopping

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from search.architecture.limits import Limits
    from search.data.dataset import DataSource
    from search.study.judge import Judge
    from search.workers.messages import MakeTraining


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done to a study that exists."""

    storage: str
    study: str
    trials: int  # finished trials that the study shall hold
    sampler: str
    pruner: str
    seed: int
    epochs: int
    validation_images: int  # that a reported accuracy is counted on
    source: DataSource
    judge: Judge  # the objective's part in this process
    make_training: MakeTraining  # and in the workers
    stopping: Stopping = field(default_factory=Stopping)  # what ends it before it has all trials
    known: Sequence[FrozenTrial] = ()  # trials of other studies for the sampler to learn from
    limits: Limits | None = None  # where they have changed: for the sampler to judge trials anew
    stack: int = 1  # seeds of a candidate that a worker trains as one network
    queue_only: bool = False  # start what is queued; the sampler draws nothing
    checkpoints: Path | None = None  # folder of the states of running trials; None: in memory
    weights: Path | None = None  # folder of the networks of complete ones; None: not kept
