"""Where a run's workers go: processes of this machine, or a cluster's machines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.console.arguments import MOST_WORKERS_HERE
from search.training.arithmetic import Arithmetic
from search.workers.ray.addresses import LOCAL

if TYPE_CHECKING:
    from search.workers.coordinator import Start


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What a run's workers train on, and who starts them."""

    device: str
    arithmetic: Arithmetic
    workers: int  # at most
    start: Start
    warm_up: Callable[[], None]  # before the workers start


def place(
    options: argparse.Namespace, root: Path, say: Callable[[str], None], *, data_bytes: int = 0
) -> Placement:
    """Where the command line wants the workers.

    Args:
        options: ``cluster``, ``trials``, ``workers``, ``device``, ``precision``, ``compile`` and
            ``storage``.
        root: The program's folder.
        say: Told, in a line, what a cluster consists of.
        data_bytes: Of the images that a cluster's machines are sent.

    Raises:
        UserError: If the device or the cluster is not there or cannot be used.
    """
    workers = options.workers and min(options.workers, options.trials)
    if (workers or 0) > MOST_WORKERS_HERE and options.cluster in (None, LOCAL):
        raise UserError(
            f"one machine runs at most {MOST_WORKERS_HERE} workers, but got {options.workers:,}",
            "Give fewer --workers, or have a --cluster run them",
        )
    if options.cluster is None:
        return _here(options, workers)
    return _on_cluster(options, workers, root, say, data_bytes)


def copies_here(options: argparse.Namespace) -> int:
    """How many processes of this machine will hold the images: each of its workers.

    A cluster's workers share one copy on each machine.
    """
    from search.training.hardware import default_workers

    if getattr(options, "cluster", None) is not None:
        return 1
    device = "cpu" if options.device == "auto" else options.device
    workers: int = options.workers or default_workers(device)
    return min(workers, getattr(options, "trials", workers))


def _here(options: argparse.Namespace, asked: int | None) -> Placement:
    from search.training.hardware import default_workers, resolve_device, use_bfloat16
    from search.workers.local import LocalWorkers

    device = resolve_device(options.device)
    bfloat16 = use_bfloat16(options.precision, device)
    arithmetic = Arithmetic(bfloat16=bfloat16, compile=options.compile)
    return Placement(
        device=device,
        arithmetic=arithmetic,
        workers=asked or default_workers(device),
        start=LocalWorkers,
        warm_up=partial(warm_up, arithmetic, device),
    )


def _on_cluster(
    options: argparse.Namespace,
    asked: int | None,
    root: Path,
    say: Callable[[str], None],
    data_bytes: int,
) -> Placement:
    from search.workers.ray.connecting import connect

    cluster = connect(
        options.cluster,
        root=root,
        storage=options.storage,
        workers=asked,
        data_bytes=data_bytes,
    )
    say(cluster.description)
    device = cluster.device(options.device)
    workers = asked or cluster.room(device)
    bfloat16 = cluster.use_bfloat16(options.precision, device)
    return Placement(
        device=device,
        arithmetic=Arithmetic(bfloat16=bfloat16, compile=options.compile),
        workers=workers,
        start=partial(cluster.start, device=device),
        warm_up=lambda: None,  # each machine compiles for itself
    )


def warm_up(arithmetic: Arithmetic, device: str) -> None:
    """Compile a CPU's kernels before several workers would do it side by side."""
    import torch

    from search.training import kernels as fused
    from search.training.network import uses_fused

    if uses_fused(arithmetic, torch.device(device)):
        fused.warm_up(bfloat16=arithmetic.bfloat16)
