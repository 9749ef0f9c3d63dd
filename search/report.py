"""Writes the leaderboard of a study, at any moment, also while a search is running.

    python search/report.py                         study.db -> reports/leaderboard.html
    python search/report.py --storage small.db --reports small-reports --top 100
    python search/report.py --storage postgresql+psycopg://user@host/db --study cnn-search
    python search/report.py a.db b.db c.db          several -> reports/comparison.html

Beside the page: leaderboard.md, .csv and .json, with finalists finalists.csv and .svg. Studies are
read and not changed. Of several, those that differ in the seed alone are drawn as one, with a band.
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
from search.console.arguments import (
    HelpFormatter,
    Parser,
    check_directory,
    path_name,
    run_command,
    some_name,
    storage_name,
    study_name,
    trial_count,
)
from search.reporting.pages.files import TOP
from search.study.storages.opening import DEFAULT_STORAGE

if TYPE_CHECKING:
    from search.reporting.leaderboard import Summary

PRINTED = 5  # rows that the command prints


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="report.py", description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    add(
        "studies",
        type=study_name,
        nargs="*",
        metavar="STUDY.db",
        help="a study, file or URL, or several to compare; FILE::NAME is one study of several",
    )
    add(
        "--storage",
        type=storage_name,
        default=None,
        metavar="URL|FILE",
        help="where the study is; default: study.db in the project's root",
    )
    add(
        "--study",
        type=some_name,
        metavar="NAME",
        help="which study, where the storage holds several",
    )
    add(
        "--reports",
        type=path_name,
        default=ROOT / "reports",
        metavar="DIR",
        help="where to write; default: reports/ in the project's root",
    )
    add(
        "--top",
        type=trial_count,
        default=TOP,
        metavar="K",
        help="rows that the page and the Markdown show; the CSV and the JSON hold all",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Write the report, print the best few; returns the exit code."""
    options = parse(arguments)

    # Imported here and in the functions below: --help and what is wrong with the arguments
    # are answered at once, without torch and Optuna.
    import optuna

    from search.reporting.pages.files import check_report
    from search.reporting.pages.writing import write_reports
    from search.study.storages.naming import storage_of
    from search.study.storages.opening import open_study, readable_errors

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    check_directory(options.reports, "--reports")
    check_report(options.reports)
    if len(options.studies) > 1:
        return compare(options)
    if options.studies and (options.storage or options.study):
        raise UserError("--storage and --study name a study too", "Leave them out")
    storage, name = options.storage or DEFAULT_STORAGE, options.study
    if options.studies:
        storage, name = storage_of(options.studies[0])
    study = open_study(storage, name, read_only=True)
    with readable_errors(storage):
        report = write_reports(study, options.reports, top=options.top)
    for line in table(report.summary).splitlines():
        say(line)
    say()
    for path in report.paths:
        say(f"wrote {path}")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Write the comparison of several studies; returns the exit code."""
    from search.reporting.comparing.comparison import compare_studies
    from search.reporting.comparing.pages import headline, pair_sentence, write_comparison
    from search.study.storages.naming import names_apart, open_named
    from search.study.storages.opening import readable_errors

    if options.storage or options.study or options.top != TOP:
        raise UserError(
            "--storage, --study and --top are for the report of a single study",
            "Leave them out, or name no studies to compare",
        )
    opened = {named.key: named for named in map(open_named, options.studies)}
    if len(opened) < 2:
        (one,) = opened.values()
        raise UserError(
            f"a comparison needs two studies, but {one.short(1)} was given twice",
            "Name another one, or this one once",
        )
    names = names_apart(list(opened.values()))
    studies = [(name, one.study) for name, one in zip(names, opened.values(), strict=True)]
    with readable_errors(options.studies[0]):
        comparison = compare_studies(studies)
    paths = write_comparison(comparison, options.reports)
    say(f"{headline(comparison)}.")
    for pair in comparison.pairs:
        say(f"  {pair_sentence(pair)}")
    say()
    for path in paths:
        say(f"wrote {path}")
    return 0


def table(summary: Summary) -> str:
    """The verdict and the best few architectures as plain text."""
    from search.reporting.pages import lead, words

    lines = [f"{lead.headline(summary)}. {lead.sentence(summary)}"]
    lines += [words.data_sentence(summary), words.finished_sentence(summary)]
    if not summary.entries:
        return "\n".join(lines)
    several = words.several_seeds(summary)
    header = (
        *("rank", "trial", "accuracy", "95 % interval"),
        *(("seeds", "expected") if several else ()),
        *("parameters", "architecture"),
    )
    rows = [
        (
            words.place(entry),
            entry.trial.name,
            words.percent(entry.accuracy),
            words.interval(entry.interval),
            *((str(len(entry.seeds)), words.percent(entry.expected, 3)) if several else ()),
            words.count(entry.parameters),
            entry.trial.architecture + (f" ({entry.trial.label})" if entry.trial.label else ""),
        )
        for entry in summary.entries[:PRINTED]
    ]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header) - 1)]
    lines.append("")
    for row in (header, *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join((*cells, row[-1])).rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
