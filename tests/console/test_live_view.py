"""What a person sees: a live view on a terminal, log lines elsewhere."""

from __future__ import annotations

import io
import re

import optuna
import pytest
from optuna.trial import TrialState

from search.common.process_id import machine_name
from search.console.live_view import Progress, duration, outcome, percent, snapshot, worker_name
from search.console.terminal import Terminal
from search.reporting.records import StudyLimits


def study() -> optuna.Study:
    made = optuna.create_study(direction="maximize")
    for value, size in ((0.991, 9_000), (0.994, 12_000), (0.994, 8_000)):
        trial = made.ask()
        trial.set_user_attr("parameters", size)
        trial.set_user_attr("architecture", f"c8 P c16 | {size}")
        trial.set_user_attr("seconds", 12.3)
        trial.report(value, 20)
        made.tell(trial, value)
    over, slow = made.ask(), made.ask()
    over.set_user_attr("over_budget", True)
    over.set_user_attr("parameters", 23_000)
    over.set_user_attr("reason", "over budget: 23,000 parameters > 20,000")
    made.tell(over, state=TrialState.PRUNED)
    slow.set_user_attr("reason", "median pruner at epoch 6: 0.9700")
    made.tell(slow, state=TrialState.PRUNED)
    made.tell(made.ask(), state=TrialState.FAIL)
    running = made.ask()
    running.set_user_attr("worker", f"{machine_name()}:4711:1.0")
    running.set_user_attr("architecture", "c5 [bold]P")
    running.report(0.98, 3)
    return made


def test_the_counts() -> None:
    now = snapshot(study().trials, 10)
    assert (now.complete, now.pruned, now.over_budget, now.failed) == (3, 1, 1, 1)
    assert now.finished == 5
    assert [(r.worker, r.epoch, r.accuracy) for r in now.running] == [("4711", 3, 0.98)]


def test_the_best_so_far_is_the_leaderboards_however_the_trials_come() -> None:
    made = study()
    made.add_trial(optuna.trial.create_trial(value=0.999))  # nothing recorded: not of this tool

    def best(limit: int) -> list[str | None]:
        """The best trial's number after each trial."""
        out, found = io.StringIO(), []
        console = Terminal(out, force_terminal=True, width=110)
        with Progress(
            console, epochs=20, workers=1, limits=StudyLimits(max_params=limit)
        ) as progress:
            for count in range(len(made.trials) + 1):
                progress.update(made.trials[:count], 10)
                last = out.getvalue().rpartition("best so far: ")[2]
                number = re.search(r"trial (\d+)", last)
                found.append(number[1] if number else None)
        return found

    assert best(20_000) == [None, "0", "1", *["2"] * 6], "of equals the smaller is first"
    assert best(10_000) == [None, "0", "0", *["2"] * 6], "trial 1 is over that limit"


def test_the_live_view_shows_everything() -> None:
    out = io.StringIO()
    console = Terminal(out, force_terminal=True, width=110)
    with Progress(console, epochs=20, workers=1) as progress:
        progress.update(study().trials, 10)
        shown = out.getvalue()
    for part in (
        "5/10 trials",
        "4711",
        "3/20",
        "98.00 %",
        "trial 2",
        "99.40 %",
        "8,000",
        "3 complete",
        "1 pruned",
        "1 over budget",
        "1 failed",
        "c5 [bold]P",
    ):
        assert part in shown, part


def test_log_lines_are_one_a_trial_without_control_codes() -> None:
    out = io.StringIO()
    console = Terminal(out, force_terminal=False, width=40)
    made = study()
    with Progress(console, epochs=20, workers=1) as progress:
        progress.update(made.trials, 10)
        assert out.getvalue() == "", "what was there before is not news"
        made.tell(6, 0.9955)
        progress.update(made.trials, 10)
        progress.update(made.trials, 10)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("[6/10] trial 6 · 99.55 %")
    assert "\x1b" not in lines[0]


def test_how_trials_ended_in_words() -> None:
    lines = [outcome(trial) for trial in study().trials]
    assert lines[0] == "trial 0 · 99.10 % · 9,000 parameters · 12 s · c8 P c16 | 9000"
    assert lines[3] == "trial 3 · pruned, over budget: 23,000 parameters > 20,000"
    assert lines[4] == "trial 4 · pruned, median pruner at epoch 6: 0.9700"
    assert lines[5] == "trial 5 · fail"


def test_durations_and_percentages() -> None:
    assert [duration(s) for s in (8, 240, 7500)] == ["8 s", "4 min", "2 h 5 min"]
    assert percent(None) == "–"
    assert percent(0.99414) == "99.41 %"


def test_a_worker_on_another_machine_is_shown_with_its_name() -> None:
    assert worker_name(f"{machine_name()}:4711:1.0") == "4711"
    assert worker_name("node-7/0123abcd:4711:1.0") == "node-7 4711"
    assert worker_name("") == ""


HOSTILE = "c8\x1b[2J\n[red]x[/red] :smile:\u202e"


@pytest.mark.parametrize("terminal", [True, False])
def test_names_from_outside_are_drawn_and_not_obeyed(terminal: bool) -> None:
    out = io.StringIO()
    made = optuna.create_study(direction="maximize")
    running = made.ask()
    for name in ("architecture", "worker", "reason"):
        running.set_user_attr(name, HOSTILE)
    with Progress(Terminal(out, force_terminal=terminal, width=200), epochs=1, workers=1) as shown:
        shown.update(made.trials, 2)
        made.tell(running, state=TrialState.FAIL)
        shown.update(made.trials, 2)
        shown.say(HOSTILE)
    text = out.getvalue()
    assert "\x1b[2J\n" not in text
    assert "\u202e" not in text
    assert r"c8\x1b[2J\n[red]x[/red] :smile:\u202e" in text


def test_a_terminal_that_cannot_move_its_cursor_gets_log_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    out = io.StringIO()
    made = study()
    with Progress(Terminal(out, force_terminal=True), epochs=20, workers=1) as progress:
        progress.update(made.trials, 10)
        made.tell(6, 0.9955)
        progress.update(made.trials, 10)
    assert out.getvalue().startswith("[6/10] trial 6 · 99.55 %")


@pytest.mark.parametrize("size", [(1, 1), (12, 4), (40, 10)])
def test_the_view_fits_any_terminal(size: tuple[int, int]) -> None:
    out = io.StringIO()
    console = Terminal(out, force_terminal=True, width=size[0], height=size[1])
    with Progress(console, epochs=20, workers=1) as progress:
        progress.update(study().trials, 1)
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).rstrip("\n").split("\n")
    assert len(shown) <= size[1]
    assert max(len(line.strip("\r")) for line in shown) <= size[0]


def test_what_was_trained_otherwise_than_asked_is_said() -> None:
    made = optuna.create_study(direction="maximize")
    trial = made.ask()
    trial.set_user_attr("adjusted", ["1 epoch instead of its recipe's 100", 7, "two\nlines"])
    made.tell(trial, 0.5)
    assert outcome(made.trials[0]) == (
        "trial 0 · 50.00 % · 1 epoch instead of its recipe's 100 · two lines"
    )
