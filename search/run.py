"""Searches for the best networks under the limits; run it again to go on.

    python search/run.py --trials 100               the search, about an hour on two cores
    python search/run.py --trials 6 --epochs 2      a quick look, two minutes
    python search/run.py --trials 200               go on with the same study
    python search/run.py --trials 500 --hours 8 --stop-after-stall 50
    python search/run.py --max-params 5000 --storage small.db
    python search/run.py --max-params 2500 --storage less.db --from small.db
    python search/run.py --space mine.py --storage mine.db      networks of your own
    python search/run.py --references               train the reference systems for comparison
    python search/run.py --candidate mine.json      train a candidate of your own likewise
    python search/run.py --data cifar10             another data set; for your own images see --data
    python search/run.py --cluster auto --storage postgresql+psycopg://...   see docs/cluster.md

Watch it meanwhile with: optuna-dashboard sqlite:///study.db
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports the rest: its end, without a traceback
    sys.excepthook = lambda kind, *of: (
        None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *of)
    )

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(ROOT)

from search.common.command_lines import command_line
from search.common.errors import UserError
from search.common.output import complain, say
from search.common.text import counted
from search.console.arguments import (
    MOST_WORKERS,
    HelpFormatter,
    Parser,
    add_data,
    add_device,
    add_space,
    add_stack,
    add_workers,
    changed,
    check_directory,
    hours,
    natural,
    path_name,
    percentage,
    positive,
    run_command,
    storage_name,
    study_name,
    trial_count,
    whole,
)
from search.study.attributes import SETTINGS
from search.study.storages.opening import DEFAULT_STORAGE, DEFAULT_STUDY
from search.training.hardware import SEEDS_PER_RACE, default_stack
from search.training.recipe import MOST_EPOCHS

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from objective import Settings
    from search.architecture.spaces import SpaceFile
    from search.console.terminal import Terminal
    from search.data.dataset import DataSource
    from search.workers.job import Job
    from search.workers.placement import Placement
    from search.workers.stopping import Stopping


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="run.py", description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    # How much
    add(
        "--trials",
        type=trial_count,
        default=100,
        metavar="N",
        help="total of finished trials in the study; pruned and over-budget ones count",
    )
    add(
        "--hours",
        type=hours,
        metavar="H",
        help="stop after H hours; the same command resumes; default: no limit",
    )
    add(
        "--stop-after-stall",
        type=trial_count,
        metavar="K",
        help="stop after K finished trials in a row with no better architecture; default: never",
    )
    add(
        "--target-reached",
        action="store_true",
        help="end when the best architecture is expected to reach the target with another seed",
    )
    add(
        "--epochs",
        type=whole(1, MOST_EPOCHS),
        default=20,
        metavar="N",
        help="most epochs of a trial",
    )
    add_workers(parser, MOST_WORKERS)
    more = "; where the racing sampler wants another seed of a candidate, it gets so many"
    add_stack(parser, SEEDS_PER_RACE, more)
    add(
        "--cluster",
        metavar="ADDRESS",
        help="have Ray place the workers: host:port of a cluster's head, auto for the cluster of "
        "this machine, local to start Ray here; default: processes of this machine",
    )
    add(
        "--from",
        type=study_name,
        nargs="+",
        action="extend",
        default=[],
        metavar="STUDY.db",
        help="begin with the best candidates of other studies, files or URLs, and let the sampler "
        "learn from all of them; FILE::NAME picks one study of several; default: none",
    )
    # What, instead of searching
    add(
        "--candidate",
        type=path_name,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="train the candidates in these JSON files under the study's settings, then exit; "
        "default: none",
    )
    add(
        "--references",
        action="store_true",
        help="train the public reference systems for MNIST under the study's settings, then exit",
    )
    # Limits
    add(
        "--max-params",
        type=positive,
        default=20_000,
        metavar="N",
        help="most trainable parameters, inclusive",
    )
    add(
        "--max-macs",
        type=positive,
        metavar="N",
        help="most multiply-accumulates of one image; default: no limit",
    )
    add(
        "--max-ram",
        type=positive,
        metavar="BYTES",
        help="most bytes of activations at the peak of one image, int8; default: no limit",
    )
    add(
        "--max-flash",
        type=positive,
        metavar="BYTES",
        help="most bytes of weights and what goes with them, int8; default: no limit",
    )
    add(
        "--target",
        type=percentage,
        metavar="PERCENT",
        help="accuracy that the reports judge by, for instance 98.5; default: 99.4 on MNIST, none "
        "on other data",
    )
    # How
    add("--seed", type=natural, default=0, metavar="N", help="seeds the sampler and all trainings")
    add(
        "--sampler",
        choices=("racing", "tpe", "random"),
        default="racing",
        help="what proposes candidates; racing: a Gaussian process, changes of the best, and more "
        "seeds of what may be the best",
    )
    add(
        "--pruner",
        choices=("median", "hyperband", "none"),
        default="median",
        help="what ends weak trials early",
    )
    add_device(parser)
    add(
        "--compile",
        action="store_true",
        help="torch.compile every network: 10 to 30 s each, which a GPU may repay",
    )
    add_space(parser)
    # Data
    add_data(parser)
    add(
        "--train-images",
        type=positive,
        metavar="N",
        help="train on the first N images only, for a quick look; default: all",
    )
    # Study
    add(
        "--storage",
        type=storage_name,
        default=DEFAULT_STORAGE,
        metavar="FILE|URL",
        help="SQLite file or database URL; default: study.db in the project's root",
    )
    add("--study", default=DEFAULT_STUDY, metavar="NAME", help="name within the storage")
    add(
        "--continue-anyway",
        action="store_true",
        help="go on with a study that was begun with other settings",
    )
    add(
        "--log-to",
        nargs="+",
        action="extend",
        choices=("mlflow", "tensorboard"),
        default=[],
        metavar="mlflow|tensorboard",
        help="log each trial that ends to MLflow or TensorBoard; needs requirements-logging.txt; "
        "default: neither",
    )
    add(
        "--reports",
        type=path_name,
        default=ROOT / "reports",
        metavar="DIR",
        help="where the leaderboard goes; default: reports/ in the project's root",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Search; returns the exit code."""
    options = parse(arguments)

    # Imported here and in the functions below: --help and what is wrong with the arguments
    # are answered at once, without torch and Optuna.
    import optuna

    from objective import Objective
    from search.architecture.feasibility import refuse_unreachable
    from search.architecture.spaces import read_space
    from search.console.terminal import Terminal, print_differences
    from search.data.dataset import load_labels
    from search.data.sources import locate
    from search.data.splits import remarks
    from search.finals.user_candidates import announce, check_fit, queue, read_all
    from search.reporting.pages.files import check_report
    from search.reporting.trackers.tracking import refuse_missing
    from search.study.companions import candidates_of
    from search.study.differences import open_for_search
    from search.study.settings import describe, same_as
    from search.study.storages.beside import CHECKPOINTS, WEIGHTS, folder_beside
    from search.study.storages.locks import study_lock
    from search.study.storages.opening import readable_errors, refuse_foreign
    from search.study.transfer.knowledge import begin_from, known_to, read_source
    from search.workers.job import Job
    from search.workers.placement import copies_here, place
    from search.workers.stopping import Stopping
    from search.workers.training import training_by

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    console = Terminal()
    space_file = read_space(options.space)
    refuse_missing(options.log_to)
    user_candidates = read_all(options.candidate, references=options.references)
    refuse_foreign(options.storage, options.study, candidates_of(options.study))
    own = {"storage": options.storage, "name": options.study}
    sources = [read_source(named, **own) for named in getattr(options, "from")]
    check_directory(options.reports, "--reports")
    check_report(options.reports)
    if user_candidates and (sources or options.stop_after_stall or options.target_reached):
        raise UserError(
            "--from, --stop-after-stall and --target-reached cannot be combined with --candidate "
            "or --references, which start no search",
            "Leave out one or the other",
        )
    racing = options.sampler == "racing" and not user_candidates
    if (options.stack or 1) > 1 and not racing:
        raise UserError(
            "--stack is for seeds that the racing sampler draws",
            "Leave it out, or use --sampler racing without --candidate and --references",
        )
    source = locate(options.data, image_size=options.image_size, workers=copies_here(options))
    placement = place(options, ROOT, say, data_bytes=source.nbytes)
    settings = _settings(options, source, space_file, placement)
    check_fit(user_candidates, settings.space)
    if options.target_reached and settings.problem.target is None:
        raise UserError(
            f"{settings.problem.name} has no target that could be reached",
            "Give one with --target PERCENT",
        )
    say(source.description)
    for line in remarks(source, load_labels(source), options.train_images):
        say(line)

    if not user_candidates:
        refuse_unreachable(settings.space)
    study = open_for_search(
        options.storage,
        options.study,
        describe(settings, sampler=options.sampler, pruner=options.pruner),
        settings.space,
        continue_anyway=options.continue_anyway,
        show=print_differences,
    )
    known_file = replace(space_file, same_as=same_as(SETTINGS.of(study)))
    settings = replace(settings, space_file=known_file)
    if sources:
        with study_lock(options.storage), readable_errors(options.storage):
            for line in begin_from(study, sources, settings.space):
                say(line)
    weights = folder_beside(options.storage, WEIGHTS)
    job = Job(
        storage=options.storage,
        study=options.study,
        trials=options.trials,
        sampler=options.sampler,
        pruner=options.pruner,
        seed=options.seed,
        epochs=options.epochs,
        validation_images=SETTINGS.of(study)["dataset"]["validation_images"],
        source=settings.source,
        stack=(options.stack or default_stack(settings.device, SEEDS_PER_RACE)) if racing else 1,
        judge=Objective(settings),
        make_training=training_by(Objective, settings, keep_weights=weights is not None),
        checkpoints=folder_beside(options.storage, CHECKPOINTS),
        weights=weights,
        known=known_to(study, settings.space),
        stopping=Stopping(
            stall=options.stop_after_stall,
            target=settings.problem.target if options.target_reached else None,
            hours=options.hours,
        ),
    )
    if user_candidates:
        beside, job, count = queue(study, job, user_candidates)
        if count:
            placement.warm_up()
        code = watched(job, placement, console, settings, options.log_to)
        return announce(study, beside, user_candidates, options.reports, code)
    placement.warm_up()
    code = watched(job, placement, console, settings, options.log_to)
    return finish(study, options, code, job.stopping)


