"""Numbers and sentences as a report's reader sees them, the same in every form of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from search.common.text import counted
from search.reporting.intervals import Interval
from search.reporting.leaderboard import Summary
from search.reporting.ranking import Entry
from search.reporting.records import Outcome

NOTHING = "–"

OPTIMISM = (
    "These architectures were selected on these same validation figures, so the figures are "
    "optimistic: the best of many is partly the luckiest. To quote a figure, retrain with fresh "
    "seeds and use the test set."
)


def percent(share: float | None, digits: int = 2) -> str:
    """An accuracy: ``99.43 %``."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def several_seeds(summary: Summary) -> bool:
    """Whether some architecture was trained with more than one seed."""
    return any(len(entry.seeds) > 1 for entry in summary.entries)


def over_seeds(entry: Entry) -> str:
    """How many seeds, and the interval of their mean: ``3 (99.55–99.64 %)``."""
    seeds = str(len(entry.seeds))
    return seeds if entry.over_seeds is None else f"{seeds} ({interval(entry.over_seeds)})"


def accuracy(share: float | None, balanced: float | None) -> str:
    """An accuracy with the balanced one, where there is one: ``97.20 % (balanced 91.35 %)``."""
    beside = "" if balanced is None else f" (balanced {percent(balanced)})"
    return percent(share) + beside


def interval(value: Interval | None) -> str:
    """An interval of accuracies: ``99.26–99.56 %``."""
    return NOTHING if value is None else f"{100 * value.low:.2f}–{100 * value.high:.2f} %"


def count(value: int | None) -> str:
    """A whole number with its thousands marked: ``17,890``."""
    return NOTHING if value is None else f"{value:,}"


def compact(value: int | None) -> str:
    """A large number in short: ``1.23 M``."""
    if value is None:
        return NOTHING
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            scaled = value / size
            return f"{scaled:.{max(0, 3 - len(str(int(scaled))))}f} {unit}"
    return str(value)


def rate(value: float | None) -> str:
    """A learning rate: ``0.03``."""
    return NOTHING if value is None else f"{value:.3g}"


def widths(values: Sequence[int] | None) -> str:
    """Channels of the convolutions: ``8 16 16 32``."""
    return NOTHING if not values else " ".join(map(str, values))


def place(entry: Entry) -> str:
    """A rank, marked if it is a tie: ``3=`` cannot be told apart from the first of its group."""
    return f"{entry.rank}=" if entry.tied else str(entry.rank)


def duration(seconds: float | None) -> str:
    """A time span with two units at most: ``1 h 12 min``, ``3 min 20 s``, ``4.2 s``."""
    if seconds is None:
        return NOTHING
    if seconds < 0.05:
        return "under 0.1 s" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def named(entry: Entry) -> str:
    """A trial with its label: ``trial 57``, ``trial 3 (reference: narrow-8k)``."""
    label = f" ({entry.trial.label})" if entry.trial.label else ""
    return f"trial {entry.trial.name}{label}"


def compared_heading(summary: Summary) -> str:
    """What the table of systems to compare with is called."""
    others = any(not trial.is_reference for trial in summary.references)
    named = "Reference systems and candidates of users" if others else "Reference systems"
    return f"{named} under this protocol"


def points(target: float) -> str:
    """A target: ``99.4 %``."""
    return f"{100 * target:.4g} %"


def data_sentence(summary: Summary) -> str:
    """What was trained and validated on, and for how long; says what is not recorded."""
    limits, problem = summary.limits, summary.problem
    parts = [problem.name or "data set not recorded"]
    if problem.mean and not problem.is_mnist:
        parts += [problem.pixels, counted(problem.classes, "class")]
    for images, split in (
        (limits.train_images, "training image"),
        (limits.validation_images, "validation image"),
    ):
        parts.append(f"{split}s not recorded" if images is None else counted(images, split))
    known = "epochs" not in limits.assumed
    parts.append(f"at most {counted(limits.epochs, 'epoch')}" if known else "epochs not recorded")
    return f"Data: {', '.join(parts)}."


def headline(summary: Summary) -> str:
    """The verdict in a few words."""
    verdict = summary.verdict
    if verdict.best is None:
        return "No valid architecture yet"
    if summary.limits.target is None:
        sure = f" ({interval(verdict.best.interval)})" if verdict.best.interval else ""
        return f"Best validation accuracy {percent(verdict.best.accuracy)}{sure}"
    target = points(summary.limits.target)
    if not verdict.met:
        return f"Target of {target} not reached"
    return f"Target of {target} reached" + ("" if verdict.certain else ", but within the noise")


