"""The files of a report: how each begins, by which an earlier one is told from a user's own."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from search.common.errors import UserError

TOP = 50  # rows of the leaderboard that the page and the Markdown show
PAGE = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; script-src '
)
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 '
BEGINNINGS = {
    "leaderboard.html": re.escape(PAGE),
    "leaderboard.md": "# Leaderboard of ",
    "leaderboard.csv": "rank,tied_with_rank,trial,validation_accuracy,",
    "leaderboard.json": r'\{"format":\d+,"study_name":',
    "finalists.csv": "place,label,kind,search_rank,search_trial,",
    "comparison.html": re.escape(PAGE),
    "comparison.md": "# Comparison of ",
    "comparison.csv": "study,trials,seconds,best",
    "finalists.svg": re.escape(PICTURE) + r"[^\n]*>\n<title>Test accuracy by size",
}


def check_report(folder: Path) -> None:
    """Refuse a directory in which a file of another kind has the name of one of a report.

    Args:
        folder: Need not be there.

    Raises:
        UserError: If so.
    """
    for name, beginning in BEGINNINGS.items():
        path = folder / name
        if os.path.lexists(path) and not _begins(path, beginning):
            raise UserError(
                f"{path} is not of an earlier report and would be replaced",
                "Move it, or name another directory for the report",
            )


def _begins(path: Path, pattern: str) -> bool:
    """Whether a regular file begins so; a pipe is not opened, nor what a link leads to."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return False
        with path.open("rb") as file:
            return re.match(pattern.encode(), file.read(1000)) is not None
    except OSError:
        return False
