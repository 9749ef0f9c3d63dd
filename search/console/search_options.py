"""The options of ``search/run.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

from search.console.arguments import (
    MOST_WORKERS,
    add_data,
    add_device,
    add_space,
    add_stack,
    add_storage,
    add_workers,
    hours,
    natural,
    path_name,
    percentage,
    positive,
    some_name,
    study_name,
    trial_count,
    whole,
)
from search.study.storages.opening import DEFAULT_STUDY
from search.training.hardware import SEEDS_PER_RACE
from search.training.recipe import MOST_EPOCHS

REPORTS = Path(__file__).resolve().parents[2] / "reports"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser all of them."""
    add = parser.add_argument
    # How much
    add(
        "--trials",
        type=trial_count,
        default=100,
        metavar="N",
        help="total of finished trials in the study; pruned and over-budget ones count",
    )
    add(
        "--hours",
        type=hours,
        metavar="H",
        help="stop after H hours; the same command resumes; default: no limit",
    )
    add(
        "--stop-after-stall",
        type=trial_count,
        metavar="K",
        help="stop after K finished trials in a row with no better architecture; default: never",
    )
    add(
        "--target-reached",
        action="store_true",
        help="end when the best architecture is expected to reach the target with another seed",
    )
    add(
        "--epochs",
        type=whole(1, MOST_EPOCHS),
        default=20,
        metavar="N",
        help="most epochs of a trial",
    )
    add_workers(parser, MOST_WORKERS)
    more = "; where the racing sampler wants another seed of a candidate, it gets so many"
    add_stack(parser, SEEDS_PER_RACE, more)
    add(
        "--cluster",
        metavar="ADDRESS",
        help="have Ray place the workers: host:port of a cluster's head, auto for the cluster of "
        "this machine, local to start Ray here; default: processes of this machine",
    )
    add(
        "--from",
        type=study_name,
        nargs="+",
        action="extend",
        default=[],
        metavar="STUDY.db",
        help="begin with the best candidates of other studies, files or URLs, and let the sampler "
        "learn from all of them; FILE::NAME picks one study of several; default: none",
    )
    # What, instead of searching
    add(
        "--candidate",
        type=path_name,
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="train the candidates in these JSON files under the study's settings, then exit; "
        "default: none",
    )
    add(
        "--references",
        action="store_true",
        help="train the public reference systems for MNIST under the study's settings, then exit",
    )
    # Limits
    add(
        "--max-params",
        type=positive,
        default=20_000,
        metavar="N",
        help="most trainable parameters, inclusive",
    )
    add(
        "--max-macs",
        type=positive,
        metavar="N",
        help="most multiply-accumulates of one image; default: no limit",
    )
    add(
        "--max-ram",
        type=positive,
        metavar="BYTES",
        help="most bytes of activations at the peak of one image, int8; default: no limit",
    )
    add(
        "--max-flash",
        type=positive,
        metavar="BYTES",
        help="most bytes of weights and what goes with them, int8; default: no limit",
    )
    add(
        "--target",
        type=percentage,
        metavar="PERCENT",
        help="accuracy that the reports judge by, for instance 98.5; default: 99.4 on MNIST, none "
        "on other data",
    )
    # How
    add("--seed", type=natural, default=0, metavar="N", help="seeds the sampler and all trainings")
    add(
        "--sampler",
        choices=("racing", "tpe", "random"),
        default="racing",
        help="what proposes candidates; racing: a Gaussian process, changes of the best, and more "
        "seeds of what may be the best",
    )
    add(
        "--pruner",
        choices=("median", "hyperband", "none"),
        default="median",
        help="what ends weak trials early",
    )
    add_device(parser)
    add(
        "--compile",
        action="store_true",
        help="torch.compile every network: 10 to 30 s each, which a GPU may repay",
    )
    add_space(parser)
    # Data
    add_data(parser)
    add(
        "--train-images",
        type=positive,
        metavar="N",
        help="train on the first N images only, for a quick look; default: all",
    )
    # Study
    add_storage(parser)
    add(
        "--study",
        type=some_name,
        default=DEFAULT_STUDY,
        metavar="NAME",
        help="name within the storage",
    )
    add(
        "--continue-anyway",
        action="store_true",
        help="go on with a study that was begun with other settings",
    )
    add(
        "--log-to",
        nargs="+",
        action="extend",
        choices=("mlflow", "tensorboard"),
        default=[],
        metavar="mlflow|tensorboard",
        help="log each trial that ends to MLflow or TensorBoard; needs requirements-logging.txt; "
        "default: neither",
    )
    add(
        "--reports",
        type=path_name,
        default=REPORTS,
        metavar="DIR",
        help="where the leaderboard goes; default: reports/ in the project's root",
    )
