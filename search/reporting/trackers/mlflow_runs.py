"""Trials as runs of an MLflow experiment: parameters, learning curve, figures, tags."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from optuna.trial import FrozenTrial, TrialState

from search.common.errors import UserError
from search.common.passwords import masked
from search.common.process_id import is_here, process_id, runs_here
from search.reporting.trackers.tracking import ACCURACY, figures_of, seconds_since_epoch, texts_of

BATCH = 1_000  # metrics that MLflow takes at once
LONGEST = 5_000  # characters of a tag
PROCESS = "told_by"  # a tag: the process that makes a run
PATIENCE = {  # of MLflow with a server that does not answer, unless the environment says otherwise
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
ADDRESS = "MLFLOW_TRACKING_URI"  # the environment's, as MLflow itself reads it
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}


class MLflowRuns:
    """An experiment, in the server that the environment names, else in a file beside the study.

    Args:
        file: Beside the study; None with a database server, where the environment must name one.
        experiment: Its name.
        study: By which the study's runs are known among others of such a name.

    Raises:
        UserError: If there is none, or it cannot be used.
    """

    def __init__(self, file: Path | None, experiment: str, study: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        address = os.environ.get(ADDRESS) or (f"sqlite:///{quote(str(file))}" if file else "")
        if not address:
            raise UserError(
                "--log-to mlflow needs to know a server, as the study has no file",
                f"Set {ADDRESS}",
            )
        self.where = f"mlflow ui --backend-store-uri {address}"
        if os.environ.get(ADDRESS):
            self.where = f"the experiment {experiment!r} on {ADDRESS}"
        self._study = study
        try:
            self._client = MlflowClient(tracking_uri=address)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment: str = (
                found.experiment_id if found else self._client.create_experiment(experiment)
            )
            self.told = self._told()
        except (MlflowException, OSError) as error:
            why = masked(str(error).splitlines()[0])
            raise UserError(f"MLflow cannot be used: {why}", f"Check {ADDRESS}") from None

    def _told(self) -> set[int]:
        """The trials that are there; what a process that is gone left half told is deleted."""
        told: set[int] = set()
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs(
                [self._experiment], self._filter(), page_token=token or None
            )
            for run in page:
                tags = run.data.tags
                if RunStatus.is_terminated(RunStatus.from_string(run.info.status)):
                    told |= {int(tags["trial"])} if tags.get("trial", "").isdecimal() else set()
                elif is_here(tags.get(PROCESS, "")) and not runs_here(tags[PROCESS]):
                    self._client.delete_run(run.info.run_id)
            token = page.token or None
        return told

    def _filter(self, number: int | None = None) -> str:
        of = f"tags.study = '{self._study}'"
        return of if number is None else f"{of} and tags.trial = '{number}'"

    def tell(self, trial: FrozenTrial) -> None:
        """Make a run of a trial that has ended, unless another command has."""
        if self._client.search_runs([self._experiment], self._filter(trial.number)):
            return
        began = 1_000 * seconds_since_epoch(trial.datetime_start)
        ended = 1_000 * seconds_since_epoch(trial.datetime_complete)
        texts = {name: text[:LONGEST] for name, text in texts_of(trial).items()}
        texts |= {"study": self._study, PROCESS: process_id()}
        run = self._client.create_run(
            self._experiment, start_time=int(began), run_name=f"trial {trial.number}", tags=texts
        ).info.run_id
        curve = sorted(trial.intermediate_values.items())
        metrics = [Metric(ACCURACY, value, int(ended), epoch) for epoch, value in curve]
        last = curve[-1][0] if curve else 0
        metrics += [
            Metric(name, value, int(ended), last)
            for name, value in figures_of(trial).items()
            if not (name == ACCURACY and curve)
        ]
        params = [Param(name, str(value)) for name, value in trial.params.items()]
        for at in range(0, max(1, len(metrics)), BATCH):
            self._client.log_batch(run, metrics=metrics[at : at + BATCH])
        for at in range(0, len(params), 100):
            self._client.log_batch(run, params=params[at : at + 100])
        self._client.set_terminated(run, status=STATUS[trial.state], end_time=int(ended))
