"""The search command, run as a user runs it: real processes, real SQLite, real images."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from search import run as search_run
from search.data.cache import cache_directory
from search.study.attributes import DEVICE, SEED, SEED_OF
from search.workers.stopping import Stopping
from tests.helpers.commands import ROOT, load, run

pytestmark = pytest.mark.processes


def facts(study: optuna.Study) -> list[object]:
    """All of a study that does not depend on the clock."""
    clocked = ("seconds", "worker", "parent")
    return [
        (
            t.number,
            t.state,
            t.params,
            t.values,
            t.intermediate_values,
            {k: v for k, v in t.user_attrs.items() if k not in clocked},
        )
        for t in study.trials
    ]


def test_it_searches_reports_goes_on_and_knows_when_it_is_done(
    command: list[str], tmp_path: Path
) -> None:
    first = run(command, "--trials", "3", "--workers", "2", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert "3 of 3 trials" in first.stdout
    assert "[3/3]" in first.stdout
    for suffix in ("html", "md", "csv"):
        assert (tmp_path / "reports" / f"leaderboard.{suffix}").stat().st_size > 100
    before = facts(load(tmp_path))
    assert len(before) == 3
    again = run(command, "--trials", "3", "--workers", "2")
    assert "already holds 3 finished trials" in again.stdout
    more = run(command, "--trials", "5", "--workers", "2")
    assert more.returncode == 0, more.stderr
    after = facts(load(tmp_path))
    assert len(after) == 5
    assert after[:3] == before


def test_seeds_that_the_racing_sampler_draws_are_trained_as_one_network(
    command: list[str], tmp_path: Path
) -> None:
    done = run(command, "--trials", "40", "--epochs", "1", "--stack", "3", "--pruner", "none")
    assert done.returncode == 0, done.stderr
    trials = load(tmp_path).trials
    again = [trial for trial in trials if SEED_OF.of(trial) is not None]
    together = [trial for trial in trials if "stacked" in (DEVICE.of(trial) or "")]
    assert len(together) >= 3
    assert {trial.number for trial in together} <= {trial.number for trial in again}
    assert len(again) - len(together) <= 2, "but for the last, one of whose stack was wanted"
    first, second, third = together[:3]
    assert first.params == second.params == third.params
    assert len({SEED.of(trial) for trial in together}) == len(together)
    assert [trial.number for trial in (first, second, third)] == [
        first.number + at for at in range(3)
    ]
    other = run(command, "--trials", "41", "--stack", "3", "--sampler", "tpe")
    assert other.returncode == 2
    assert "--stack is for seeds that the racing sampler draws" in other.stderr


def test_a_search_ends_when_its_user_has_what_he_wants(command: list[str], tmp_path: Path) -> None:
    few = (*command, "--trials", "9", "--workers", "1")
    first = run([*few], "--target", "1.5", "--target-reached")
    assert first.returncode == 0, first.stderr
    assert "Stopped:     the target of 1.50 % is reached: another seed of trial 0" in first.stdout
    assert "--target-reached" not in first.stdout.partition("To continue:")[2]
    assert len(load(tmp_path).trials) == 1
    again = run([*few], "--target", "1.5", "--target-reached")
    assert "nothing to do: the target of 1.50 % is reached" in again.stdout
    soon = run([*few], "--target", "1.5", "--hours", "0.0001")
    assert soon.returncode == 0, soon.stderr
    assert "To resume:   run the same command again" in soon.stdout
    assert len(load(tmp_path).trials) <= 2


def test_other_tools_are_told_of_its_trials(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert run(command, "--trials", "1", "--workers", "1").returncode == 0
    tell = ("--trials", "2", "--workers", "1", "--log-to", "mlflow", "tensorboard")
    for _ in range(2):
        done = run(command, *tell)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"tensorboard: tensorboard --logdir {tmp_path}/study.db.tensorboard" in done.stdout
        folders = sorted(
            path.name for path in (tmp_path / "study.db.tensorboard/cnn-search").iterdir()
        )
        assert folders == ["trial-0", "trial-1"]  # of earlier commands too
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/study.db.mlflow.db")
    assert len(client.search_runs([e.experiment_id for e in client.search_experiments()])) == 2


def test_one_worker_and_one_seed_give_identical_studies(command: list[str], tmp_path: Path) -> None:
    studies = []
    for _ in range(2):
        done = run(command, "--trials", "4", "--workers", "1", "--seed", "3")
        assert done.returncode == 0, done.stderr
        studies.append(facts(load(tmp_path)))
        for file in tmp_path.glob("study.db*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert studies[0] == studies[1]


def test_other_settings_are_named_and_refused_until_told(
    command: list[str], tmp_path: Path
) -> None:
    assert run(command, "--trials", "1").returncode == 0
    before = facts(load(tmp_path))
    other = run(command, "--trials", "2", "--max-params", "5000")
    assert other.returncode == 2
    table, error = other.stderr.rstrip().rsplit("\n", 1)
    assert re.search(r"max_params +20000 +5000", table)
    assert error.startswith("error: the study 'cnn-search' was begun with other settings")
    assert facts(load(tmp_path)) == before
    anyway = run(command, "--trials", "2", "--max-params", "5000", "--continue-anyway")
    assert anyway.returncode == 0, anyway.stderr
    assert load(tmp_path).user_attrs["continued_with_other_settings"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "a whole number from 1 to 1,000,000 is needed, but got '0'"),
        (["--epochs", "0"], "a whole number from 1 to 100,000 is needed"),
        (["--max-params", "abc"], "--max-params: a whole number"),
        (["--sampler", "grid"], "invalid choice: 'grid'"),
        (["--data", "/no/such/directory"], "/no/such/directory"),
        (["--storage", __file__], "not an SQLite database"),
        (["--storage", "/no/such/a.db"], "no directory /no/such"),
        (["--storage", "postgresql+psycopg://u:secret@127.0.0.1:1/x"], "storage"),
        (["--reports", __file__], "nothing can be written to"),
        (["--device", "cuda:7"], "the device cuda:7 is not there"),
        (["--device", "tpu"], "'tpu' is not a device"),
        (
            ["--hours", "0"],
            "--hours: hours above 0 and up to 10,000 are needed, as 0.5, but got '0'",
        ),
        (["--hours", "nan"], "but got 'nan'"),
        (["--stop-after-stall", "0"], "--stop-after-stall: a whole number from 1"),
        (["--references", "--target-reached"], "Leave out one or the other"),
        (["--workers", "none"], "a whole number from 1 to 4,096 or auto is needed"),
        (["--workers", "257", "--trials", "300"], "one machine runs at most 256 workers"),
    ],
)
def test_bad_input_is_one_line_and_creates_nothing(
    command: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    content = Path(__file__).read_bytes()
    done = run(command, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == "" or "postgresql" in str(arguments)
    assert list(tmp_path.iterdir()) == []
    assert Path(__file__).read_bytes() == content


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        f"import sys; sys.argv = ['run.py', '--help']; sys.path.insert(0, {str(ROOT)!r})\n"
        "import search.run\n"
        "try: search.run.main()\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'torchvision', 'optuna', 'numpy', 'pandas')\n"
        "print('HEAVY', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "--max-params" in done.stdout
    assert done.stdout.endswith("HEAVY []\n")


@pytest.mark.network
def test_a_tiny_search_on_the_whole_of_mnist(tmp_path: Path) -> None:
    """From nothing but the network: fetch, search, report."""
    if (compiled := cache_directory() / "kernels").exists():  # that is another test's
        shutil.copytree(compiled, tmp_path / "cache" / "kernels")
        (tmp_path / "cache").chmod(0o700)
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "search/run.py"), "--trials", "1", "--epochs", "1"),
            *("--storage", str(tmp_path / "study.db"), "--reports", str(tmp_path / "reports")),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CNN_SEARCH_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert "MNIST from" in done.stdout
    settings = load(tmp_path).user_attrs["settings"]
    assert settings["dataset"]["train_images"] == 50_000
    assert settings["dataset"]["validation_images"] == 10_000
    assert "cnn-search" in (tmp_path / "reports/leaderboard.md").read_text()


def test_the_line_that_searches_on_is_the_command_with_more_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "it's a\nfolder")
    given = ["--trials", "3", "--study", "x", "--epochs", "2", "--storage", f"{folder}/a b.db"]
    options = search_run.parse([*given, "--continue-anyway", "--reports", str(tmp_path / "r")])
    study = optuna.create_study(direction="maximize")
    for _ in range(4):
        study.tell(study.ask(), 0.5)
    assert search_run.finish(study, options, 0, Stopping()) == 0
    line = capsys.readouterr().out.splitlines()[-1].partition("To continue:")[2]
    shell = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True)
    more = search_run.parse(shell.stdout.split("\0")[2:-1])
    assert vars(more) == {**vars(options), "trials": 8, "continue_anyway": False}
