"""What a report says first: the finalists' test figures where there are any, else the search's."""

from __future__ import annotations

from search.common.text import counted
from search.reporting.finalists import Comparison, Finalist, Finalists
from search.reporting.leaderboard import Summary
from search.reporting.pages import words

TESTED = (
    "Each finalist was trained anew with seeds that the search never used, and tested once at its "
    "last epoch; intervals are Student's, 95 %, over seeds. The winner is the one that the "
    "validation images put first, so no luck of choosing is in its figures; the best of these "
    "means has some."
)


def headline(summary: Summary) -> str:
    """The verdict in a few words."""
    finalists = summary.finalists
    if finalists is None or finalists.chosen is None:
        return words.headline(summary)
    if finalists.target is None:
        sure = (
            f" ({words.interval(finalists.chosen.interval)})" if finalists.chosen.interval else ""
        )
        return f"Mean test accuracy of the winner {words.percent(finalists.chosen.mean)}{sure}"
    target = words.points(finalists.target)
    if not finalists.met:
        return f"Target of {target} not reached on the test images"
    noise = "" if finalists.certain else ", but within the noise"
    return f"Target of {target} reached on the test images{noise}"


def sentence(summary: Summary) -> str:
    """Who reached what, and how sure that is."""
    finalists = summary.finalists
    if finalists is None or finalists.chosen is None:
        return words.verdict_sentence(summary)
    best = finalists.chosen
    text = (
        f"The winner, chosen on the validation images, is {named(best)}: mean "
        f"{words.accuracy(best.mean, best.balanced)} over "
    )
    text += counted(len(best.runs), "seed")
    if best.interval:
        text += f" (95 % interval {words.interval(best.interval)})"
    size = "an unknown number of parameters"
    if best.parameters is not None:
        size = counted(best.parameters, "parameter")
    text += f", minimum {words.percent(best.minimum)}, with {size}"
    if finalists.target is not None:
        verb = "reaches" if len(best.runs) == 1 else "reach"
        text += f"; {best.reaching} of {counted(len(best.runs), 'seed')} {verb} "
        text += words.points(finalists.target)
    text += "."
    if best.interval is None:
        text += " One seed says nothing about the spread between seeds."
    if best.place > 1:
        text += f" {named(finalists.entries[0]).capitalize()} has a higher mean on the test images."
    return f"{text} {first_and_second(finalists)}".strip()


def named(finalist: Finalist) -> str:
    """A finalist in a sentence: ``trial 13``, ``reference: narrow-8k``."""
    if finalist.is_reference or finalist.search_trial is None:
        return finalist.label or finalist.architecture or "an unnamed candidate"
    return f"trial {finalist.search_trial}"


def first_and_second(finalists: Finalists) -> str:
    """Whether the first place is told apart from the second; empty with a single finalist."""
    if len(finalists.entries) < 2:
        return ""
    comparison = finalists.entries[0].against_next
    return f"First and second {comparison_words(comparison)}." if comparison else ""


def comparison_words(comparison: Comparison) -> str:
    """A comparison's verdict, with what it stands on."""
    if comparison.p is None:
        return "cannot be compared: they share fewer than two seeds"
    verdict = "are distinguishable" if comparison.distinguishable else "are not distinguishable"
    apart = f"{100 * comparison.difference:.2f} points apart"
    return f"{verdict} ({apart}, {_p(comparison.p)}, {counted(comparison.seeds, 'seed')})"


def p_value(p: float | None) -> str:
    """A p-value: ``0.032``, ``< 0.001``."""
    if p is None:
        return words.NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _p(p: float) -> str:
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"


def openings_sentence(finalists: Finalists) -> str:
    """When and how often the test images were looked at."""
    openings = finalists.openings
    if not openings:
        return "When the test images were opened is not recorded."
    last = openings[-1]
    times = last.count or len(openings)
    at = f"{last.when or 'at a time not recorded'} at commit {last.commit or 'unknown'}"
    if times == 1:
        return f"The test images were opened once for this study: {at}."
    opened = f"The test images were opened {times} times for this study, the last time {at}"
    if last.trainings is not None and {look.trainings for look in openings} == {last.trainings}:
        return f"{opened}, each time for the same trainings: all were chosen before the first."
    return f"{opened}: what was chosen after the first time may rest on test results."
