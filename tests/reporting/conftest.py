"""A study with every outcome in it, and its summary, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.reporting.leaderboard import Summary, summarize
from tests.reporting.studies import realistic, sqlite_study


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with 60 trials: three references, complete, pruned, failed, over budget."""
    path = tmp_path_factory.mktemp("study") / "study.db"
    sqlite_study(path, realistic(60))
    return path


@pytest.fixture(scope="session")
def summary(study_file: Path) -> Summary:
    study = optuna.load_study(study_name="cnn-search", storage=f"sqlite:///{study_file}")
    return summarize(study)
