"""Trials as TensorBoard's event files, a folder each: learning curve, hyperparameters, figures."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import psutil
from optuna.trial import FrozenTrial, TrialState
from torch.utils.tensorboard import SummaryWriter

from search.common.errors import UserError
from search.reporting.trackers.tracking import ACCURACY, figures_of, seconds_since_epoch, texts_of


class EventFiles:
    """A folder of event files beside the study.

    Args:
        folder: Made if it is not there; None with a database server.
        study: The study's name.

    Raises:
        UserError: If there is no place for it.
    """

    def __init__(self, folder: Path | None, study: str) -> None:
        if folder is None:
            raise UserError(
                f"--log-to tensorboard writes beside a study's file, and {study} has none",
                "Use --log-to mlflow, or an SQLite file",
            )
        self.where = f"tensorboard --logdir {folder}"
        self._folder = folder / quote(study, safe=" ()")  # a file may hold several studies
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob("unfinished-*"):
                if not psutil.pid_exists(int(left.name.split("-")[1])):
                    shutil.rmtree(left)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written to: {error.strerror}", "Name another --storage"
            ) from None
        found = (re.fullmatch("trial-([0-9]+)", path.name) for path in self._folder.iterdir())
        self.told = {int(match[1]) for match in found if match}

    def tell(self, trial: FrozenTrial) -> None:
        """Write the folder of a trial that has ended."""
        whole = self._folder / f"trial-{trial.number}"
        half = self._folder / f"unfinished-{os.getpid()}-{trial.number}"
        if whole.exists():  # another command was first
            return
        ended = seconds_since_epoch(trial.datetime_complete)
        with SummaryWriter(str(half)) as writer:
            for epoch, accuracy in sorted(trial.intermediate_values.items()):
                writer.add_scalar(ACCURACY, accuracy, epoch, walltime=ended)
            for name, text in texts_of(trial).items():
                writer.add_text(name, text, walltime=ended)
            if trial.state == TrialState.COMPLETE:
                params = {name: _plain(value) for name, value in trial.params.items()}
                figures = {f"final/{name}": value for name, value in figures_of(trial).items()}
                writer.add_hparams(params, figures, run_name=".")
        try:
            half.rename(whole)
        except OSError:
            shutil.rmtree(half)
            if not whole.exists():
                raise


def _plain(value: object) -> bool | str | float | int:
    return value if isinstance(value, bool | str | float | int) else str(value)
