"""The leaderboard as Markdown, and the block for graders that stands on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from search.architecture.limits import KINDS
from search.common.text import counted
from search.common.values import text as harmless_text
from search.reporting import shortlist
from search.reporting.architectures import listed
from search.reporting.candidates import dropout_text
from search.reporting.claims import HEADING, SAYS, Remeasured, claim_of
from search.reporting.constraints import Check, at_least
from search.reporting.finalists import Finalists
from search.reporting.leaderboard import Summary
from search.reporting.pages import lead, micro, words
from search.reporting.ranking import Entry
from search.reporting.records import TrialRecord
from search.reporting.shortlist import Shortlisted


def to_markdown(summary: Summary, *, top: int) -> str:
    """The report in Markdown, as much as reads well as text: no figure, the best ``top`` rows."""
    parts = [
        f"# Leaderboard of {escape(summary.study_name)}",
        f"**{escape(lead.headline(summary))}.** {escape(lead.sentence(summary))}",
        *_finalists(summary.finalists),
        *_claims(summary.claims),
        *_shortlist(summary.shortlist),
        escape(words.data_sentence(summary)),
        escape(words.finished_sentence(summary)),
        _paragraphs(words.unranked_sentence(summary), words.assumed_sentence(summary)),
        *_ranking(summary, top),
        *_references(summary.references, summary),
        escape(words.adjusted_trials(summary, top)),
        "## Health checks",
        table(
            ("", "check", "found", "rule"),
            [(str(c.verdict), c.question, c.found, c.rule) for c in summary.health],
        ),
        *on_microcontrollers(summary),
        "## For graders",
        graders_block(summary),
        f"Made {summary.made_at:%Y-%m-%d %H:%M} UTC by `python search/report.py`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def on_microcontrollers(summary: Summary) -> Iterator[str]:
    """What exports measured; nothing where there were none."""
    if summary.micro:
        yield "## On a microcontroller"
        yield escape(micro.SAYS)
        yield table(micro.HEADER, micro.rows(summary), right=range(1, len(micro.HEADER)))


def graders_block(summary: Summary) -> str:
    """Target, result and analysis of the best, each constraint's check and the parameter table."""
    limits, best = summary.limits, summary.winner
    most = [
        kind.words(limit) for kind in KINDS if (limit := getattr(limits, kind.field)) is not None
    ]
    size = f"t most {', '.join(most)}"
    size += f" in at most {counted(limits.epochs, 'epoch')}."
    target = f"**Limits.** A{size}"
    if limits.target is not None:
        target = f"**Target.** At least {words.points(limits.target)} accuracy with a{size}"
    target += f"\n\n{escape(words.data_sentence(summary))}"
    result = f"**Result.** {escape(lead.headline(summary))}. {escape(lead.sentence(summary))}"
    if best is None:
        return f"{target}\n\n{result}"
    analysis = f"**Analysis.** {escape(analysis_sentence(summary))}"
    architecture = f"**Architecture.** {escape(best.trial.architecture or words.NOTHING)}"
    checks = table(
        ("constraint", "found", "met"),
        [(check.name, check.found, check_word(check)) for check in graded_checks(summary, best)],
    )
    return "\n\n".join(
        part for part in (target, result, analysis, architecture, checks, layers(best)) if part
    )


def analysis_sentence(summary: Summary) -> str:
    """How the best came about and how far to trust it."""
    text = words.finished_sentence(summary)
    text += f" They took {words.duration(summary.training_seconds)} of training."
    if summary.importance.shares:
        name, share = summary.importance.shares[0]
        text += (
            f" The most important parameter is {name.replace('_', ' ')} ({100 * share:.0f} % of "
            "the importance by PED-ANOVA, part of which comes from the sampler itself)."
        )
    if summary.finalists is not None:
        text += f" {lead.TESTED} {lead.openings_sentence(summary.finalists)} Of the search's own:"
    return f"{text} {words.noise_sentence(summary)} {words.OPTIMISM}"


def check_word(check: Check) -> str:
    """A check's result in a word."""
    return {True: "yes", False: "no", None: "not recorded"}[check.passed]


def layers(entry: Entry) -> str:
    """The exact parameter table of an architecture; empty where its candidate cannot be read."""
    if not entry.layers:
        return ""
    rows = [
        (layer.name, shape(layer.output_shape), f"{layer.parameters:,}", f"{layer.macs:,}")
        for layer in entry.layers
    ]
    parameters = sum(layer.parameters for layer in entry.layers)
    macs = sum(layer.macs for layer in entry.layers)
    rows.append(("total", "", f"{parameters:,}", f"{macs:,}"))
    header = ("layer", "output", "parameters", "multiply-accumulates")
    return table(header, rows, right=(2, 3))


def shape(sizes: Sequence[int]) -> str:
    """A feature map's size: ``16×12×12``."""
    return "×".join(map(str, sizes))


def escape(text: str) -> str:
    """Text of unknown origin, so that Markdown shows it as it is."""
    harmless = harmless_text(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]|~#>])", r"\\\1", harmless)


def graded_checks(summary: Summary, best: Entry) -> list[Check]:
    """The winner's checks; its accuracy is the one on the test images where it was tested."""
    tested = summary.finalists.chosen if summary.finalists else None
    if tested is None or tested.search_trial != best.trial.number:
        return list(best.checks)
    target = summary.limits.target
    if target is None:
        return list(best.checks)
    name = at_least(target)
    seeds = counted(len(tested.runs), "seed")
    found = f"{words.percent(tested.mean)} on the test images, mean of {seeds}"
    passed = tested.mean >= target
    return [
        Check(name=name, passed=passed, found=found) if check.name == name else check
        for check in best.checks
    ]


