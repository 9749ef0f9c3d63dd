"""The report as one HTML file that needs no network: text, tables, data, plotly and a script."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup, escape

from search.common.text import counted
from search.reporting import claims, shortlist
from search.reporting.architectures import listed
from search.reporting.candidates import dropout_text
from search.reporting.constraints import at_least
from search.reporting.figures import catalogue
from search.reporting.figures.accuracy_figures import median_curve
from search.reporting.figures.catalogue import FIGURES, Figure
from search.reporting.finalists import Finalists
from search.reporting.intervals import Interval
from search.reporting.leaderboard import Summary
from search.reporting.pages import lead, markdown, micro, words
from search.reporting.ranking import Entry

TEMPLATES = Path(__file__).parent / "templates"
STRIP_WIDTH = 120  # of the drawing of an interval, in its own units
SEEDS_WIDTH = 180  # of the drawing of a finalist's seeds


def to_html(summary: Summary, *, top: int) -> str:
    """The whole report; the leaderboard shows the best ``top`` rows, the figures all trials.

    plotly.js is embedded compressed (the browser unpacks it), which makes the file 2 MB rather
    than 5. The page's policy lets no script run but ours and plotly's, by their hashes, and
    reaches no address at all: a study's names and reasons cannot do harm even if an escape failed.
    """
    present = {name: figure for name, figure in FIGURES.items() if figure.needs(summary)}
    shown = summary.entries[:top]
    return render(
        "report.html",
        _data(summary, shown, present),
        lead=lead,
        claims=claims,
        at_least=at_least,
        shortlist=shortlist,
        listed=listed,
        several_seeds=words.several_seeds(summary),
        markdown=markdown,
        micro=micro,
        dropout_text=dropout_text,
        strip=strips_of(shown, summary),
        seeds=seeds_of(summary.finalists) if summary.finalists else {},
        summary=summary,
        entries=shown,
        figures=present,
        captions=catalogue,
        graders_block=escape(markdown.graders_block(summary)),
    )


def render(template: str, data: object, **names: object) -> str:
    """A page that needs no network: a template with plotly, our script and what it draws.

    Args:
        template: Its file's name.
        data: For the script: JSON values, with ``figures`` by name.
        names: What the template uses.
    """
    library = _plotly_source()
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_unbroken,
    )
    environment.globals.update(words=words, counted=counted, **names)
    return environment.get_template(template).render(
        data=_embedded(data),
        library=base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode(),
        script=Markup(script),  # noqa: S704  our own file
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        script_hashes=[_hash(script), _hash(library)],
    )


def as_json(figure: go.Figure) -> object:
    """A figure as JSON values."""
    return json.loads(plotly.io.to_json(figure, validate=False, engine="json"))


def _data(
    summary: Summary, shown: Sequence[Entry], present: Mapping[str, Figure]
) -> dict[str, object]:
    """What the script draws: the figures, and the curve of every row that can be opened."""
    median = median_curve(summary)
    return {
        "figures": {name: as_json(figure.draw(summary)) for name, figure in present.items()},
        "curves": {
            entry.trial.name: [
                [epoch for epoch, _ in entry.trial.curve],
                [round(100 * value, 2) for _, value in entry.trial.curve],
            ]
            for entry in shown
        },
        "median": [
            [epoch for epoch, _ in median],
            [round(100 * value, 2) for _, value in median],
        ],
        "target": None if summary.limits.target is None else 100 * summary.limits.target,
    }


def _embedded(data: object) -> Markup:
    """JSON inside a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " "))


def _unbroken(value: object) -> object:
    """Keep a number and its unit on one line, in every text that the template puts out."""
    if isinstance(value, str) and not isinstance(value, Markup):
        value = re.sub(r"(?<=\d) (?=(?:h|min|s|G|M|k)\b|%)", "\u00a0", value)
        return re.sub(r"\bp ([=<]) (?=\d)", "p\u00a0\\1\u00a0", value)
    return value


def _plotly_source() -> str:
    source = resources.files("plotly").joinpath("package_data", "plotly.min.js")
    return source.read_text(encoding="utf-8")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Where an accuracy, its interval and a target lie on one row's small drawing."""

    low: float
    middle: float
    high: float
    target: float | None


def strips_of(shown: Sequence[Entry], summary: Summary) -> dict[str, Strip]:
    """The drawings of all rows that have an interval, on one common scale, by trial."""
    spans = {e.trial.name: e.interval for e in shown if e.interval is not None}
    if not spans:
        return {}
    lows = sorted(span.low for span in spans.values())
    target = summary.limits.target
    left, right = lows[len(lows) // 10], max(span.high for span in spans.values())
    if target is not None:  # an outlier may be cut off
        left, right = min(left, target - 0.002), max(right, target)

    def at(share: float) -> float:
        place = (share - left) / (right - left or 1.0)
        return round(4 + (STRIP_WIDTH - 8) * min(1.0, max(0.0, place)), 1)

    return {
        entry.trial.name: Strip(
            low=at(entry.interval.low),
            middle=at(entry.accuracy),
            high=at(entry.interval.high),
            target=None if target is None else at(target),
        )
        for entry in shown
        if entry.interval is not None
    }


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Where a finalist's seeds, their mean with its interval, and a target lie on a drawing."""

    runs: tuple[float, ...]
    mean: float
    span: tuple[float, float] | None
    target: float | None


def seeds_of(finalists: Finalists) -> dict[int, Seeds]:
    """The drawings of all finalists, on one common scale, by place."""
    values = [run.accuracy for entry in finalists.entries for run in entry.runs]
    values += [bound for e in finalists.entries if e.interval for bound in _bounds(e.interval)]
    target = finalists.target
    values += [] if target is None else [target]
    left, right = min(values), max(values)

    def at(share: float) -> float:
        return round(4 + (SEEDS_WIDTH - 8) * (share - left) / (right - left or 1.0), 1)

    return {
        entry.place: Seeds(
            runs=tuple(at(run.accuracy) for run in entry.runs),
            mean=at(entry.mean),
            span=(at(entry.interval.low), at(entry.interval.high)) if entry.interval else None,
            target=None if target is None else at(target),
        )
        for entry in finalists.entries
    }


def _bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
