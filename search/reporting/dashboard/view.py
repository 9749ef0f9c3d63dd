"""What a search shows in the dashboard beyond Optuna's own: notes, figures, the best network.

All of it is written seldom, and never into a trial: a finished trial stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from search.common import values
from search.common.text import counted
from search.reporting.architectures import valid_architectures
from search.reporting.candidates import layer_lines, layers_of
from search.reporting.figures.curve_picture import learning_curve
from search.reporting.records import read_limits
from search.study import attributes
from search.study.storages.beside import ARTIFACTS, folder_beside
from search.study.storages.opening import connect, is_storage_error
from search.study.weights import unpack_weights, weights_files

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

NOTE_SECONDS = 5.0  # between two looks for trials whose note lacks something
DRAW_SECONDS = 30.0  # between two drawings of the figures
BEST = "best-trial-"  # what our artifacts' names begin with
ARTIFACT = "artifacts:"  # what Optuna's keys of a study's artifacts begin with


def artifacts_folder(storage: str) -> Path | None:
    """Where a study's artifacts are kept: beside the SQLite file; None with a database server."""
    return folder_beside(storage, ARTIFACTS)


class DashboardView:
    """Keeps a study's page in the dashboard up to date while it is searched.

    What had ended before the first look is left as it is, so that the work grows with what is new.

    Args:
        storage: A URL or the path of an SQLite file.
        study: The name of the study that is watched.
        max_params: Its limit.
        target: Accuracy in [0, 1] that was asked for; None for none.
    """

    def __init__(self, storage: str, study: str, *, max_params: int, target: float | None) -> None:
        self._storage = storage
        self._name = study
        self._max_params = max_params
        self._target = target
        self._looked = self._drawn = 0.0
        self._outdated = False  # the figures: a trial has ended since
        self._trials: Sequence[FrozenTrial] | None = None
        self._noted: dict[int, TrialState] = {}  # by number: the state that its note tells of

    @cached_property
    def _backend(self) -> RDBStorage:
        return connect(self._storage)

    @cached_property
    def _study(self) -> optuna.Study:
        """With a sampler that draws nothing when a trial is only looked up."""
        sampler = optuna.samplers.RandomSampler()
        return optuna.load_study(study_name=self._name, storage=self._backend, sampler=sampler)

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Write notes and figures anew if that was long ago and a trial began or ended since."""
        now = time.monotonic()
        if self._trials is None:
            self._noted = {t.number: t.state for t in trials if t.state.is_finished()}
            import optuna_dashboard  # noqa: F401  takes two seconds, and workers start meanwhile

            self._drawn = now
        self._trials = trials
        if now - self._looked < NOTE_SECONDS:
            return
        self._looked = now
        news = [trial for trial in trials if self._is_news(trial)]
        if any(trial.state.is_finished() for trial in news):
            self._outdated = True
        if self._outdated and now - self._drawn >= DRAW_SECONDS:
            self.refresh()
        elif news:
            self._write(self._note)

    def _is_news(self, trial: FrozenTrial) -> bool:
        shown = trial.state == TrialState.RUNNING or trial.state.is_finished()
        return shown and self._noted.get(trial.number) != trial.state

    def refresh(self) -> None:
        """Write all that is new, if anything was ever looked at."""
        if self._trials is None:
            return
        self._write(self._note, self._draw, self._show_best)
        self._drawn, self._outdated = time.monotonic(), False

    def _write(self, *actions: Callable[[Sequence[FrozenTrial]], None]) -> None:
        """Do something; a study that cannot be written now is left to the next time."""
        try:
            for action in actions:
                action(self._trials or ())
        except (OSError, KeyError):  # a full disk, or a study that was deleted: others say so
            return
        except Exception as error:
            if not is_storage_error(error):
                raise

    def _note(self, trials: Sequence[FrozenTrial]) -> None:
        """Say in each trial's note what it is and how it ended, unless someone wrote in it."""
        from optuna_dashboard import get_note, save_note

        news = [trial for trial in trials if self._is_news(trial)]
        once = _ReadOnce(self._backend, self._name) if news else None
        for trial in news:
            there = self._backend.get_trial_id_from_study_id_trial_number(
                self._backend.get_study_id_from_name(self._name), trial.number
            )
            own = optuna.Trial(self._study, there)
            own.storage = cast(RDBStorage, once)
            layers, ended = _layers(trial), trial.state.is_finished()
            self._noted[trial.number] = trial.state
            if get_note(own) in ("", layers) and (ended or layers):
                save_note(own, _ending(trial, layers) if ended else layers)

    def _draw(self, trials: Sequence[FrozenTrial]) -> None:
        from optuna_dashboard import save_plotly_graph_object as save

        from search.reporting.dashboard.figures import budget_use, pareto

        front = pareto(trials, max_params=self._max_params, target=self._target)
        save(self._study, front, graph_object_id="pareto")
        used = budget_use(trials, max_params=self._max_params)
        save(self._study, used, graph_object_id="budget")

    def _show_best(self, trials: Sequence[FrozenTrial]) -> None:
        """Put the best trial's weights and curve in place of an earlier best's."""
        folder = artifacts_folder(self._storage)
        limits = read_limits(attributes.SETTINGS.of(self._study))
        ranked = valid_architectures(trials, limits)
        if folder is None or not ranked:
            return
        best = next(trial for trial in trials if trial.number == ranked[0].first.number)
        number = self._backend.get_study_id_from_name(self._name)
        kept = _artifacts(self._backend.get_study_system_attrs(number))
        ours = {key: meta for key, meta in kept.items() if meta["filename"].startswith(BEST)}
        name = f"{BEST}{best.number}"
        if any(meta["filename"].startswith(f"{name}.") for meta in ours.values()):
            return
        self._upload(best, name, folder)
        for key, meta in ours.items():
            self._backend.set_study_system_attr(number, key, "null")
            if _is_artifact(meta["artifact_id"]):
                (folder / meta["artifact_id"]).unlink(missing_ok=True)

    def _upload(self, best: FrozenTrial, name: str, folder: Path) -> None:
        from optuna.artifacts import FileSystemArtifactStore, upload_artifact
        from safetensors.torch import save_file
        from torch import Tensor

        folder.mkdir(exist_ok=True)
        store = FileSystemArtifactStore(folder)
        packed = weights_files(self._storage, self._name).read(best.number)
        weights = unpack_weights(packed, best)
        title = f"Trial {best.number}: {100 * best.values[0]:.2f} % validation accuracy"
        with tempfile.TemporaryDirectory() as temporary:
            picture = Path(temporary) / f"{name}.learning-curve.svg"
            curve = sorted(best.intermediate_values.items())
            drawn = learning_curve(curve, title=title, target=self._target)
            picture.write_text(drawn, encoding="utf-8")
            files = [picture]
            if weights is not None:
                files.append(Path(temporary) / f"{name}.safetensors")
                tensors = {n: value for n, value in weights.items() if isinstance(value, Tensor)}
                save_file(tensors, files[-1])
            for file in files:
                upload_artifact(
                    artifact_store=store, file_path=str(file), study_or_trial=self._study
                )


