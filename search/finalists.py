"""Retrains the best architectures of a search on fresh seeds and tests each once.

    python search/finalists.py                            the best 5, 5 seeds, and the references
    python search/finalists.py --top 3 --seeds 10         go on: only what is missing is trained
    python search/finalists.py --storage small.db --no-references

The search's best values are partly luck. So the best 10 are first trained again, twice each, on
the images of the search, and the means choose the finalists. These are trained on all training
images, each with its own recipe, and tested after the last epoch. This is the only command that
opens the test images; when it did, and how often for a study, is recorded and shown in the report.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports the rest: its end, without a traceback
    sys.excepthook = lambda kind, *of: (
        None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *of)
    )

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(ROOT)

from search.common.errors import UserError
from search.common.output import say
from search.common.text import counted
from search.console.arguments import (
    HelpFormatter,
    Parser,
    add_device,
    add_workers,
    check_directory,
    path_name,
    run_command,
    seed_count,
    storage_name,
    whole,
)
from search.study import attributes
from search.study.storages.opening import DEFAULT_STORAGE

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from objective import Settings
    from search.console.terminal import Terminal
    from search.finals.retraining import Retraining


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="finalists.py", description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    add(
        "--top",
        type=whole(1, 1_000),
        default=5,
        metavar="K",
        help="best distinct valid architectures",
    )
    add("--seeds", type=seed_count, default=5, metavar="N", help="trainings of each")
    add(
        "--shortlist",
        type=whole(0, 1_000),
        default=10,
        metavar="M",
        help="so many are trained again on the search's images to choose those K; 0: its values do",
    )
    add(
        "--shortlist-seeds",
        type=seed_count,
        default=2,
        metavar="N",
        help="trainings of each for that choice",
    )
    add(
        "--references",
        action=argparse.BooleanOptionalAction,
        help="also the public reference systems within the study's limits, or not; default: on "
        "MNIST, which they are for",
    )
    add(
        "--reference-seeds",
        type=seed_count,
        metavar="N",
        help="trainings of each reference; default: as many as --seeds",
    )
    add_workers(parser)
    add_device(parser)
    add(
        "--data",
        type=path_name,
        metavar="DIR",
        help="directory of the data set that the study used; default: MNIST",
    )
    add(
        "--storage",
        type=storage_name,
        default=DEFAULT_STORAGE,
        metavar="FILE|URL",
        help="SQLite file or database URL; default: study.db in the project's root",
    )
    add("--study", metavar="NAME", help="name within the storage; default: the only one")
    add(
        "--reports",
        type=path_name,
        default=ROOT / "reports",
        metavar="DIR",
        help="where the report goes; default: reports/ in the project's root",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Retrain and test; returns the exit code."""
    options = parse(arguments)

    import optuna

    from search.architecture.references import expressible
    from search.console.terminal import Terminal
    from search.finals.studies import check, distinct, queue, stamp, trainings
    from search.finals.user_candidates import check_references
    from search.reporting.pages.files import check_report
    from search.reporting.records import read_limits
    from search.study.companions import finalists_of, shortlist_of
    from search.study.storages.opening import open_study, refuse_foreign

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Terminal()
    check_directory(options.reports, "--reports")
    check_report(options.reports)
    study = open_study(options.storage, options.study, read_only=True)
    beside = (shortlist_of(study.study_name), finalists_of(study.study_name))
    refuse_foreign(options.storage, study.study_name, *beside)
    settings = settings_of(study, options)
    references = options.references
    if references:
        check_references(settings.problem)
    elif references is None:
        references = settings.problem.is_mnist and expressible()
    say(settings.source.description)
    trials = study.get_trials(deepcopy=False)
    limits = read_limits(study.user_attrs.get("settings"))
    ranked = distinct(trials, max(options.top, options.shortlist), limits)
    if not ranked:
        raise UserError(
            f"the study {study.study_name!r} has no complete trial within its limits",
            "Search on first, with the options that it was begun with",
        )
    check(settings)
    if len(ranked) > options.top and options.shortlist:
        code, ranked = choose(study, ranked, settings, options, console)
        if code:
            return code
    reference_seeds = (options.reference_seeds or options.seeds) if references else 0
    entries = trainings(
        ranked[: options.top], settings, options.seeds, reference_seeds=reference_seeds
    )
    finals, missing = queue(study, entries, options.storage, finalists_of(study.study_name))
    code = 0
    if missing:
        from search.finals.final_objective import FinalObjective

        stamp(finals, settings)
        code = train(finals, settings, options, console, FinalObjective)
    announce(study, finals, settings, options.reports)
    return code


