"""What a search shows in the dashboard beyond Optuna's own: notes, figures, the best network.

All of it is written by the search's parent, seldom, and never into a trial: a finished trial stays
as it is, and a worker loses no time.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from search.engine import attributes
from search.engine.beside import ARTIFACTS, folder_beside
from search.engine.recipe import adjusted_of
from search.engine.storage import is_storage_error
from search.engine.text import counted

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

EVERY = 30.0  # seconds between two looks
BEST = "best-trial-"  # what our artifacts' names begin with
ARTIFACT = "artifacts:"  # what Optuna's keys of a study's artifacts begin with


def artifacts_folder(storage: str) -> Path | None:
    """Where a study's artifacts are kept: beside the SQLite file; None with a database server."""
    return folder_beside(storage, ARTIFACTS)


class DashboardView:
    """Keeps a study's page in the dashboard up to date while it is searched.

    Args:
        study: Watched.
        storage: It is in.
        max_params: Its limit.
        target: Accuracy in [0, 1] that was asked for; None for none.
        before: The trials that are there; what has ended is left as it is, so that the work grows
            with what is new.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: str,
        *,
        max_params: int,
        target: float | None,
        before: Sequence[FrozenTrial],
    ) -> None:
        self._study = study
        self._storage = storage
        self._max_params = max_params
        self._target = target
        self._looked = time.monotonic()
        self._noted = {trial.number for trial in before if trial.state.is_finished()}

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Refresh the page if that was long ago and a trial has ended since."""
        if time.monotonic() - self._looked < EVERY:
            return
        if any(t.state.is_finished() and t.number not in self._noted for t in trials):
            self.refresh(trials)
        self._looked = time.monotonic()

    def refresh(self, trials: Sequence[FrozenTrial]) -> None:
        """Write all that is new. A study that cannot be written now is left to the next time."""
        try:
            self._note(trials)
            self._draw(trials)
            self._show_best(trials)
        except (OSError, KeyError):  # a full disk, or a study that was deleted: others say so
            return
        except Exception as error:
            if not is_storage_error(error):
                raise

    def _note(self, trials: Sequence[FrozenTrial]) -> None:
        """Say in each ended trial's note how it ended, unless someone has written in it."""
        import space
        from objective import note
        from search.engine.notes import get_note, save_note

        ended = [t for t in trials if t.state.is_finished() and t.number not in self._noted]
        if not ended:
            return
        once = _ReadOnce(self._study)
        for trial in ended:
            self._noted.add(trial.number)
            own = _note_owner(self._study, trial, once)
            try:
                layers = note(space.Candidate.from_json(attributes.CANDIDATE.of(trial) or ""))
            except ValueError:  # it drew none, or someone has edited it
                continue
            if get_note(own) in ("", layers):
                save_note(own, f"**{how_it_ended(trial)}**\n\n{layers}")

    def _draw(self, trials: Sequence[FrozenTrial]) -> None:
        from search.dashboard_figures import budget_use, pareto
        from search.engine.notes import save_figure

        front = pareto(trials, max_params=self._max_params, target=self._target)
        save_figure(self._study, front, "pareto")
        used = budget_use(trials, max_params=self._max_params)
        save_figure(self._study, used, "budget")

    def _show_best(self, trials: Sequence[FrozenTrial]) -> None:
        """Put the best trial's weights and curve in place of an earlier best's."""
        from search.reporting.ranking import valid_trials
        from search.reporting.records import read_limits

        folder = artifacts_folder(self._storage)
        limits = read_limits(self._study.user_attrs.get("settings"))
        ranked = valid_trials(trials, limits)
        if folder is None or not ranked:
            return
        best = ranked[0]
        kept = _artifacts(self._study)
        ours = {key: meta for key, meta in kept.items() if meta["filename"].startswith(BEST)}
        name = f"{BEST}{best.number}"
        if any(meta["filename"].startswith(f"{name}.") for meta in ours.values()):
            return
        self._upload(best, name, folder)
        for key, meta in ours.items():
            self._study._storage.set_study_system_attr(self._study._study_id, key, "null")
            if _is_artifact(meta["artifact_id"]):
                (folder / meta["artifact_id"]).unlink(missing_ok=True)

    def _upload(self, best: FrozenTrial, name: str, folder: Path) -> None:
        from optuna.artifacts import FileSystemArtifactStore, upload_artifact
        from safetensors.torch import save_file

        from search.engine.claims import first_number
        from search.engine.weights import load_weights, weights_file, weights_folder
        from search.reporting.picture import learning_curve

        folder.mkdir(exist_ok=True)
        store = FileSystemArtifactStore(folder)
        weights_at = weights_folder(self._storage)
        assert weights_at is not None  # as the artifacts' folder
        candidate, seed = attributes.CANDIDATE.of(best), attributes.SEED.of(best)
        weights = None
        if candidate is not None and seed is not None:
            name_of_study, first = self._study.study_name, first_number(best)
            weights = load_weights(weights_file(weights_at, name_of_study, first, candidate, seed))
        title = f"Trial {best.number}: {100 * best.values[0]:.2f} % validation accuracy"
        with tempfile.TemporaryDirectory() as temporary:
            picture = Path(temporary) / f"{name}.learning-curve.svg"
            curve = sorted(best.intermediate_values.items())
            drawn = learning_curve(curve, title=title, target=self._target)
            picture.write_text(drawn, encoding="utf-8")
            files = [picture]
            if weights is not None:
                files.append(Path(temporary) / f"{name}.safetensors")
                save_file(weights, files[-1])
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
        if epochs:
            ended += f" after {counted(epochs, 'epoch')}"
        return "; ".join((ended + luckier, *adjusted_of(trial.user_attrs)))
    reason = attributes.REASON.of(trial) or state
    return f"{state}, {reason}" if state == "pruned" else reason


def _is_artifact(name: object) -> bool:
    """Whether a file's name is one that Optuna gives: a study may come from anywhere."""
    try:
        return name == str(uuid.UUID(str(name)))
    except ValueError:
        return False


class _ReadOnce:
    """A study's storage to ``save_note``, which reads all notes of all trials for each of them."""

    def __init__(self, study: optuna.Study) -> None:
        self._attributes = study._storage.get_study_system_attrs(study._study_id)
        self.set_study_system_attr = study._storage.set_study_system_attr

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As it was when this was made."""
        return self._attributes


def _note_owner(study: optuna.Study, trial: FrozenTrial, storage: object) -> Any:
    """What ``save_note`` needs of a trial; a Trial of Optuna's would ask the sampler again."""
    return SimpleNamespace(storage=storage, study=study, _trial_id=trial._trial_id)


def _artifacts(study: optuna.Study) -> dict[str, dict[str, str]]:
    """The study's artifacts that are still there, by key; a deleted one is left as null."""
    found = {}
    for key, value in study._storage.get_study_system_attrs(study._study_id).items():
        if key.startswith(ARTIFACT):
            with contextlib.suppress(ValueError, TypeError):  # someone has edited it
                found[key] = attributes.mapping(json.loads(value))
    named = ("filename", "artifact_id")
    return {
        k: meta for k, meta in found.items() if all(isinstance(meta.get(n), str) for n in named)
    }
