"""Searches whose workers Ray places: a node that is killed, Ctrl-C, what a password is seen in."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.study.storages.opening import connect
from tests.cluster.rays import Nodes, command_lines, workers
from tests.faults.processes import (
    check_done,
    check_whole,
    finish,
    process_of,
    start,
    trials,
    wait_for,
)

pytestmark = pytest.mark.processes

LONG = ("--pruner", "none", "--epochs", "5000")
START = 240.0  # seconds for Ray, on a machine that has other things to do


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    yield made
    made.close()


@pytest.fixture
def shared(command: list[str], database: str, nodes: Nodes) -> list[str]:
    """A search on the cluster and the database server, of one worker a node; one CPU is spare."""
    at = command.index("--storage") + 1
    return [
        *command[:at],
        database,
        *command[at + 1 :],
        *("--cluster", nodes.address),
        *("--max-params", "200000"),  # no candidate of the space has more: each trial trains
        *("--workers", "3"),
    ]


class Look:
    """Looks at a study on a server again and again."""

    def __init__(self, database: str) -> None:
        self._storage = connect(database)

    def trials(self) -> list[FrozenTrial]:
        """The study's trials, none while it is not there yet."""
        try:
            study = optuna.load_study(study_name="cnn-search", storage=self._storage)
        except KeyError:
            return []
        return study.get_trials(deepcopy=False)

    def training(self) -> list[FrozenTrial]:
        """Running trials that have finished an epoch."""
        found = self.trials()
        return [t for t in found if t.state == TrialState.RUNNING and t.intermediate_values]


def test_a_node_that_dies_in_mid_trial_costs_no_trial(
    shared: list[str], database: str, nodes: Nodes
) -> None:
    """The killed node's trial goes on elsewhere, and its worker is replaced there."""
    look = Look(database)
    process = start(shared, "--trials", "4", "--pruner", "none", "--epochs", "120")
    wait_for(lambda: len(look.training()) == 3, process, START)
    password = database.split(":")[2].split("@")[0]
    assert password not in command_lines()
    cut, node = next(
        (trial, nodes.of_process(process_of(trial)))
        for trial in look.training()
        if nodes.of_process(process_of(trial)) is not None
    )
    nodes.kill(node)
    killed = time.monotonic()

    def goes_on() -> bool:
        again = look.trials()[cut.number]
        return bool(again.user_attrs["worker"] != cut.user_attrs["worker"])

    wait_for(goes_on, process, 120)
    assert time.monotonic() - killed < 120, "long before a silence would show it"
    code, out, err = finish(process)
    print(out)  # pytest -rP shows it
    assert code == 0, err
    assert err == ""
    assert "was lost with 1 worker;" in out or "1 worker died" in out
    found = look.trials()
    check_whole(found, 4)
    again = found[cut.number]
    assert len(again.intermediate_values) > len(cut.intermediate_values)
    assert again.intermediate_values.items() >= cut.intermediate_values.items()
    assert again.user_attrs["seed"] == cut.user_attrs["seed"]
    assert again.user_attrs["resumed_after_epoch"] >= 1
    assert "[4/4]" in out
    assert password not in out
    assert [log for log in nodes.logs() if password.encode() in log.read_bytes()] == []
    nodes.add("node-3")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_frees_the_cluster(
    shared: list[str], database: str, nodes: Nodes, times: int
) -> None:
    look = Look(database)
    process = start(shared, "--trials", "3", *LONG)
    wait_for(lambda: len(look.training()) == 3, process, START)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
    code, out, _ = finish(process, 120)
    assert code == 130
    _, alive = psutil.wait_procs(workers(), timeout=30)
    assert alive == []
    found = look.trials()
    assert len(found) == 3
    if times == 1:
        assert "stopping" in out
        assert {trial.state for trial in found} == {TrialState.WAITING}, "to go on with"


def test_ray_on_this_machine_alone_needs_no_server(command: list[str], tmp_path: Path) -> None:
    process = start(command, "--cluster", "local", "--workers", "2", "--trials", "5")
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert "5 of 5 trials" in out
    check_done(tmp_path / "study.db", 5)
    owners = {trial.user_attrs["worker"] for trial in trials(tmp_path / "study.db")}
    assert len(owners) == 2


def test_nothing_of_ray_outlives_a_search_that_started_it(
    command: list[str], tmp_path: Path
) -> None:
    process = start(command, "--cluster", "local", "--workers", "1", "--trials", "1", *LONG)
    database = tmp_path / "study.db"
    wait_for(lambda: any(t.intermediate_values for t in trials(database)), process, START)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("raylet" in child.name() for child in children)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=180)  # its agents look for it now and then
    assert alive == []


def test_a_worker_that_dies_alone_is_replaced(shared: list[str], database: str) -> None:
    look = Look(database)
    process = start(shared, "--trials", "2", "--workers", "1", "--pruner", "none", "--epochs", "20")
    wait_for(lambda: len(look.training()) == 1, process, START)
    psutil.Process(process_of(look.training()[0])).kill()
    code, out, err = finish(process)
    assert code == 0, err
    assert "1 worker died and was replaced" in out
    check_whole(look.trials(), 2)