def watched(
    job: Job, placement: Placement, console: Terminal, settings: Settings, log_to: list[str]
) -> int:
    """Search, with the dashboard's page and other trackers kept up to date; the exit code."""
    from search.reporting.dashboard.view import DashboardView
    from search.reporting.trackers.tracking import Tracking
    from search.study.storages.opening import open_study
    from search.workers.coordinator import coordinate

    view = DashboardView(
        job.storage,
        job.study,
        max_params=settings.limits.max_params,
        target=settings.problem.target,
    )
    tracking = Tracking.of(log_to, job.storage, job.study, complain)
    for line in tracking.places:
        say(line)

    def look(trials: Sequence[FrozenTrial]) -> None:
        view.look(trials)
        tracking.look(trials)

    code = coordinate(job, placement.workers, console, start=placement.start, on_look=look)
    view.refresh()
    if log_to:
        tracking.look(open_study(job.storage, job.study).get_trials(deepcopy=False))
    return code


def _settings(
    options: argparse.Namespace, source: DataSource, space_file: SpaceFile, placement: Placement
) -> Settings:
    from search.architecture.limits import KINDS, Limits
    from search.study.settings import Settings, commit

    return Settings(
        source=source,
        space_file=space_file,
        limits=Limits(**{kind.field: getattr(options, kind.field) for kind in KINDS}),
        epochs=options.epochs,
        seed=options.seed,
        target=None if options.target is None else float(options.target / 100),
        train_images=options.train_images,
        device=placement.device,
        arithmetic=placement.arithmetic,
        commit=commit(),
    )


