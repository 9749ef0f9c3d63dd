"""Health checks: questions to ask of a search before its result is believed.

Each check is one function, whose docstring is its rule and whose verdict is pass, warning or "not
enough trials to say". They look at what the search drew; enqueued references are left out.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.common.text import counted
from search.common.values import positive
from search.reporting.architectures import architectures
from search.reporting.ranking import Entry
from search.reporting.records import Outcome, StudyLimits, TrialRecord
from search.reporting.searched_parameters import Dimension

ENOUGH_COMPLETE = 20
BEST = 5  # "the best" of the checks below
LARGEST_OVER_BUDGET_SHARE = 0.2
LARGEST_FAILED_SHARE = 0.05
LARGEST_PRUNED_SHARE = 0.7
EDGE = 0.02  # share of a range that counts as its edge
ENOUGH_TO_SETTLE = 30  # finished trials
SETTLED = 0.05  # of the best one's error
FINISHED = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.OVER_BUDGET)
STARTUP_TRIALS = 10  # optuna's default for TPE, where the study does not record another


class Health(enum.StrEnum):
    """A check's verdict."""

    PASS = "pass"
    WARNING = "warning"
    UNKNOWN = "not enough trials"


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """One question with its verdict, what was found, and the rule that judged it."""

    question: str
    verdict: Health
    found: str
    rule: str


def check_health(
    *,
    trials: Sequence[TrialRecord],
    entries: Sequence[Entry],
    limits: StudyLimits,
    dimensions: Sequence[Dimension],
    settings: Mapping[str, object],
) -> tuple[HealthCheck, ...]:
    """All checks, in the order in which a reader should worry about them.

    Args:
        trials: All trials of the study.
        entries: The valid architectures, best first.
        limits: What the study demands.
        dimensions: The searched parameters.
        settings: The study's recorded settings, for the sampler and its startup.
    """
    searched = [trial for trial in trials if not trial.is_reference]
    found = [entry for entry in entries if entry.trial.is_found]
    ranked = [entry.trial for entry in found]
    ties = sum(entry.tie == 1 for entry in entries)
    startup = positive(settings.get("startup_trials")) or STARTUP_TRIALS
    return (
        enough_complete(searched),
        gaps_above_noise(ties, len(ranked), limits),
        better_than_startup(searched, found, startup, str(settings.get("sampler") or "")),
        settled(searched, found),
        few_over_budget(searched),
        best_inside_ranges(ranked, dimensions),
        pruner_spares_the_best(searched, ranked, limits),
        pruner_lets_trials_pass(searched),
        few_failures(searched),
    )


def enough_complete(trials: Sequence[TrialRecord]) -> HealthCheck:
    """Pass with at least 20 complete trials."""
    complete = sum(trial.outcome is Outcome.COMPLETE for trial in trials)
    return HealthCheck(
        question="Are there enough complete trials to say anything?",
        verdict=Health.PASS if complete >= ENOUGH_COMPLETE else Health.WARNING,
        found=f"{complete:,} complete",
        rule=f"at least {ENOUGH_COMPLETE} complete trials",
    )


def gaps_above_noise(ties: int, ranked: int, limits: StudyLimits) -> HealthCheck:
    """Warning if the intervals of other architectures overlap that of the first."""
    if limits.validation_images is None:
        verdict, found = Health.UNKNOWN, "the number of validation images was not recorded"
    elif ranked < 2:
        verdict, found = Health.UNKNOWN, f"{ranked} ranked"
    elif ties > 1:
        verdict = Health.WARNING
        found = f"{ties:,} architectures tie for the first place: retrain them on fresh seeds"
    else:
        verdict, found = Health.PASS, "the first stands alone"
    return HealthCheck(
        question="Is the winner's lead larger than the noise?",
        verdict=verdict,
        found=found,
        rule="the first one's 95 % interval lies wholly above all others",
    )


