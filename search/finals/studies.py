"""What is trained after a search, in studies beside its own, and when the test was opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from search.architecture.limits import is_within
from search.architecture.references import REFERENCES
from search.common import values
from search.common.errors import UserError
from search.common.output import say
from search.common.seeds import mix_seed
from search.data.testset import load_test, require_test
from search.finals.retraining import QueuedTraining
from search.finals.user_candidates import FINISHED, PREFIX, UNFINISHED
from search.reporting.architectures import valid_architectures
from search.reporting.candidates import layers_of
from search.study import attributes
from search.study.storages.locks import study_lock
from search.study.storages.opening import create_study

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.reporting.records import StudyLimits
    from search.study.settings import Settings


def trainings(
    ranked: Sequence[tuple[int, FrozenTrial]],
    settings: Settings,
    seeds: int,
    *,
    kind: str = "finalist",
    reference_seeds: int = 0,
    stack: int = 1,
) -> list[QueuedTraining]:
    """Every training that is wanted of the architectures, and of the references.

    The seeds are the same for all candidates, so that they can be compared seed by seed; they are
    none of the search, and those of the shortlist are none of the finalists.

    Args:
        ranked: The architectures with their places in the search.
        settings: Of the search.
        seeds: Trainings of each.
        kind: What they are trained for: ``shortlist`` or ``finalist``.
        reference_seeds: Trainings of each reference within the limits; 0 leaves them out.
        stack: So many seeds of each come one after the other, to be trained at once.
    """
    entries = []
    for at in range(max(seeds, reference_seeds)):
        seed = mix_seed(settings.seed, kind, at)
        found = [
            QueuedTraining(
                kind=kind,
                label=f"trial {trial.number}",
                candidate=attributes.CANDIDATE.of(trial) or "",
                seed=seed,
                rank=rank,
                search_trial=trial.number,
            )
            for rank, trial in (ranked if at < seeds else [])
        ]
        found += _references(settings, seed) if at < reference_seeds else []
        entries += [(at // stack, entry) for entry in found]
    order = list(dict.fromkeys(entry.candidate for _, entry in entries))
    entries.sort(key=lambda one: (one[0], order.index(one[1].candidate)))
    return [entry for _, entry in entries]


def distinct(
    trials: Sequence[FrozenTrial], top: int, limits: StudyLimits
) -> list[tuple[int, FrozenTrial]]:
    """The best trials of distinct architectures with their places among all valid ones.

    Of trials with one architecture (layers and head alike) the best stands for all.
    """
    found: dict[tuple[object, ...], tuple[int, FrozenTrial]] = {}
    by_number = {trial.number: trial for trial in trials}
    for rank, best in enumerate(valid_architectures(trials, limits), start=1):
        trial = by_number[best.first.number]
        text = attributes.CANDIDATE.of(trial)
        if text is None or attributes.OVER_BUDGET.of(trial):
            continue
        rows = layers_of(text, attributes.LAYERS.of(trial))
        if not rows:  # edited by someone
            continue
        architecture = tuple((row.name, row.output_shape, row.parameters, row.macs) for row in rows)
        found.setdefault(architecture, (rank, trial))
        if len(found) == top:
            break
    return list(found.values())


def check_candidates(ranked: Sequence[tuple[int, FrozenTrial]], settings: Settings) -> None:
    """Refuse candidates that cannot be built again, before any of them is trained.

    Raises:
        UserError: If one was drawn from another space, or was edited.
    """
    for _, trial in ranked:
        try:
            settings.space.read(attributes.CANDIDATE.of(trial) or "")
        except ValueError as error:
            raise UserError(
                f"trial {trial.number}'s candidate cannot be read: {error}", "Take fewer: --top"
            ) from None


def _references(settings: Settings, seed: int) -> list[QueuedTraining]:
    limits = settings.limits
    return [
        QueuedTraining(
            kind="reference",
            label=f"{PREFIX}{key}",
            candidate=reference.candidate.to_json(),
            seed=seed,
        )
        for key, reference in REFERENCES.items()
        if is_within(limits, reference.candidate.costs())
    ]


def queue(
    study: optuna.Study, entries: Sequence[QueuedTraining], storage: str, name: str
) -> tuple[optuna.Study, int]:
    """Put each training into the queue of a study beside the search's, once.

    Args:
        study: The search's.
        entries: The trainings.
        storage: Where both are.
        name: Of the other study, which is made where it is missing.

    Returns:
        That study, and how many trainings are to be done.
    """
    with study_lock(storage):
        finals = create_study(storage, name)
        settings = {**attributes.SETTINGS.of(study), "sampler": "none", "pruner": "none"}
        if attributes.SETTINGS.of(finals) != settings:
            attributes.SETTINGS.set(finals, settings)
        chosen = dict.fromkeys(entry.candidate for entry in entries if entry.kind == "finalist")
        if chosen:
            attributes.CHOSEN.set(finals, list(chosen))
        there = [
            attributes.FINALIST.of(trial)
            for trial in finals.get_trials(deepcopy=False)
            if trial.state in (*FINISHED, *UNFINISHED)
        ]
        for entry in entries:
            if not any(_same(entry, known) for known in there):
                finals.enqueue_trial({}, user_attrs=entry.to_attributes())
        trials = finals.get_trials(deepcopy=False)
    return finals, sum(trial.state in UNFINISHED for trial in trials)


def _same(entry: QueuedTraining, known: Mapping[str, object]) -> bool:
    """Whether a training is there already; a rank changes when a search goes on."""
    mine = asdict(entry)
    return all(known.get(name) == mine[name] for name in ("kind", "candidate", "seed"))


def check(settings: Settings) -> None:
    """Refuse at once what would fail hours later; the test images are not opened.

    Raises:
        UserError: If there are no test files.
    """
    require_test(settings.source)


def stamp(finals: optuna.Study, settings: Settings) -> None:
    """Open the test images, and record that and when; a second look at a study says so.

    Going on with what was interrupted is none: the trainings are those chosen before the first.

    Raises:
        UserError: If there are no test images.
    """
    load_test(settings.source)
    queued = [attributes.FINALIST.of(trial) for trial in finals.get_trials(deepcopy=False)]
    chosen = len({f"{entry.get('candidate')}/{entry.get('seed')}" for entry in queued if entry})
    before = [values.mapping(opening) for opening in attributes.OPENINGS.of(finals)]
    if any(opening.get("trainings") != chosen for opening in before):
        times = "once" if len(before) == 1 else f"{len(before)} times"
        say(
            f"the test images were already opened {times} for this study, last "
            f"{values.text(before[-1].get('when'))}: what is chosen now is not blind to them"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    opening = {"when": now, "commit": settings.commit, "count": len(before) + 1}
    opening["trainings"] = chosen
    attributes.OPENINGS.set(finals, [*before, opening])
