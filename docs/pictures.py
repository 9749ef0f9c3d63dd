"""Makes the README's pictures from a real study: a search as it runs, and its report.

    python docs/pictures.py                                  from reports/reference/study.db
    python docs/pictures.py --storage study.db --at 0.7

The terminal is drawn by the live view itself, from the study as it stood at a moment of its search;
the report is made anew and photographed by Chromium. Each in light and in dark.
"""

from __future__ import annotations

import argparse
import copy
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

from optuna.trial import FrozenTrial, TrialState
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME

from search.common.errors import UserError
from search.common.process_id import machine_name
from search.console.arguments import run_command, storage_name
from search.console.live_view import Progress
from search.console.terminal import Terminal
from search.reporting.pages.writing import write_reports
from search.reporting.records import read_limits
from search.study.attributes import SECONDS, SETTINGS, WORKER
from search.study.storages.opening import open_study

PICTURES = ROOT / "docs" / "pictures"
COMMAND = "python search/run.py --trials 100"
FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": SVG_EXPORT_THEME}
WIDTH = 104  # characters
WINDOW = (1280, 1080)  # pixels
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def at_moment(trials: Sequence[FrozenTrial], moment: datetime) -> list[FrozenTrial]:
    """A study's trials as they stood: those under way have the epochs that they had by then.

    Args:
        trials: Of a study whose search has ended.
        moment: Of its search.
    """
    found = []
    for trial in trials:
        if trial.datetime_start is None or trial.datetime_start > moment:
            continue
        then = copy.deepcopy(trial)
        if trial.datetime_complete is None or trial.datetime_complete > moment:
            seconds = (moment - trial.datetime_start).total_seconds()
            share = seconds / max(SECONDS.of(trial) or 0.0, seconds)
            epochs = sorted(trial.intermediate_values)[
                : int(share * len(trial.intermediate_values))
            ]
            then.state, then.values, then.datetime_complete = TrialState.RUNNING, None, None
            then.intermediate_values = {e: trial.intermediate_values[e] for e in epochs}
            process = (WORKER.of(trial) or "").rsplit(":", 2)[-2:]
            then.user_attrs[WORKER.name] = ":".join((machine_name(), *process))
        found.append(then)
    return found


def terminal(storage: str, at: float, theme: str) -> str:
    """What a terminal shows at a moment of a search, as SVG.

    Args:
        storage: Of the study.
        at: The moment, as a share of the search's time.
        theme: Light or dark.
    """
    study = open_study(storage, read_only=True)
    trials = study.get_trials(deepcopy=False)
    starts = [t.datetime_start for t in trials if t.datetime_start]
    ends = [t.datetime_complete for t in trials if t.datetime_complete]
    moment = min(starts) + at * (max(ends) - min(starts))
    seconds = (moment - min(starts)).total_seconds()
    clock = iter((0.0, seconds))
    console = Terminal(io.StringIO(), record=True, width=WIDTH, force_terminal=True)
    running = at_moment(trials, moment)
    settings = SETTINGS.of(study)
    progress = Progress(
        console,
        epochs=settings.get("epochs", 20),
        workers=sum(trial.state == TrialState.RUNNING for trial in running),
        limits=read_limits(settings),
        clock=lambda: next(clock),
    )
    console.print(f"$ {COMMAND}", style="bold")
    console.print("MNIST from the cache\n")
    console.print(progress.view(running, len(trials)))
    svg = console.export_svg(title="", theme=THEMES[theme], unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\n    \}\n", "", svg, flags=re.DOTALL)  # from a server
    return svg.replace("Fira Code, monospace", FONT)


def photograph(page: Path, picture: Path, theme: str) -> None:
    """A page's first screen as PNG.

    Raises:
        UserError: If there is no Chromium.
    """
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        raise UserError("no Chromium was found to photograph the report", "Install chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={profile}", f"--window-size={WINDOW[0]},{WINDOW[1]}"),
            f"--blink-settings=preferredColorScheme={int(theme == 'light')}",
            *("--virtual-time-budget=20000", f"--screenshot={picture}", page.as_uri()),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> int:
    """Make all pictures; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--storage", type=storage_name, default=str(ROOT / "reports/reference/study.db"))
    add("--at", type=float, default=0.62, help="the moment, as a share of the search's time")
    add("--output", type=Path, default=PICTURES, metavar="DIR")
    options = parser.parse_args()
    if not 0 < options.at < 1:
        raise UserError("--at is a share of the search's time, between 0 and 1", "Give 0.62")
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_reports(open_study(options.storage, read_only=True), Path(folder))
        for theme in THEMES:
            svg = terminal(options.storage, options.at, theme)
            (options.output / f"search-{theme}.svg").write_text(svg, encoding="utf-8")
            picture = options.output / f"report-{theme}.png"
            photograph(Path(folder) / "leaderboard.html", picture, theme)
    for picture in sorted(options.output.iterdir()):
        print(f"wrote {picture}")
    return 0


if __name__ == "__main__":
    run_command(main)