def better_than_startup(
    trials: Sequence[TrialRecord], found: Sequence[Entry], startup: int, sampler: str
) -> HealthCheck:
    """Pass if what was found after the sampler's random startup ranks above all of the startup.

    Needs an architecture on both sides. A random search has no startup to compare with.
    """
    first = {trial.number for trial in trials[:startup]}
    early = [entry for entry in found if entry.trial.number in first]
    late = [entry for entry in found if entry.trial.number not in first]
    verdict, words = Health.UNKNOWN, f"{len(early)} ranked in the startup, {len(late)} after it"
    if "random" in sampler.lower():
        words = "a random search has no startup to compare with"
    elif early and late:
        verdict = Health.PASS if late[0].rank < early[0].rank else Health.WARNING
        words = f"best {100 * late[0].accuracy:.2f} % after it, "
        words += f"{100 * early[0].accuracy:.2f} % in it"
    return HealthCheck(
        question="Is the search better than its random startup?",
        verdict=verdict,
        found=words,
        rule=f"the best after the first {startup} trials ranks above the best of them",
    )


def settled(trials: Sequence[TrialRecord], found: Sequence[Entry]) -> HealthCheck:
    """Pass if the last third of the trials lowered the expected error of the best by 5 % at most.

    Compared are the architecture that is first now and the one that was first after two thirds of
    the finished trials, both by what is expected of them now. All of their seeds count, so a single
    lucky training at the end is no gain, and seeds that put another architecture first are one.
    """
    numbers = [trial.number for trial in trials if trial.outcome in FINISHED]
    verdict, words = Health.UNKNOWN, counted(len(numbers), "finished trial")
    if len(numbers) >= ENOUGH_TO_SETTLE and found:
        cut = sorted(numbers)[round(2 * len(numbers) / 3) - 1]
        early = [seed for entry in found for seed in entry.seeds if seed.number <= cut]
        best = found[0].expected
        first = next((one.first.number for one in architectures(early)), None)
        then = next((entry.expected for entry in found if entry.trial.number == first), 0.0)
        verdict = Health.PASS if best - then <= SETTLED * (1 - then) else Health.WARNING
        words = (
            f"the last third of the trials made the best {100 * (best - then):.3f} points better"
        )
    return HealthCheck(
        question="Has the search converged, or would more trials pay?",
        verdict=verdict,
        found=words,
        rule=f"the last third of the trials lowered the error that is expected of the best by "
        f"{100 * SETTLED:.0f} % at most",
    )


def few_over_budget(trials: Sequence[TrialRecord]) -> HealthCheck:
    """Warning if more than 20 % of the finished trials were over budget."""
    over = sum(trial.outcome is Outcome.OVER_BUDGET for trial in trials)
    finished = sum(trial.outcome in FINISHED for trial in trials)
    verdict, found = Health.UNKNOWN, "nothing finished"
    if finished:
        verdict = Health.PASS if over <= LARGEST_OVER_BUDGET_SHARE * finished else Health.WARNING
        found = f"{over:,} of {finished:,} finished ({100 * over / finished:.0f} %)"
    return HealthCheck(
        question="Does the sampler keep to the budget?",
        verdict=verdict,
        found=found,
        rule=f"at most {100 * LARGEST_OVER_BUDGET_SHARE:.0f} % over budget",
    )


def best_inside_ranges(
    ranked: Sequence[TrialRecord], dimensions: Sequence[Dimension]
) -> HealthCheck:
    """Warning if most of the best five lie in the same outer 2 % of a numeric range.

    Integer ranges of fewer than five values are left out: their ends are choices, not edges.
    """
    best = ranked[:BEST]
    at_edge = []
    for dimension in dimensions:
        if not dimension.is_ordered or (dimension.whole and dimension.high - dimension.low < 4):
            continue
        places = [dimension.position(trial.params.get(dimension.name)) for trial in best]
        low = sum(place is not None and place <= EDGE for place in places)
        high = sum(place is not None and place >= 1 - EDGE for place in places)
        for count, end, name in (
            (low, dimension.ends()[0], "low"),
            (high, dimension.ends()[1], "high"),
        ):
            if 2 * count > BEST:
                at_edge.append(f"{dimension.name.replace('_', ' ')} at its {name} end {end}")
    if len(best) < BEST:
        verdict, found = Health.UNKNOWN, f"{len(best)} ranked"
    else:
        verdict = Health.WARNING if at_edge else Health.PASS
        found = "; ".join(at_edge) or "none at an edge"
    return HealthCheck(
        question="Do the best stay away from the edges of the ranges?",
        verdict=verdict,
        found=found,
        rule=f"fewer than three of the best {BEST} in the outer {100 * EDGE:.0f} % of one range",
    )