def _finalists(finalists: Finalists | None) -> Iterable[str]:
    if finalists is None:
        return
    yield "## Finalists on the test images"
    yield f"{lead.TESTED} {escape(lead.openings_sentence(finalists))}"
    target = finalists.target
    header = (
        *("place", "system", "mean", "95 % interval", "minimum"),
        *(() if target is None else (f"seeds {at_least(target)}",)),
        *("parameters", "search rank", "p against next"),
    )
    rows = [
        (
            str(entry.place),
            lead.named(entry) + (" (winner)" if entry is finalists.chosen else ""),
            words.accuracy(entry.mean, entry.balanced),
            words.interval(entry.interval),
            words.percent(entry.minimum),
            *(() if target is None else (f"{entry.reaching} of {len(entry.runs)}",)),
            words.count(entry.parameters),
            words.count(entry.search_rank),
            lead.p_value(entry.against_next.p if entry.against_next else None),
        )
        for entry in finalists.entries
    ]
    yield table(header, rows, right=range(2, len(header)))
    yield escape(words.adjusted_sentence((lead.named(e), e.adjusted) for e in finalists.entries))


def _claims(systems: Sequence[Remeasured]) -> Iterable[str]:
    if not systems:
        return
    yield f"## {HEADING}"
    yield SAYS
    rows = [
        (
            system.label,
            system.claim,
            words.count(system.parameters),
            words.percent(system.measured.mean) if system.measured else words.NOTHING,
            words.interval(system.measured.interval) if system.measured else words.NOTHING,
            words.count(len(system.measured.runs)) if system.measured else words.NOTHING,
            system.verdict,
        )
        for system in systems
    ]
    header = (
        "system",
        "claimed",
        "parameters",
        "measured mean",
        "95 % interval",
        "seeds",
        "result",
    )
    yield table(header, rows, right=(2, 3, 4, 5))


def _shortlist(found: Sequence[Shortlisted]) -> Iterable[str]:
    if not found:
        return
    yield f"## {shortlist.HEADING}"
    yield shortlist.says(found)
    header = (
        *("place", "system", "mean", "in the search", "fresh seeds", "their mean"),
        *("parameters", "search rank", "finalist"),
    )
    rows = [
        (
            str(one.place),
            f"trial {one.search_trial}",
            words.percent(one.mean, 3),
            words.percent(one.search_accuracy),
            listed(one.fresh),
            words.percent(one.fresh_mean, 3),
            words.count(one.parameters),
            words.count(one.search_rank),
            "yes" if one.chosen else "no",
        )
        for one in found
    ]
    yield table(header, rows, right=(2, 3, 4, 5, 6, 7))


def _ranking(summary: Summary, top: int) -> Iterable[str]:
    yield "## Valid architectures"
    yield words.noise_sentence(summary)
    if not summary.entries:
        return
    yield words.OPTIMISM
    several = words.several_seeds(summary)
    header = (
        *("rank", "trial", "accuracy", "95 % interval"),
        *(("seeds", "expected") if several else ()),
        *("parameters", "MACs", "epochs", "learning rate", "dropout", "widths", "checks"),
    )
    rows = [_entry_row(entry, several) for entry in summary.entries[:top]]
    yield table(header, rows, right=range(len(header) - 1))
    hidden = len(summary.entries) - top
    if hidden > 0:
        yield f"{hidden:,} more in leaderboard.csv."


def _entry_row(entry: Entry, several_seeds: bool) -> tuple[str, ...]:
    about = entry.description
    failing = [check for check in entry.checks if not check.passed]
    return (
        words.place(entry),
        entry.trial.name + (f" ({entry.trial.label})" if entry.trial.label else ""),
        words.accuracy(entry.accuracy, entry.balanced),
        words.interval(entry.interval),
        *((words.over_seeds(entry), words.percent(entry.expected, 3)) if several_seeds else ()),
        words.count(entry.parameters),
        words.compact(entry.trial.macs),
        words.count(entry.trial.epochs),
        words.rate(about.learning_rate),
        words.NOTHING if about.dropout is None else dropout_text(about.dropout),
        words.widths(about.widths),
        "; ".join(f"{c.name}: {check_word(c)}" for c in failing) or "all met",
    )


def _references(references: Sequence[TrialRecord], summary: Summary) -> Iterable[str]:
    if not references:
        return
    yield f"## {words.compared_heading(summary)}"
    rows, claims = [], summary.problem.is_mnist
    for trial in references:
        entry = summary.entry_of(trial)
        rows.append(
            (
                trial.reference,
                *((claim_of(trial, summary.problem) or words.NOTHING,) if claims else ()),
                words.count(trial.parameters),
                words.accuracy(entry.accuracy, trial.balanced_accuracy) if entry else words.NOTHING,
                words.interval(entry.interval) if entry else words.NOTHING,
                f"rank {words.place(entry)}" if entry else trial.reason or str(trial.outcome),
            )
        )
    header = (
        *("system", *(("claimed",) if claims else ())),
        *("parameters", "accuracy", "95 % interval", "result"),
    )
    yield table(header, rows, right=range(len(header) - 4, len(header) - 1))


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()
) -> str:
    """A table of texts, which are escaped.

    Args:
        header: The columns' names.
        rows: Of as many texts.
        right: Columns to be aligned to the right, by their places.
    """
    aligned = set(right)
    rule = ["---:" if place in aligned else "---" for place in range(len(header))]
    cells = [[escape(name) for name in header], rule]
    cells += [[escape(value) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _paragraphs(*sentences: str) -> str:
    return "\n\n".join(escape(sentence) for sentence in sentences if sentence)
