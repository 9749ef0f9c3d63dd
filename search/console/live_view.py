"""What a person sees while a search runs: a live view, or log lines where there is no terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from search.common.process_id import is_here
from search.common.text import clean, counted
from search.console.terminal import Terminal
from search.console.time_left import seconds_left
from search.reporting.architectures import Architecture, valid_architectures
from search.reporting.records import StudyLimits
from search.study import attributes
from search.study.shared import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STANDARD_LIMITS = StudyLimits()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial in training."""

    number: int
    worker: str
    epoch: int
    accuracy: float | None
    parameters: int | None
    architecture: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A study at one moment."""

    total: int
    complete: int
    pruned: int  # by the pruner
    over_budget: int
    failed: int
    running: list[Running]

    @property
    def finished(self) -> int:
        """Trials that count towards the total."""
        return self.complete + self.pruned + self.over_budget


def snapshot(trials: Sequence[FrozenTrial], total: int) -> Snapshot:
    """Count a study's trials."""
    by_state: dict[TrialState, list[FrozenTrial]] = {state: [] for state in TrialState}
    for trial in trials:
        by_state[trial.state].append(trial)
    over = [t for t in by_state[TrialState.PRUNED] if attributes.OVER_BUDGET.of(t)]
    return Snapshot(
        total=total,
        complete=len(by_state[TrialState.COMPLETE]),
        pruned=len(by_state[TrialState.PRUNED]) - len(over),
        over_budget=len(over),
        failed=sum(not attributes.LEFT_OUT.of(t) for t in by_state[TrialState.FAIL]),
        running=[_running(trial) for trial in by_state[TrialState.RUNNING]],
    )


def _running(trial: FrozenTrial) -> Running:
    epoch = max(trial.intermediate_values, default=0)
    return Running(
        number=trial.number,
        worker=worker_name(attributes.WORKER.of(trial) or ""),
        epoch=epoch,
        accuracy=trial.intermediate_values.get(epoch),
        parameters=attributes.PARAMETERS.of(trial),
        architecture=attributes.ARCHITECTURE.of(trial) or "starting",
    )


def worker_name(worker: str) -> str:
    """A trial's worker in short: its process, with the machine's name if that is another one."""
    parts = worker.rsplit(":", 2)
    if len(parts) < 3 or is_here(worker):
        return parts[-2:][0]
    return f"{parts[0].split('/')[0]} {parts[1]}"


