"""The comparison as a page, as Markdown and as a table for a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from search.architecture.limits import KINDS
from search.common.errors import UserError
from search.common.publishing import put
from search.common.text import counted
from search.reporting.comparing.comparison import Compared, Comparison, Pair
from search.reporting.comparing.figures import best_over_time, best_over_trials, colour, name_of
from search.reporting.pages import words
from search.reporting.pages.files import check_report
from search.reporting.pages.markdown import escape, table
from search.reporting.pages.page import as_json, render
from search.reporting.pages.tables import to_csv

SAYS_BEST = (
    "The best validation accuracy of a single valid training so far. The best of many is partly "
    "luck, the more so the more trainings there are: fresh seeds tell which search found more."
)
SAYS_FINALISTS = (
    "Trained anew with seeds that no search used, and tested once at the last epoch; intervals are "
    "Student's, 95 %, over seeds."
)
HEADER = ("study", "images", "limit", "sampler", "trials", "training")
BEST = ("best architecture", "validation", "95 % interval", "parameters")
TESTED = ("study", "winner", "test accuracy", "95 % interval", "seeds", "parameters")


def write_comparison(comparison: Comparison, folder: Path) -> tuple[Path, ...]:
    """Write ``comparison.html``, ``.md`` and ``.csv`` into a directory; gives their paths.

    Raises:
        UserError: If it cannot be written to, or holds a file of such a name that is no report's.
    """
    check_report(folder)
    texts = {
        "comparison.html": to_html(comparison),
        "comparison.md": to_markdown(comparison),
        "comparison.csv": to_csv(frame(comparison)),
    }
    try:
        put(folder, {name: text.encode() for name, text in texts.items()})
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise UserError(
            f"the comparison cannot be written to {folder}: {problem}",
            "Name a directory with --reports",
        ) from None
    return tuple(folder / name for name in texts)


def to_html(comparison: Comparison) -> str:
    """The page, which needs no network."""
    figures = {
        "trials": as_json(best_over_trials(comparison)),
        "time": as_json(best_over_time(comparison)),
    }
    return render(
        "comparison.html",
        {"figures": figures, "curves": {}, "median": [[], []], "target": None},
        comparison=comparison,
        headline=headline(comparison),
        says_best=SAYS_BEST + band_sentence(comparison),
        says_finalists=SAYS_FINALISTS,
        colour=colour,
        limits_of=limits_of,
        pair_sentence=pair_sentence,
    )


def to_markdown(comparison: Comparison) -> str:
    """What the page says, without figures."""
    rows = [_study_row(study) for study in comparison.studies]
    parts = [
        f"# Comparison of {counted(len(comparison.studies), 'study', 'studies')}",
        f"**{escape(headline(comparison))}.**",
        table((*HEADER, *BEST), rows, right=(4, 7, 8, 9)),
        escape(SAYS_BEST + band_sentence(comparison)),
    ]
    tested = [study for study in comparison.studies if study.finalist]
    if tested:
        parts += [
            "## Finalists on the test images",
            SAYS_FINALISTS,
            table(TESTED, [_finalist_row(study) for study in tested], right=(2, 4, 5)),
            "\n".join(f"- {escape(pair_sentence(pair))}" for pair in comparison.pairs),
        ]
    if comparison.differing:
        names = [study.name for study in comparison.studies]
        differing = [(name, *values) for name, values in comparison.differing]
        parts += ["## What differs", table(("setting", *names), differing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _study_row(study: Compared) -> tuple[str, ...]:
    summary, best = study.summary, study.summary.verdict.best
    found = (words.NOTHING,) * len(BEST)
    if best is not None:
        found = (
            f"{best.trial.architecture} ({words.named(best)})",
            words.percent(best.accuracy),
            words.interval(best.interval),
            words.count(best.parameters),
        )
    return (
        study.name,
        summary.problem.name or words.NOTHING,
        limits_of(study),
        str(study.settings.get("sampler") or words.NOTHING),
        words.count(summary.finished),
        words.duration(summary.training_seconds),
        *found,
    )


def _finalist_row(study: Compared) -> tuple[str, ...]:
    one = study.finalist
    if one is None:
        return (study.name, *(words.NOTHING,) * (len(TESTED) - 1))
    return (
        study.name,
        one.architecture,
        words.percent(one.mean),
        words.interval(one.interval),
        str(len(one.runs)),
        words.count(one.parameters),
    )


def limits_of(study: Compared) -> str:
    """A study's limits in a few words: ``20,000 parameters, 20 epochs``."""
    limits = study.summary.limits
    parts = [
        kind.words(limit) for kind in KINDS if (limit := getattr(limits, kind.field)) is not None
    ]
    return ", ".join((*parts, counted(limits.epochs, "epoch")))


