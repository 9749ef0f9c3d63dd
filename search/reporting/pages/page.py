"""The report as one HTML file that needs no network: text, tables, data, plotly and a script."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import jinja2
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup, escape

from search.common.text import counted
from search.reporting import claims, shortlist
from search.reporting.candidates import dropout_text
from search.reporting.constraints import at_least
from search.reporting.figures import accuracy_figures as figures
from search.reporting.figures import captions, search_figures, time_figures
from search.reporting.figures.drawing import has_accuracy
from search.reporting.leaderboard import Summary
from search.reporting.pages import lead, markdown, words
from search.reporting.pages.strips import seeds_of, strips_of
from search.reporting.ranking import Entry

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of the page, the sentence above it, and the text that stands for it."""

    draw: Callable[[Summary], go.Figure]
    needs: Callable[[Summary], bool]  # whether the study has anything to draw in it
    sentence: Callable[[Summary], str]
    alternative: str


def _is_ranked(summary: Summary) -> bool:
    return bool(summary.entries)


def _has_history(summary: Summary) -> bool:
    return any(has_accuracy(trial) for trial in summary.trials)


FIGURES = {
    "curves": Figure(
        draw=figures.learning_curves,
        needs=lambda summary: any(entry.trial.curve for entry in summary.entries),
        sentence=captions.curves,
        alternative="Line chart of validation accuracy over epochs for the best trials.",
    ),
    "front": Figure(
        draw=figures.accuracy_against_parameters,
        needs=_is_ranked,
        sentence=captions.front,
        alternative="Scatter chart of validation accuracy against parameters, with Pareto front.",
    ),
    "history": Figure(
        draw=search_figures.history,
        needs=_has_history,
        sentence=captions.history,
        alternative="Chart of each trial's accuracy and the best so far, over trials.",
    ),
    "history-time": Figure(
        draw=partial(search_figures.history, over_time=True),
        needs=lambda summary: _has_history(summary) and summary.training_seconds > 0,
        sentence=captions.history_over_time,
        alternative="Chart of each trial's accuracy and the best so far, over training time.",
    ),
    "importance": Figure(
        draw=search_figures.importance,
        needs=lambda summary: bool(summary.importance.shares),
        sentence=captions.importance,
        alternative="Bar chart of the importance of each searched parameter.",
    ),
    "parallel": Figure(
        draw=search_figures.parallel_coordinates,
        needs=lambda summary: sum(bool(entry.trial.params) for entry in summary.entries) > 1,
        sentence=captions.parallel,
        alternative="Parallel coordinates of the searched parameters of valid architectures.",
    ),
    "time": Figure(
        draw=time_figures.time_by_outcome,
        needs=lambda summary: bool(time_figures.seconds_by_outcome(summary)),
        sentence=captions.time,
        alternative="Bar chart of training time by how the trials ended.",
    ),
    "cost": Figure(
        draw=time_figures.cost,
        needs=lambda summary: bool(time_figures.timed_trials(summary)),
        sentence=captions.cost,
        alternative="Scatter chart of seconds an epoch against multiply-accumulates.",
    ),
}


def to_html(summary: Summary, *, top: int) -> str:
    """The whole report; the leaderboard shows the best ``top`` rows, the figures all trials.

    plotly.js is embedded compressed (the browser unpacks it), which makes the file 2 MB rather
    than 5. The page's policy lets no script run but ours and plotly's, by their hashes, and
    reaches no address at all: a study's names and reasons cannot do harm even if an escape failed.
    """
    present = {name: figure for name, figure in FIGURES.items() if figure.needs(summary)}
    shown = summary.entries[:top]
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
    environment.globals.update(
        words=words,
        lead=lead,
        claims=claims,
        at_least=at_least,
        counted=counted,
        shortlist=shortlist,
        markdown=markdown,
        dropout_text=dropout_text,
        strip=strips_of(shown, summary),
        seeds=seeds_of(summary.finalists) if summary.finalists else {},
    )
    return environment.get_template("report.html").render(
        summary=summary,
        entries=shown,
        figures=present,
        captions=captions,
        graders_block=escape(markdown.graders_block(summary)),
        data=_embedded(_data(summary, shown, present)),
        library=base64.b64encode(gzip.compress(library.encode(), 9, mtime=0)).decode(),
        script=Markup(script),  # noqa: S704  our own file
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704
        script_hashes=[_hash(script), _hash(library)],
    )


def _data(
    summary: Summary, shown: Sequence[Entry], present: Mapping[str, Figure]
) -> dict[str, object]:
    """What the script draws: the figures, and the curve of every row that can be opened."""
    median = figures.median_curve(summary)
    return {
        "figures": {
            name: json.loads(plotly.io.to_json(figure.draw(summary), validate=False, engine="json"))
            for name, figure in present.items()
        },
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
