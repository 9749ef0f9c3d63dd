"""Writes a report: a study's summary in all its forms, all files or none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna

from search.common.errors import UserError
from search.common.publishing import put
from search.reporting.figures.finalists_picture import finalists_picture
from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages.files import TOP, check_report
from search.reporting.pages.markdown import to_markdown
from search.reporting.pages.page import to_html
from search.reporting.pages.tables import finalists_frame, leaderboard_frame, to_csv, to_json

FINALISTS = ("finalists.csv", "finalists.svg")  # written where there are any


def render(summary: Summary, *, top: int) -> dict[str, str]:
    """The text of each file by its name.

    Args:
        summary: What to say.
        top: How many rows the HTML and the Markdown show; CSV and JSON hold all.
    """
    texts = {
        "leaderboard.html": to_html(summary, top=top),
        "leaderboard.md": to_markdown(summary, top=top),
        "leaderboard.csv": to_csv(leaderboard_frame(summary)),
        "leaderboard.json": to_json(summary),
    }
    if summary.finalists is not None:
        table, picture = FINALISTS
        texts[table] = to_csv(finalists_frame(summary.finalists))
        shown = [one for one in summary.finalists.entries if one.parameters]
        if summary.claims or any(not one.is_reference for one in shown):
            texts[picture] = finalists_picture(shown, summary.claims, target=summary.limits.target)
    return texts


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written, and what it was written from."""

    summary: Summary
    paths: tuple[Path, ...]


def write_reports(study: optuna.Study, out_dir: Path, *, top: int = TOP) -> Report:
    """Write ``leaderboard.html``, ``.md``, ``.csv`` and ``.json`` into a directory.

    With finalists ``finalists.csv`` and ``.svg`` too. All are made before the first is written, and
    each takes its place in one step: a reader never sees half a file. The trials are read once.

    Args:
        study: Any Optuna study, one that this tool did not make included.
        out_dir: Where to write; made if it is not there.
        top: How many rows the page and the Markdown show; CSV and JSON hold all.

    Raises:
        UserError: If the directory cannot be made or written to, or holds a file of such a name
            that is no report's.
    """
    check_report(out_dir)
    summary = summarize(study)
    texts = render(summary, top=top)
    try:
        put(out_dir, {name: text.encode() for name, text in texts.items()})
        for name in set(FINALISTS) - set(texts):
            (out_dir / name).unlink(missing_ok=True)  # of an earlier study
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise UserError(
            f"the report cannot be written to {out_dir}: {problem}",
            "Name a directory with --reports",
        ) from None
    return Report(summary=summary, paths=tuple(out_dir / name for name in texts))
