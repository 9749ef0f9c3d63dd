"""The server that the other tests here stand on."""

from __future__ import annotations

import optuna
import pytest

from search.study.storages.opening import create_study, open_study
from tests.cluster.postgres import PostgresServer

pytestmark = pytest.mark.processes


def test_what_was_committed_outlives_a_restart(database: str, server: PostgresServer) -> None:
    study = create_study(database, "kept")
    study.add_trial(optuna.trial.create_trial(value=0.5))
    server.stop()
    server.start()
    assert open_study(database).best_value == 0.5