class Progress:
    """Shows a running search; use as a context manager and call ``update`` about once a second.

    Args:
        console: Where to; a live view on a terminal, else one line for each trial that ended.
        epochs: The most epochs of a trial.
        workers: How many run side by side.
        limits: Of the study.
        most_seconds: Until it ends whatever is missing; None if it does not.
        clock: In seconds.
    """

    def __init__(
        self,
        console: Terminal,
        *,
        epochs: int,
        workers: int,
        limits: StudyLimits = STANDARD_LIMITS,
        most_seconds: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._most_seconds = most_seconds
        self._console = console
        self._epochs = epochs
        self._workers = workers
        self._clock = clock
        self._started = clock()
        self._seen: set[int] | None = None
        self._judged: set[int] = set()  # complete trials among which the best is known
        self._best = ""  # the leaderboard's first, in a line
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Progress:
        if self._console.is_interactive:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, trials: Sequence[FrozenTrial], total: int) -> None:
        """Show the study as it is now."""
        if self._console.is_interactive:
            self._live.update(self.view(trials, total), refresh=True)
        else:
            self._log(trials, snapshot(trials, total))

    def view(self, trials: Sequence[FrozenTrial], total: int) -> RenderableType:
        """The study as it is now, for a terminal."""
        self._find_best(trials)
        return self._view(snapshot(trials, total), self._left(trials, total))

    def _find_best(self, trials: Sequence[FrozenTrial]) -> None:
        """Rank anew when a trial is complete since the last time: many searches are long."""
        complete = {trial.number: trial for trial in trials if trial.state == TrialState.COMPLETE}
        if complete.keys() == self._judged:
            return
        self._judged = set(complete)
        for best in valid_architectures(complete.values(), self._limits)[:1]:
            self._best = standing(complete[best.first.number], best)

    def say(self, line: str) -> None:
        """Print a line above the live view, or among the log lines."""
        self._console.print(clean(line), soft_wrap=True)

    def _log(self, trials: Sequence[FrozenTrial], now: Snapshot) -> None:
        ended = {trial.number for trial in trials if trial.state.is_finished()}
        fresh = sorted(ended - self._seen) if self._seen is not None else []
        self._seen = ended
        by_number = {trial.number: trial for trial in trials}
        counting = {number for number in fresh if by_number[number].state in FINISHED}
        count = now.finished - len(counting)
        for number in fresh:
            count += number in counting
            left = self._left(trials, now.total)
            self.say(f"[{count}/{now.total}] {outcome(by_number[number])}{left}")

    def _left(self, trials: Sequence[FrozenTrial], total: int) -> str:
        seconds = seconds_left(trials, total, epochs=self._epochs, workers=self._workers)
        if not seconds:
            return ""
        most = self._most_seconds()
        seconds = seconds if most is None else min(seconds, most)
        return f" · about {duration(seconds)} left"

    def _view(self, now: Snapshot, left: str) -> RenderableType:
        counts = Text(
            f"{now.complete} complete · {now.pruned} pruned · "
            f"{now.over_budget} over budget · {now.failed} failed"
        )
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(f"{now.finished}/{counted(now.total, 'trial')}", style="bold"),
            ProgressBar(total=now.total, completed=now.finished, width=30),
            Text(f"{duration(self._clock() - self._started)}{left}"),
        )
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("worker", "trial", "epoch", "accuracy", "parameters"):
            table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
        table.add_column("architecture", no_wrap=True, overflow="ellipsis", ratio=1)
        for row in now.running:
            table.add_row(
                row.worker,
                str(row.number),
                f"{row.epoch}/{self._epochs}",
                percent(row.accuracy),
                f"{row.parameters:,}" if row.parameters else "–",
                Text(row.architecture),
            )
        best = Text("best so far: ", style="bold")
        best.append(self._best or "none yet", style="green")
        return Group(head, counts, Text(), table, Text(), best)


def standing(trial: FrozenTrial, architecture: Architecture) -> str:
    """One line on an architecture: that of its first trial, with the mean of all its seeds."""
    seeds = len(architecture.seeds)
    mean = _accuracy(architecture.mean, architecture.balanced)
    return outcome(trial, f"{mean} over {seeds} seeds" if seeds > 1 else "")


def outcome(trial: FrozenTrial, accuracy: str = "") -> str:
    """One line on how a trial ended.

    Args:
        trial: That ended.
        accuracy: In place of its own.
    """
    reason, parameters = attributes.REASON.of(trial), attributes.PARAMETERS.of(trial)
    seconds = attributes.SECONDS.of(trial)
    parts = [f"trial {trial.number}"]
    if trial.state == TrialState.COMPLETE:
        own = _accuracy(trial.value, attributes.BALANCED_ACCURACY.of(trial))
        parts.append(accuracy or own)
    elif trial.state == TrialState.PRUNED:
        parts.append("pruned, " + reason)
    else:
        parts.append(reason or trial.state.name.lower())
    first = attributes.SEED_OF.of(trial)
    if first is not None:
        parts.append(f"another seed of trial {first}")
    if parameters and not attributes.OVER_BUDGET.of(trial):
        parts.append(f"{parameters:,} parameters")
    if seconds is not None:
        parts.append(f"{seconds:.0f} s")
    parts += attributes.ADJUSTED.of(trial)
    parts.append(attributes.ARCHITECTURE.of(trial))
    return " · ".join(part for part in parts if part)


def _accuracy(accuracy: float | None, balanced: float | None) -> str:
    beside = "" if balanced is None else f" (balanced {percent(balanced)})"
    return percent(accuracy) + beside


def percent(accuracy: float | None) -> str:
    """An accuracy in [0, 1] as a percentage."""
    return "–" if accuracy is None else f"{100 * accuracy:.2f} %"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"
