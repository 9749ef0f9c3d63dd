from __future__ import annotations

import re

from markdown_it import MarkdownIt

from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages.markdown import escape, graders_block, to_markdown
from tests.reporting.studies import complete, pruned, study_of

MARKUP = (
    "<script>alert(1)</script> [x](javascript:alert(2)) **b** `c` | # ~~d~~ &lt; \\| <img src=x>"
)


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def test_escaped_text_is_shown_as_it_is() -> None:
    import html

    page = rendered(escape(MARKUP))

    assert html.unescape(page) == f"<p>{MARKUP}</p>\n"


def test_the_leaderboard_is_a_table_of_the_best(summary: Summary) -> None:
    page = rendered(to_markdown(summary, top=7))
    table = page.split("Valid architectures")[1].split("</table>")[0]

    assert len(re.findall("<tr>", table)) == 1 + 7
    best = summary.entries[0]
    assert f"{100 * best.accuracy:.2f} %" in table
    assert f"{best.parameters:,}" in table
    assert f"{len(summary.entries) - 7} more in leaderboard.csv" in page


def assert_rows_are_whole(text: str) -> None:
    """Every row of a table has as many cells as its header."""
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert tables
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_every_row_of_a_table_is_whole(summary: Summary) -> None:
    assert_rows_are_whole(to_markdown(summary, top=50))


def test_references_are_shown_with_claim_and_rejection(summary: Summary) -> None:
    text = to_markdown(summary, top=5)
    row = next(line for line in text.splitlines() if line.startswith("| wide-vgg"))

    assert "6,379,786" in row
    assert "over budget" in row
    assert "99.45 %" in row


def test_the_graders_block_stands_alone(summary: Summary) -> None:
    text = graders_block(summary)
    best = summary.verdict.best

    assert best is not None
    for word in ("**Target.**", "**Result.**", "**Analysis.**", "**Architecture.**"):
        assert word in text
    for check in best.checks:
        assert escape(check.name) in text
    total = next(line for line in text.splitlines() if line.startswith("| total"))
    assert f"{best.parameters:,}" in total
    assert "optimistic" in text


def test_names_with_markup_do_no_harm() -> None:
    study = study_of(
        [
            complete(accuracy=0.99, label=MARKUP, architecture=MARKUP),
            complete(accuracy=0.98, label=f"reference: {MARKUP}"),
            pruned(reason=MARKUP, label=f"reference: {MARKUP}"),
        ],
        name=MARKUP,
    )
    text = to_markdown(summarize(study), top=5)
    page = rendered(text)

    assert_rows_are_whole(text)
    assert "<script" not in page
    assert "<img" not in page
    assert "href" not in page
    assert "<strong>b" not in page


def test_an_empty_study_is_readable() -> None:
    text = to_markdown(summarize(study_of([])), top=5)

    assert "No valid architecture yet" in text
    assert "The study holds no trial yet." in text
