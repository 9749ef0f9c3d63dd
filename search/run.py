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
    HelpFormatter,
    Parser,
    changed,
    check_directory,
    run_command,
)
from search.console.search_options import add_options
from search.study.attributes import CHANGES, SETTINGS
from search.training.hardware import SEEDS_PER_RACE, default_stack

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
    add_options(parser)
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
        limits=settings.limits if CHANGES.of(study) else None,
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
