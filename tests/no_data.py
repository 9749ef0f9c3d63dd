"""Jobs for tests whose objectives look at no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search.engine.dataset import DataSource
from search.engine.workers import Job

NO_DATA = DataSource(
    folder=Path("/nowhere"), name="none", description="none", fingerprint="", mean=0.0, std=1.0
)


def job_without_data(storage: str, make_objective: Any, **settings: Any) -> Job:
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
    return Job(storage=storage, make_objective=make_objective, **{**usual, **settings})