def finish(study: optuna.Study, options: argparse.Namespace, code: int, stopping: Stopping) -> int:
    """Print the best five and what to run next, and write the leaderboard.

    Args:
        study: That was searched.
        options: Of the command.
        code: Its exit code, which is given back.
        stopping: What may have ended it before it had all of its trials.
    """
    from search.console.live_view import snapshot, standing
    from search.reporting.architectures import valid_architectures
    from search.reporting.pages.writing import write_reports
    from search.reporting.records import read_limits

    limits = read_limits(SETTINGS.of(study))
    trials = study.get_trials(deepcopy=False)
    now = snapshot(trials, options.trials)
    say()
    say(
        f"{now.finished} of {counted(now.total, 'trial')}: {now.complete} complete, "
        f"{now.pruned} pruned, "
        f"{now.over_budget} over budget, {now.failed} failed"
    )
    for best in valid_architectures(trials, limits)[:5]:
        say(f"  {standing(trials[best.first.number], best)}")
    write_reports(study, options.reports)
    say()
    say(f"Leaderboard: {options.reports / 'leaderboard.html'}")
    if stopping.reason:
        say(f"Stopped:     {stopping.reason}")
    if now.finished < now.total and (code or not stopping.reason or stopping.by_time):
        say("To resume:   run the same command again")
    else:
        more = changed(options, parse([]))
        if now.finished < now.total:
            more |= {"stop_after_stall": None, "target_reached": None}
        else:
            more["trials"] = 2 * max(now.total, now.finished)
        more["continue_anyway"] = None
        say(f"To continue: {command_line('run.py', **more)}")
    return code


if __name__ == "__main__":
    run_command(main)
