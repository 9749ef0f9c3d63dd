"""What the default space's candidates cost, and whether cheap ones are good enough.

    python benchmarks/hardware/cost.py             multiply-accumulates of 2,000 random draws
    python benchmarks/hardware/cost.py study.db    also: cost and accuracy of a study's trials

First table: the spread of multiply-accumulates among random draws within the limit of parameters,
beside the reference systems'. Second table: a study's complete trials in four groups from cheap to
dear, with their seconds an epoch, their best and their median accuracy. If the dearest group were
the best, the ranges would shut out good candidates; if it is not, they waste no time.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import optuna
from optuna.trial import TrialState

from search.architecture.counting import count_macs, count_parameters
from search.architecture.limits import Limits
from search.architecture.references import REFERENCES
from search.data.problem import MNIST_PROBLEM
from search.study.storages.opening import open_study
from space import suggest

DRAWS = 2000
LIMIT = 20_000


def drawn() -> list[int]:
    """Multiply-accumulates of random draws within the limit, ascending."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    candidates = (
        suggest(study.ask(), MNIST_PROBLEM, Limits(max_params=LIMIT)) for _ in range(DRAWS)
    )
    within = (one for one in candidates if count_parameters(one) <= LIMIT)
    return sorted(count_macs(candidate) for candidate in within)


def print_draws() -> None:
    """The first table."""
    macs = drawn()
    cuts = statistics.quantiles(macs, n=20)
    print(f"{len(macs):,} of {DRAWS:,} random draws have at most {LIMIT:,} parameters")
    for share, value in (
        (5, cuts[0]),
        (25, cuts[4]),
        (50, cuts[9]),
        (75, cuts[14]),
        (95, cuts[18]),
    ):
        print(f"{share:3} % have at most {value / 1e6:5.2f} M multiply-accumulates")
    for name, reference in REFERENCES.items():
        cost = count_macs(reference.candidate)
        cheaper = sum(value <= cost for value in macs) / len(macs)
        print(f"{name:20} {cost / 1e6:8.2f} M: dearer than {cheaper:.0%} of the draws")


def print_trials(storage: str) -> None:
    """The second table."""
    trials = open_study(storage).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trained = [t for t in trials if t.user_attrs.get("epochs") and "macs" in t.user_attrs]
    trained.sort(key=lambda trial: int(trial.user_attrs["macs"]))
    print("\nM multiply-accumulates   trials  seconds an epoch   best      median")
    for part in range(4):
        group = trained[part * len(trained) // 4 : (part + 1) * len(trained) // 4]
        macs = [trial.user_attrs["macs"] / 1e6 for trial in group]
        seconds = [trial.user_attrs["seconds"] / trial.user_attrs["epochs"] for trial in group]
        values = [100 * trial.values[0] for trial in group]
        print(
            f"{macs[0]:9.2f} – {macs[-1]:5.2f} {len(group):13} {statistics.median(seconds):17.2f}"
            f" {max(values):9.2f} % {statistics.median(values):7.2f} %"
        )


def main() -> None:
    """Print the tables."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print_draws()
    if len(sys.argv) > 1:
        print_trials(sys.argv[1])


if __name__ == "__main__":
    main()
