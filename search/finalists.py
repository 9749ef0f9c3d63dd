"""Retrains the best architectures of a search on fresh seeds and tests each once.

    python search/finalists.py                            the best 5, 5 seeds, and the references
    python search/finalists.py --top 3 --seeds 10         go on: only what is missing is trained
    python search/finalists.py --storage small.db --no-references

The search's best values are partly luck. So the best 10 are first trained again, twice each, on
the images of the search, and the best by mean are finalists. These are trained on all training
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

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(ROOT)

from search.common.errors import UserError
from search.common.output import say
from search.console.arguments import (
    HelpFormatter,
    Parser,
    add_data,
    add_device,
    add_space,
    add_stack,
    add_storage,
    add_workers,
    check_directory,
    path_name,
    run_command,
    seed_count,
    some_name,
    whole,
)
from search.study import attributes
from search.training.hardware import SEEDS_PER_STACK


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="finalists.py", description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    add(
        "--top",
        type=whole(1, 1_000),
        default=5,
        metavar="K",
        help="number of finalists: the best distinct valid architectures",
    )
    add("--seeds", type=seed_count, default=5, metavar="N", help="trainings per finalist")
    add(
        "--shortlist",
        type=whole(0, 1_000),
        default=10,
        metavar="M",
        help="architectures retrained on the search's images to choose the K finalists from; "
        "0: choose by the search's own values",
    )
    add(
        "--shortlist-seeds",
        type=seed_count,
        default=2,
        metavar="N",
        help="trainings per shortlisted architecture",
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
    add_stack(parser, SEEDS_PER_STACK)
    add_device(parser)
    add_space(parser, of_study=True)
    add_data(parser)
    add_storage(parser)
    add(
        "--study",
        type=some_name,
        metavar="NAME",
        help="name within the storage; default: the only one",
    )
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

    # Imported here and in the functions below: --help and what is wrong with the arguments
    # are answered at once, without torch and Optuna.
    import optuna

    from search.console.terminal import Terminal
    from search.data.sources import locate
    from search.finals.final_objective import FinalObjective
    from search.finals.stages import StageRunner, announce, choose, settings_of_study
    from search.finals.studies import check, check_candidates, distinct, queue, stamp, trainings
    from search.finals.user_candidates import check_references
    from search.reporting.pages.files import check_report
    from search.reporting.records import read_limits
    from search.study.companions import finalists_of, shortlist_of
    from search.study.storages.opening import open_study, refuse_foreign
    from search.workers.placement import copies_here

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    runner = StageRunner(
        storage=options.storage,
        workers=options.workers,
        stack=options.stack,
        console=Terminal(),
    )
    check_directory(options.reports, "--reports")
    check_report(options.reports)
    study = open_study(options.storage, options.study, read_only=True)
    beside = (shortlist_of(study.study_name), finalists_of(study.study_name))
    refuse_foreign(options.storage, study.study_name, *beside)
    source = locate(options.data, image_size=options.image_size, workers=copies_here(options))
    settings = settings_of_study(
        study, source, options.space, device=options.device, precision=options.precision
    )
    references = options.references
    if references:
        check_references(settings.problem)
    elif references is None:
        references = settings.problem.is_mnist
    say(settings.source.description)
    trials = study.get_trials(deepcopy=False)
    limits = read_limits(attributes.SETTINGS.of(study))
    ranked = distinct(trials, max(options.top, options.shortlist), limits)
    if not ranked:
        raise UserError(
            f"the study {study.study_name!r} has no complete trial within its limits",
            "Search on first, with the options that it was begun with",
        )
    check(settings)
    check_candidates(ranked, settings)
    if len(ranked) > options.top and options.shortlist:
        code, ranked = choose(study, ranked, settings, options.shortlist_seeds, runner)
        if code:
            return code
    reference_seeds = (options.reference_seeds or options.seeds) if references else 0
    stack = runner.stack_of(max(options.seeds, reference_seeds), settings.device)
    entries = trainings(
        ranked[: options.top],
        settings,
        options.seeds,
        reference_seeds=reference_seeds,
        stack=stack,
    )
    finals, missing = queue(study, entries, options.storage, finalists_of(study.study_name))
    code = 0
    if missing:
        stamp(finals, settings)
        code = runner.train(finals, settings, FinalObjective, stack)
    announce(study, finals, settings, options.reports)
    return code


if __name__ == "__main__":
    run_command(main)
