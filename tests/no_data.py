"""A source of images for tests whose objectives look at none."""

from __future__ import annotations

from pathlib import Path

from search.engine.dataset import DataSource

NO_DATA = DataSource(
    folder=Path("/nowhere"), name="none", description="none", fingerprint="", mean=0.0, std=1.0
)