def choose(
    study: optuna.Study,
    ranked: list[tuple[int, FrozenTrial]],
    settings: Settings,
    options: argparse.Namespace,
    console: Terminal,
) -> tuple[int, list[tuple[int, FrozenTrial]]]:
    """Train the shortlist again on the search's images; says what that gave.

    Args:
        study: The search's.
        ranked: The shortlist: trials with their places in the search.
        settings: The search's.
        options: Of the command.
        console: Shows the progress.

    Returns:
        The exit code, and the shortlist with the best mean first.
    """
    from search.finals.retraining import ShortlistObjective
    from search.finals.studies import queue, trainings
    from search.reporting.shortlist import read_shortlist, says
    from search.study.companions import shortlist_of

    entries = trainings(ranked, settings, options.shortlist_seeds, kind="shortlist")
    again, missing = queue(study, entries, options.storage, shortlist_of(study.study_name))
    if missing:
        seeds = counted(options.shortlist_seeds, "seed")
        say(f"shortlist: the search's best {len(ranked)}, {seeds} each")
        code = train(again, settings, options, console, ShortlistObjective)
        if code:
            say("the finalists are not chosen yet; the same command goes on from here")
            return code, []
    of = {attributes.CANDIDATE.of(trial): (rank, trial) for rank, trial in ranked}
    found = read_shortlist(again.get_trials(deepcopy=False), [trial for _, trial in ranked])
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


def settings_of(study: optuna.Study, options: argparse.Namespace) -> Settings:
    """The study's settings on this machine's device.

    Raises:
        UserError: If the study has none, or was about other images.
    """
    from objective import Limits, Settings
    from search.data.problem import recorded_problem
    from search.data.sources import locate
    from search.study.settings import commit
    from search.training.arithmetic import Arithmetic
    from search.training.hardware import resolve_device, use_bfloat16

    recorded = attributes.SETTINGS.of(study)
    dataset = attributes.mapping(recorded.get("dataset"))
    max_params, epochs, seed = (
        attributes.natural(recorded.get(name)) for name in ("max_params", "epochs", "seed")
    )
    if not dataset or not max_params or not epochs or seed is None:
        raise UserError(
            f"the study {study.study_name!r} holds nothing yet", "Run python search/run.py first"
        )
    source = locate(options.data)
    if source.fingerprint != dataset.get("fingerprint"):
        raise UserError(
            f"the study was about other images than {source.name}",
            "Name their directory with --data",
        )
    device = resolve_device(options.device)
    return Settings(
        source=source,
        limits=Limits(
            max_params=max_params, max_macs=attributes.positive(recorded.get("max_macs"))
        ),
        epochs=epochs,
        train_images=attributes.positive(dataset.get("train_images")),
        seed=seed,
        target=recorded_problem(recorded).target,
        device=device,
        arithmetic=Arithmetic(bfloat16=use_bfloat16(options.precision, device)),
        commit=commit(ROOT),
    )


def train(
    study: optuna.Study,
    settings: Settings,
    options: argparse.Namespace,
    console: Terminal,
    objective: type[Retraining],
) -> int:
    """Run the trainings that are queued in a study; returns the exit code."""
    from optuna.trial import TrialState

    from search.data.dataset import load_training
    from search.study.storages.beside import CHECKPOINTS, folder_beside
    from search.training.hardware import default_workers
    from search.workers.coordinator import coordinate
    from search.workers.job import Job
    from search.workers.local import LocalWorkers
    from search.workers.placement import warm_up
    from search.workers.training import training_by

    wanted = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.WAITING, TrialState.RUNNING)
    job = Job(
        storage=options.storage,
        study=study.study_name,
        trials=sum(t.state in wanted for t in study.get_trials(deepcopy=False)),
        sampler="random",
        pruner="none",
        seed=settings.seed,
        epochs=settings.epochs,
        validation_images=len(load_training(settings.source)[1]),
        source=settings.source,
        judge=objective(settings),
        make_training=training_by(objective, settings),
        queue_only=True,
        checkpoints=folder_beside(options.storage, CHECKPOINTS),
    )
    warm_up(settings.arithmetic, settings.device)
    workers = options.workers or default_workers(settings.device)
    return coordinate(job, workers, console, start=LocalWorkers)


def announce(
    study: optuna.Study,
    finals: optuna.Study,
    settings: Settings,
    reports: Path,
) -> None:
    """Print the finalists' table and verdict, and write the report."""
    from search.report import write_reports
    from search.reporting.constraints import at_least
    from search.reporting.finalists import read_finalists
    from search.study.companions import OPENINGS

    found = read_finalists(
        finals.get_trials(deepcopy=False),
        finals.user_attrs.get(OPENINGS),
        target=settings.problem.target,
    )
    if found is None:
        say("no finalist is complete")
        return
    say()
    for one in found.entries:
        spread = ""
        if one.interval:
            spread = f"± {100 * (one.interval.high - one.interval.low) / 2:.3f} "
        reaching = ""
        if found.target is not None:
            reaching = f"{at_least(found.target)}: {one.reaching}  "
        say(
            f"{one.place:2}. {100 * one.mean:.3f} % {spread}({counted(len(one.runs), 'seed')})  "
            f"least {100 * one.minimum:.2f} %  {reaching}"
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


if __name__ == "__main__":
    run_command(main)