def how_it_ended(trial: FrozenTrial) -> str:
    """A trial's end in a line: ``complete: 99.43 % after 20 epochs``, or its reason."""
    state = trial.state.name.lower()
    if state == "complete":
        best, at = attributes.BEST_ACCURACY.of(trial), attributes.BEST_EPOCH.of(trial)
        luckier = f" (best {100 * best:.2f} % at epoch {at})" if best and at else ""
        epochs = attributes.EPOCHS.of(trial) or len(trial.intermediate_values)
        ended = f"complete: {100 * trial.values[0]:.2f} %"
        balanced = attributes.BALANCED_ACCURACY.of(trial)
        ended += "" if balanced is None else f", balanced {100 * balanced:.2f} %,"
        if epochs:
            ended += f" after {counted(epochs, 'epoch')}"
        first = attributes.SEED_OF.of(trial)
        seed = () if first is None else (f"another seed of trial {first}",)
        return "; ".join((ended + luckier, *seed, *attributes.ADJUSTED.of(trial)))
    reason = attributes.REASON.of(trial) or state
    return f"{state}, {reason}" if state == "pruned" else reason


def _is_artifact(name: object) -> bool:
    """Whether a file's name is one that Optuna gives: a study may come from anywhere."""
    try:
        return name == str(uuid.UUID(str(name)))
    except ValueError:
        return False


def _layers(trial: FrozenTrial) -> str:
    """What a trial's candidate is; empty where it drew none, or someone has edited it."""
    rows = layers_of(attributes.CANDIDATE.of(trial), attributes.LAYERS.of(trial))
    name = attributes.ARCHITECTURE.of(trial)
    parts = [f"`{name}`"] * bool(name) + [layer_lines(rows)] * bool(rows)
    return "\n\n".join(parts)


def _ending(trial: FrozenTrial, layers: str) -> str:
    """A note on a trial that has ended."""
    parts = [f"**{how_it_ended(trial)}**", layers]
    if traceback := attributes.TRACEBACK.of(trial):
        parts.append("```\n" + traceback.replace("```", "") + "\n```")
    return "\n\n".join(part for part in parts if part)


class _ReadOnce:
    """A study's storage to ``save_note``, which reads all notes of all trials for each of them."""

    def __init__(self, backend: RDBStorage, study: str) -> None:
        self._backend = backend
        self._attributes = backend.get_study_system_attrs(backend.get_study_id_from_name(study))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As it was when this was made."""
        return self._attributes

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._backend.set_study_system_attr(study_id, key, value)


def _artifacts(of_study: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The artifacts that are still there, by key; a deleted one is left as null.

    Args:
        of_study: Its system attributes.
    """
    found = {}
    for key, value in of_study.items():
        if key.startswith(ARTIFACT):
            with contextlib.suppress(ValueError, TypeError):  # someone has edited it
                found[key] = values.mapping(json.loads(value))
    named = ("filename", "artifact_id")
    return {
        k: meta for k, meta in found.items() if all(isinstance(meta.get(n), str) for n in named)
    }
