"""What a search shows in the dashboard beyond Optuna's own: notes, figures, the best network.

All of it is written by the search's parent, seldom, and never into a trial: a finished trial stays
as it is, and a worker loses no time.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from search.engine.beside import ARTIFACTS, folder_beside
from search.engine.storage import is_storage_error
from search.study_settings import TARGET

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
    """

    def __init__(self, study: optuna.Study, storage: str, *, max_params: int) -> None:
        self._study = study
        self._storage = storage
        self._max_params = max_params
        self._looked = time.monotonic()
        self._noted: set[int] = set()

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

        for trial in trials:
            if not trial.state.is_finished() or trial.number in self._noted:
                continue
            self._noted.add(trial.number)
            own = _note_owner(self._study, trial)
            text = trial.user_attrs.get("candidate")
            if text is None:
                continue
            layers = note(space.Candidate.from_json(text))
            if get_note(own) in ("", layers):
                save_note(own, f"**{how_it_ended(trial)}**\n\n{layers}")

    def _draw(self, trials: Sequence[FrozenTrial]) -> None:
        from search.dashboard_figures import budget_use, pareto
        from search.engine.notes import save_figure

        front = pareto(trials, max_params=self._max_params, target=TARGET)
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

        from search.engine.weights import load_weights, weights_file, weights_folder
        from search.reporting.picture import learning_curve

        folder.mkdir(exist_ok=True)
        store = FileSystemArtifactStore(folder)
        attributes = best.user_attrs
        weights_at = weights_folder(self._storage)
        assert weights_at is not None  # as the artifacts' folder
        weights = load_weights(
            weights_file(
                weights_at,
                self._study.study_name,
                attributes.get("retry_of", best.number),
                attributes["candidate"],
                attributes["seed"],
            )
        )
        title = f"Trial {best.number}: {100 * best.values[0]:.2f} % validation accuracy"
        with tempfile.TemporaryDirectory() as temporary:
            picture = Path(temporary) / f"{name}.learning-curve.svg"
            curve = sorted(best.intermediate_values.items())
            picture.write_text(learning_curve(curve, title=title, target=TARGET), encoding="utf-8")
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
    attributes = trial.user_attrs
    state = trial.state.name.lower()
    if state == "complete":
        best = attributes.get("best_accuracy")
        luckier = f" (best {100 * best:.2f} % at epoch {attributes['best_epoch']})" if best else ""
        epochs = attributes.get("epochs")
        return f"complete: {100 * trial.values[0]:.2f} % after {epochs} epochs{luckier}"
    reason = str(attributes.get("reason", state))
    return f"{state}, {reason}" if state == "pruned" else reason


def _is_artifact(name: object) -> bool:
    """Whether a file's name is one that Optuna gives: a study may come from anywhere."""
    try:
        return name == str(uuid.UUID(str(name)))
    except ValueError:
        return False


def _note_owner(study: optuna.Study, trial: FrozenTrial) -> Any:
    """What ``save_note`` needs of a trial; a Trial of Optuna's would ask the sampler again."""
    return SimpleNamespace(storage=study._storage, study=study, _trial_id=trial._trial_id)


def _artifacts(study: optuna.Study) -> dict[str, dict[str, str]]:
    """The study's artifacts that are still there, by key; a deleted one is left as null."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    found = {
        key: json.loads(value) for key, value in attributes.items() if key.startswith(ARTIFACT)
    }
    return {key: meta for key, meta in found.items() if meta}
