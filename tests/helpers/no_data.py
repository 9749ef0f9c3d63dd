"""Jobs for tests whose objectives look at no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.data.dataset import DataSource
from search.study.judge import Judge
from search.workers.job import Job
from search.workers.messages import MakeTraining

NO_DATA = DataSource(
    folder=Path("/nowhere"),
    name="none",
    description="none",
    fingerprint="",
    mean=(0.0,),
    std=(1.0,),
)


def job_without_data(
    storage: str, judge: Judge, make_training: MakeTraining, **settings: Any
) -> Job:
    """A job on the study "s" with random draws and without a pruner, unless settings differ."""
    usual: dict[str, Any] = {
        "study": "s",
        "sampler": "random",
        "pruner": "none",
        "seed": 0,
        "epochs": 1,
        "validation_images": 10_000,
        "source": NO_DATA,
    }
    given = {**usual, **settings}
    return Job(storage=storage, judge=judge, make_training=make_training, **given)