def headline(comparison: Comparison) -> str:
    """Which study is ahead: by its finalist where all are tested on the same images."""
    tested = [study for study in comparison.studies if study.finalist]
    images = {study.summary.problem.fingerprint for study in comparison.studies}
    if len(images - {""}) > 1:
        return "The studies are of different images: their accuracies cannot be compared"
    if len(tested) == len(comparison.studies):
        first = max(tested, key=lambda study: study.finalist.mean if study.finalist else 0.0)
        value = first.finalist.mean if first.finalist else None
        won = [pair for pair in comparison.pairs if pair.first is first]
        sure = len(won) == len(tested) - 1 and all(p.difference.distinguishable for p in won)
        apart = "" if sure else ", but within the noise"
        return f"{first.name} leads on the test images: {words.percent(value)}{apart}"
    ranked = [study for study in comparison.studies if study.summary.verdict.best]
    if not ranked:
        return "No study has a valid architecture yet"
    best = max(ranked, key=_expected)
    if len(ranked) > 1 and len({_expected(study) for study in ranked}) == 1:
        return "The studies are level on the validation images"
    entry = best.summary.verdict.best
    value = entry.accuracy if entry else None
    ahead = f"{best.name} is ahead on the validation images: {words.percent(value)}"
    allowed = [study.summary.limits.max_params for study in (best, *ranked)]
    if len(set(allowed)) > 1:
        ahead += f" with at most {allowed[0]:,} parameters; the limits differ"
    return ahead


def _expected(study: Compared) -> float:
    return study.summary.verdict.best.expected if study.summary.verdict.best else 0.0


def pair_sentence(pair: Pair) -> str:
    """Whether two finalists are told apart, and by which test."""
    difference = pair.difference
    interval = difference.interval
    between = ""
    if interval is not None:
        between = f" (95 %: {100 * interval.low:+.3f} to {100 * interval.high:+.3f})"
    by = (
        "paired t test over {} that both have"
        if pair.paired
        else "Welch's t test, {} or more of each"
    )
    test = by.format(counted(difference.seeds, "seed"))
    p = "" if difference.p is None else f", p = {difference.p:.2g}"
    verdict = "better" if difference.distinguishable else "not distinguishable"
    return (
        f"{pair.first.name} against {pair.second.name}: {100 * difference.difference:+.3f} points"
        f"{between}{p}, {test}: {verdict}"
    )


def band_sentence(comparison: Comparison) -> str:
    """What the bands are, where there are any."""
    bands = [group for group in comparison.groups if len(group) > 1]
    if not bands:
        return ""
    named = "; ".join(name_of(group) for group in bands)
    return (
        " A band spans the lowest to the highest of searches that differ only in the seed; "
        f"its line is their mean: {named}."
    )


def frame(comparison: Comparison) -> pd.DataFrame:
    """A row for each study and each of its trials, in the order in which they ended.

    ``best`` is the best valid validation accuracy so far in [0, 1], ``seconds`` the training time
    of all trials up to there.
    """
    return pd.DataFrame(list(_rows(comparison)), columns=["study", "trials", "seconds", "best"])


def _rows(comparison: Comparison) -> Iterator[tuple[str, int, float, float | None]]:
    for study in comparison.studies:
        for point in study.path:
            best = None if point.best is None else round(point.best, 6)
            yield study.name, point.trials, round(point.seconds, 2), best