def pruner_spares_the_best(
    trials: Sequence[TrialRecord], ranked: Sequence[TrialRecord], limits: StudyLimits
) -> HealthCheck:
    """Warning if one of the best five was where most trials were pruned: below the median.

    The epoch is the median of those at which trials were pruned. The median rule allows for the
    standard error of an accuracy, and so does this, where the number of validation images is
    known. Trials that were in fact pruned cannot be asked, so a pass is weak evidence.
    """
    last_epochs = [t.curve[-1][0] for t in trials if t.outcome is Outcome.PRUNED and t.curve]
    complete = [dict(t.curve) for t in trials if t.outcome is Outcome.COMPLETE and t.curve]
    best = ranked[:BEST]
    verdict, found = Health.UNKNOWN, f"{len(last_epochs)} pruned, {len(best)} ranked"
    if last_epochs and len(best) == BEST:
        epoch = round(statistics.median(last_epochs))
        seen = [curve[epoch] for curve in complete if epoch in curve]
        median = statistics.median(seen) if seen else 0.0
        images = limits.validation_images or math.inf
        bound = median - math.sqrt(max(0.0, median * (1 - median)) / images)
        below = sum(dict(t.curve).get(epoch, 1.0) < bound for t in best)
        verdict = Health.WARNING if below else Health.PASS
        found = f"{below} of the best {BEST} were below its bound at epoch {epoch}"
    return HealthCheck(
        question="Does the pruner spare late bloomers?",
        verdict=verdict,
        found=found,
        rule=f"none of the best {BEST} below the median by more than a standard error at the usual "
        "pruning epoch",
    )


def pruner_lets_trials_pass(trials: Sequence[TrialRecord]) -> HealthCheck:
    """Warning if more than 70 % of the later half of what was trained was pruned.

    A median of complete trials alone rises with each that passes, until chance decides who does.
    """
    trained = [t for t in trials if t.curve and t.outcome in (Outcome.COMPLETE, Outcome.PRUNED)]
    later = trained[len(trained) // 2 :]
    share = sum(trial.outcome is Outcome.PRUNED for trial in later) / max(1, len(later))
    verdict, found = Health.UNKNOWN, f"{len(trained):,} trained"
    if len(trained) >= ENOUGH_COMPLETE:
        verdict = Health.PASS if share <= LARGEST_PRUNED_SHARE else Health.WARNING
        found = f"{100 * share:.0f} % of the later half were pruned"
    return HealthCheck(
        question="Does the pruner let trials pass?",
        verdict=verdict,
        found=found,
        rule=f"at most {100 * LARGEST_PRUNED_SHARE:.0f} % of the later half of trained trials",
    )


def few_failures(trials: Sequence[TrialRecord]) -> HealthCheck:
    """Warning if more than 5 % of the ended trials failed."""
    failed = sum(trial.outcome is Outcome.FAILED for trial in trials)
    ended = sum(trial.outcome not in (Outcome.RUNNING, Outcome.WAITING) for trial in trials)
    verdict, found = Health.UNKNOWN, "nothing has ended"
    if ended:
        verdict = Health.PASS if failed <= LARGEST_FAILED_SHARE * ended else Health.WARNING
        found = f"{failed:,} of {ended:,} failed"
    return HealthCheck(
        question="Do trials run without failures?",
        verdict=verdict,
        found=found,
        rule=f"at most {100 * LARGEST_FAILED_SHARE:.0f} % failed",
    )
