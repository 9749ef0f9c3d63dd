"""The stages after a search: the shortlist, then the finalists; each goes on where it was ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from search.architecture.limits import Limits, recorded_limits
from search.common import values
from search.common.errors import UserError
from search.common.output import say
from search.common.text import counted
from search.data.problem import recorded_problem
from search.finals.retraining import ShortlistObjective
from search.finals.studies import queue, trainings
from search.reporting.constraints import at_least
from search.reporting.finalists import read_finalists
from search.reporting.pages.writing import write_reports
from search.reporting.shortlist import read_shortlist, says
from search.study import attributes
from search.study.companions import shortlist_of
from search.study.settings import Settings, commit, space_of_study
from search.study.storages.beside import CHECKPOINTS, folder_beside
from search.training.arithmetic import Arithmetic
from search.training.hardware import (
    default_stack,
    default_workers,
    resolve_device,
    use_bfloat16,
)
from search.workers.coordinator import coordinate
from search.workers.job import Job
from search.workers.local import LocalWorkers
from search.workers.placement import warm_up
from search.workers.training import training_by

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.console.terminal import Terminal
    from search.data.dataset import DataSource
    from search.finals.retraining import Retraining


def settings_of_study(
    study: optuna.Study,
    source: DataSource,
    space: Path | None = None,
    *,
    device: str,
    precision: str,
) -> Settings:
    """The study's settings on this machine's device.

    Args:
        study: The search's.
        source: The images that the user named.
        space: Where the space's file lies now; None: where it was.
        device: As the command line names it, ``auto`` included.
        precision: Likewise.

    Raises:
        UserError: If the study has none, or was about other images.
    """
    recorded = attributes.SETTINGS.of(study)
    dataset = values.mapping(recorded.get("dataset"))
    max_params, epochs, seed = (
        values.natural(recorded.get(name)) for name in ("max_params", "epochs", "seed")
    )
    if not dataset or not max_params or not epochs or seed is None:
        raise UserError(
            f"the study {study.study_name!r} holds nothing yet", "Run python search/run.py first"
        )
    if source.fingerprint != dataset.get("fingerprint"):
        raise UserError(
            f"the study used other images than {source.name}",
            "Give --data, and --image-size if the search had it",
        )
    device = resolve_device(device)
    return Settings(
        source=source,
        space_file=space_of_study(recorded, space),
        limits=Limits(**recorded_limits(recorded)),
        epochs=epochs,
        train_images=values.positive(dataset.get("train_images")),
        seed=seed,
        target=recorded_problem(recorded).target,
        device=device,
        arithmetic=Arithmetic(bfloat16=use_bfloat16(precision, device)),
        commit=commit(),
    )


@dataclass(frozen=True, kw_only=True)
class StageRunner:
    """Trains what is queued, by processes of this machine."""

    storage: str
    workers: int | None  # None: as many as the device has room for
    stack: int | None  # seeds that a worker trains as one network; None: as the device is best at
    console: Terminal

    def stack_of(self, seeds: int, device: str) -> int:
        """How many of an architecture's seeds a worker trains as one network on a device."""
        return min(self.stack or default_stack(device), seeds)

    def train(
        self, study: optuna.Study, settings: Settings, objective: type[Retraining], stack: int
    ) -> int:
        """Run the trainings that are queued in a study.

        Args:
            study: Of the finalists, or of the shortlist.
            settings: The search's.
            objective: Judges them.
            stack: So many seeds of an architecture a worker trains as one network.

        Returns:
            The exit code.
        """
        wanted = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.WAITING, TrialState.RUNNING)
        job = Job(
            storage=self.storage,
            study=study.study_name,
            trials=sum(t.state in wanted for t in study.get_trials(deepcopy=False)),
            sampler="random",
            pruner="none",
            seed=settings.seed,
            epochs=settings.epochs,
            validation_images=settings.source.validation_images,
            source=settings.source,
            judge=objective(settings),
            make_training=training_by(objective, settings),
            stack=stack,
            queue_only=True,
            checkpoints=folder_beside(self.storage, CHECKPOINTS),
        )
        warm_up(settings.arithmetic, settings.device)
        workers = self.workers or default_workers(settings.device)
        return coordinate(job, workers, self.console, start=LocalWorkers)


def choose(
    study: optuna.Study,
    ranked: list[tuple[int, FrozenTrial]],
    settings: Settings,
    seeds: int,
    runner: StageRunner,
) -> tuple[int, list[tuple[int, FrozenTrial]]]:
    """Train the shortlist again on the search's images; says what that gave.

    Args:
        study: The search's.
        ranked: The shortlist: trials with their places in the search.
        settings: The search's.
        seeds: Trainings of each.
        runner: Trains them.

    Returns:
        The exit code, and the shortlist with the best mean first.
    """
    stack = runner.stack_of(seeds, settings.device)
    entries = trainings(ranked, settings, seeds, kind="shortlist", stack=stack)
    again, missing = queue(study, entries, runner.storage, shortlist_of(study.study_name))
    if missing:
        each = counted(seeds, "seed")
        say(f"shortlist: the search's best {len(ranked)}, {each} each")
        code = runner.train(again, settings, ShortlistObjective, stack)
        if code:
            say("the finalists are not chosen yet; run the same command again to resume")
            return code, []
    of = {attributes.CANDIDATE.of(trial): (rank, trial) for rank, trial in ranked}
    searched = study.get_trials(deepcopy=False)
    found = read_shortlist(again.get_trials(deepcopy=False), searched)
    found = tuple(one for one in found if one.candidate in of)
    for one in found:
        say(
            f"{one.place:2}. {100 * one.mean:.3f} %  search {100 * one.search_accuracy:.2f}, fresh "
            f"{' '.join(f'{100 * value:.2f}' for value in one.fresh)}  "
            f"{one.parameters or 0:>6,} parameters  trial {one.search_trial}"
        )
    if found:
        say(says(found))
    retrained = [of[one.candidate] for one in found]
    return 0, retrained + [pair for pair in ranked if pair not in retrained]


def announce(
    study: optuna.Study,
    finals: optuna.Study,
    settings: Settings,
    reports: Path,
) -> None:
    """Print the finalists' table and verdict, and write the report."""
    found = read_finalists(
        finals.get_trials(deepcopy=False),
        attributes.OPENINGS.of(finals),
        target=settings.problem.target,
        order=attributes.CHOSEN.of(finals),
    )
    if found is None:
        say("no finalist is complete")
        return
    say()
    for one in found.entries:
        spread = "" if one.balanced is None else f"(balanced {100 * one.balanced:.3f} %) "
        if one.interval:
            spread += f"± {100 * (one.interval.high - one.interval.low) / 2:.3f} "
        reaching = ""
        if found.target is not None:
            reaching = f"{at_least(found.target)}: {one.reaching}  "
        say(
            f"{one.place:2}. {100 * one.mean:.3f} % {spread}({counted(len(one.runs), 'seed')})  "
            f"minimum {100 * one.minimum:.2f} %  {reaching}"
            f"{one.parameters or 0:>6,} parameters  {one.label}  {one.architecture}"
        )
        if one.adjusted:
            say(f"      {', '.join(one.adjusted)}")
        versus = one.against_next
        if versus is not None and versus.p is not None:
            words = "better than" if versus.distinguishable else "not distinguishable from"
            points = f"{100 * versus.difference:+.3f} points, p = {versus.p:.3f}"
            say(f"      {words} the next ({points})")
    write_reports(study, reports)
    say()
    say(f"Report: {reports / 'leaderboard.html'}")
