"""Trains random candidates with several seeds each, for ``replay.py`` to search among.

    python benchmarks/record.py --keep benchmarks/recorded.jsonl

The reduced setting of ``search_quality.py``. Adds a line a training to the file: the candidate's
parameters, its seed, validation accuracy and loss, multiply-accumulates and seconds; the first line
has the parameters' ranges too. The same command again goes on where it was stopped. 120 candidates
with two seeds each take two cores a quarter of an hour where they multiply bfloat16.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

import optuna
from optuna.distributions import distribution_to_json

from benchmarks.search_quality import beside, reduced_settings
from search.architecture.spaces import DEFAULT_SPACE
from search.console.arguments import check_directory, positive, run_command

Run = tuple[int, int, str]  # number of the candidate and of its seed, file of the space


def train(run: Run) -> dict[str, Any]:
    """One line of the file."""
    from objective import Objective
    from search.study.sampling.choice import make_sampler

    number, seed, space = run
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=make_sampler("random", number))
    objective = Objective(reduced_settings(seed=1000 * number + seed, space=Path(space)))
    trial = study.ask()
    value = objective(trial)
    of = study.trials[0].user_attrs
    return {
        "candidate": number,
        "seed": seed,
        "accuracy": value,
        "loss": of["validation_loss"],
        "macs": of["macs"],
        "seconds": of["seconds"],
        "architecture": of["architecture"],
        "params": trial.params,
        "ranges": {name: distribution_to_json(d) for name, d in trial.distributions.items()},
    }


def main() -> int:
    """Train what the file lacks; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--candidates", type=positive, default=120)
    parser.add_argument("--seeds", type=positive, default=2, help="of each candidate")
    parser.add_argument("--space", type=Path, default=DEFAULT_SPACE, metavar="FILE")
    parser.add_argument("--keep", type=Path, required=True, metavar="FILE", help="JSON lines")
    options = parser.parse_args()
    check_directory(options.keep.parent, "--keep")
    lines = options.keep.read_text().splitlines() if options.keep.exists() else []
    there = {(line["candidate"], line["seed"]) for line in map(json.loads, lines)}
    runs = [
        (number, seed, str(options.space))
        for number in range(options.candidates)
        for seed in range(options.seeds)
        if (number, seed) not in there
    ]
    for line in beside(train, runs):
        if there:
            del line["ranges"]
        there.add((line["candidate"], line["seed"]))
        with options.keep.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    run_command(main)
