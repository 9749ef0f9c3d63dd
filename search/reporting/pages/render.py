"""A summary in all the forms that it is written in."""

from __future__ import annotations

from search.reporting.figures.finalists_picture import finalists_picture
from search.reporting.leaderboard import Summary
from search.reporting.pages.markdown import to_markdown
from search.reporting.pages.page import to_html
from search.reporting.pages.tables import finalists_csv, to_csv, to_json

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
        "leaderboard.csv": to_csv(summary),
        "leaderboard.json": to_json(summary),
    }
    if summary.finalists is not None:
        table, picture = FINALISTS
        texts[table] = finalists_csv(summary.finalists)
        shown = [one for one in summary.finalists.entries if one.parameters]
        if summary.claims or any(not one.is_reference for one in shown):
            texts[picture] = finalists_picture(shown, summary.claims, target=summary.limits.target)
    return texts