def verdict_sentence(summary: Summary) -> str:
    """Who is best, with which interval, whether it meets the target, and how sure that is."""
    verdict, limits = summary.verdict, summary.limits
    best = verdict.best
    if best is None:
        return _nothing_yet(summary)
    sure = f" (95 % interval {interval(best.interval)})" if best.interval else ""
    if best.interval and best.over_seeds:
        sure = f" (95 % intervals: images {interval(best.interval)}, seeds "
        sure += f"{interval(best.over_seeds)})"
    seeds = f" over {len(best.seeds)} seeds" if len(best.seeds) > 1 else ""
    text = f"The best is {named(best)}: {percent(best.accuracy)}{seeds}{sure}"
    if best.balanced is not None:
        text += f", balanced {percent(best.balanced)},"
    text += f" with {counted(best.parameters, 'parameter')} in "
    text += f"{counted(best.trial.epochs or 0, 'epoch')}."
    if best.interval is None:
        text += " No interval can be given: the number of validation images is not recorded."
    if limits.target is None:
        return text
    target = points(limits.target)
    if best.interval is None:
        pass
    elif verdict.met and not verdict.certain:
        text += f" Its interval reaches below {target}, so luck alone could explain it."
    elif verdict.met:
        text += " Its whole interval lies at or above the target."
    elif best.interval.high >= limits.target:
        text += " Its interval includes the target, so it may be that good."
    reaching = counted(verdict.reaching or 0, "valid architecture")
    if verdict.met and (verdict.reaching or 0) > 1:
        text += f" In all, {reaching} reach {target}."
    elif verdict.reaching and not verdict.met:
        verb = "reaches" if verdict.reaching == 1 else "reach"
        text += f" {reaching} below it {verb} {target}, by luck as it seems."
    elif verdict.met:
        text += " No other valid architecture reaches it."
    return text


def noise_sentence(summary: Summary) -> str:
    """What the intervals say about the ranks."""
    images = summary.limits.validation_images
    if images is None:
        return (
            "The study does not record how many validation images there were, so no interval can "
            "be given and close ranks mean nothing."
        )
    text = (
        f"Accuracies are the last epoch's, on {counted(images, 'validation image')}; "
        "intervals are Wilson's, 95 %."
    )
    if several_seeds(summary):
        text = (
            "Accuracies are means over an architecture's seeds, at the last epoch, on "
            f"{counted(images, 'validation image')}. They are ranked by the accuracy expected of "
            "another seed: the mean, shrunk towards that of all architectures, more so the fewer "
            "the seeds. Intervals are 95 %: Wilson's covers the choice of images; Student's, "
            "beside the seeds, covers the choice of seeds on these images."
        )
    if any(entry.balanced is not None for entry in summary.entries):
        text += " Classes are uneven: balanced accuracy is the mean over classes."
    ties = summary.tied_with_first
    if ties > 1:
        text += (
            " Ranks marked “=” are ties: the interval of the first of them is not wholly above the "
            f"others'. The first {ties:,} cannot be told apart."
        )
    return text


def finished_sentence(summary: Summary) -> str:
    """How many trials finished and how all of them ended."""
    return f"{counted(summary.finished, 'finished trial')}: {counts_sentence(summary)}."


def counts_sentence(summary: Summary) -> str:
    """How the trials ended: ``61 complete, 25 pruned, 14 over budget, 0 failed``."""
    counts = summary.counts
    always = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.OVER_BUDGET, Outcome.FAILED)
    shown = [f"{counts[outcome]:,} {outcome}" for outcome in always]
    later = (Outcome.LEFT_OUT, Outcome.INTERRUPTED, Outcome.RUNNING, Outcome.WAITING)
    shown += [f"{counts[outcome]:,} {outcome}" for outcome in later if counts[outcome]]
    return ", ".join(shown)


def unranked_sentence(summary: Summary) -> str:
    """Why complete trials are missing from the leaderboard, or the empty string."""
    if not summary.unranked:
        return ""
    reasons = [f"{number:,} {why}" for why, number in summary.unranked.items()]
    return f"Complete but not ranked: {', '.join(reasons)}."


def assumed_sentence(summary: Summary) -> str:
    """Which limits are the tool's defaults, or the empty string."""
    limits = summary.limits
    names = {
        "max_params": counted(limits.max_params, "parameter"),
        "epochs": counted(limits.epochs, "epoch"),
    }
    assumed = [names[name] for name in limits.assumed]
    if not assumed:
        return ""
    return f"The study does not record its limits; assumed: {', '.join(assumed)}."


def adjusted_sentence(trained: Iterable[tuple[str, Sequence[str]]]) -> str:
    """What was trained otherwise than its recipe asks, by name, or the empty string."""
    found = [f"{name}: {', '.join(adjusted)}" for name, adjusted in trained if adjusted]
    return f"Deviations from the recipe: {'; '.join(found)}." if found else ""


def adjusted_trials(summary: Summary, top: int) -> str:
    """As ``adjusted_sentence``, of the best trials and of the systems to compare with."""
    shown = [entry.trial for entry in summary.entries[:top]] + list(summary.references)
    return adjusted_sentence({f"trial {t.name}": t.adjusted for t in shown}.items())


def _nothing_yet(summary: Summary) -> str:
    if not summary.trials:
        return "The study holds no trial yet."
    if summary.entries:
        return "Only candidates of users are ranked; the search itself has found nothing yet."
    if not summary.counts[Outcome.COMPLETE]:
        return f"No trial is complete: {counts_sentence(summary)}."
    return unranked_sentence(summary)
