"""What the trainings of a study say of its candidates: what another seed of each would give.

A training's value is the candidate's own plus the luck of its seed, and among the best of a search
the luck is as large as the differences. So the best value flatters, the more the more were tried.
Here each candidate's mean is drawn towards the middle of all, the more the fewer seeds it has had:
the posterior of a normal mean under a normal prior that the study itself tells (empirical Bayes;
Efron and Morris 1975, doi 10.1080/01621459.1975.10479864). The prior's variance and that of luck
are those of the highest likelihood, which need not know why a candidate got more seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Variance between candidates in units of that of luck. Where few seeds tell, both are alike: 52 %
# of the variance of accuracies lay between networks (docs/log/deskewing-and-tta.md).
RATIOS = [10 ** (step / 10) for step in range(-15, 16)]
PRIOR = 0.3  # of the ratio's decimal logarithm, standard deviation around zero


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """What is believed of one candidate."""

    expected: float  # that another seed gives on average
    deviation: float  # standard deviation of that expectation, not of a single training


def posteriors(
    values: Sequence[Sequence[float]], searched: Sequence[Sequence[float]] = ()
) -> list[Posterior]:
    """What is believed of each candidate.

    A search's poor candidates lie far below, and would make everything else look alike: what is
    further below the median than the best value is above it counts as if it were just as far.

    Args:
        values: Of each candidate, one a seed; large is good, and there is at least one of each.
        searched: Those that tell the prior and the luck, where others are among the values.

    Returns:
        One for each candidate, in their order.
    """
    if not values:
        return []
    largest = max(abs(value) for seeds in (*values, *searched) for value in seeds)
    unit = math.frexp(largest)[1]  # the square of what is very large is infinite
    values, searched = (
        [[math.ldexp(value, -unit) for value in seeds] for seeds in of]
        for of in (values, searched or values)
    )
    middle = statistics.median(statistics.fmean(seeds) for seeds in searched)
    lowest = 2 * middle - max(max(seeds) for seeds in searched)
    clipped = [[max(value, lowest) for value in seeds] for seeds in searched]
    _, ratio, luck, prior = max(_fit(clipped, ratio) for ratio in RATIOS)
    found = []
    for seeds in values:
        mean = statistics.fmean(seeds)
        trust = ratio / (ratio + 1 / len(seeds)) if luck > 0 else 1.0
        found.append(
            Posterior(
                expected=math.ldexp(prior + trust * (mean - prior), unit),
                deviation=math.ldexp(math.sqrt(trust * luck / len(seeds)), unit),
            )
        )
    return found


def _fit(values: Sequence[Sequence[float]], ratio: float) -> tuple[float, float, float, float]:
    """Log-likelihood with the prior of a ratio, the ratio, variance of luck, mean of candidates."""
    means = [statistics.fmean(seeds) for seeds in values]
    weights = [1 / (ratio + 1 / len(seeds)) for seeds in values]
    prior = statistics.fmean(means, weights)
    squares = sum(w * (mean - prior) ** 2 for w, mean in zip(weights, means, strict=True))
    squares += sum(
        (value - mean) ** 2 for mean, seeds in zip(means, values, strict=True) for value in seeds
    )
    count = sum(map(len, values))
    luck = squares / count
    likely = -count / 2 * math.log(luck) if luck > 0 else 0.0
    likely -= sum(math.log1p(ratio * len(seeds)) for seeds in values) / 2
    return likely - (math.log10(ratio) / PRIOR) ** 2 / 2, ratio, luck, prior
