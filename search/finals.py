"""Which finalists are trained, in a study beside the search's, and when the test was opened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from search.engine.errors import UserError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial
    from rich.console import Console

    from objective import Settings
    from search.final_objective import Entry


def chosen(
    study: optuna.Study, settings: Settings, top: int, seeds: int, *, reference_seeds: int
) -> list[Entry]:
    """Every training that is wanted: the best distinct architectures, and the references.

    Of trials with one architecture (layers and head alike) the best stands for all. The seeds are
    the same for all candidates, so that they can be compared seed by seed, and none of the search.

    Args:
        study: The search's.
        settings: Its settings.
        top: How many architectures.
        seeds: Trainings of each.
        reference_seeds: Trainings of each reference within the limits; 0 leaves them out.

    Raises:
        UserError: If the study has no valid architecture.
    """
    from search.engine.seeds import mix_seed
    from search.final_objective import Entry

    ranked = distinct(study.get_trials(deepcopy=False), top)
    if not ranked:
        raise UserError(
            f"the study {study.study_name!r} has no complete trial within its limits",
            "Search first: python search/run.py",
        )
    entries = []
    for at in range(max(seeds, reference_seeds)):
        seed = mix_seed(settings.seed, "finalist", at)
        for rank, trial in ranked if at < seeds else []:
            candidate = str(trial.user_attrs["candidate"])
            label = f"trial {trial.number}"
            entries.append(
                Entry(
                    kind="finalist",
                    label=label,
                    candidate=candidate,
                    seed=seed,
                    rank=rank,
                    search_trial=trial.number,
                )
            )
        entries += _references(settings, seed) if at < reference_seeds else []
    return entries


def distinct(trials: Sequence[FrozenTrial], top: int) -> list[tuple[int, FrozenTrial]]:
    """The best trials of distinct architectures with their places among all valid ones."""
    from search.progress import snapshot
    from space import Candidate

    found: dict[tuple[object, ...], tuple[int, FrozenTrial]] = {}
    for rank, trial in enumerate(snapshot(trials, 0).ranked, start=1):
        text = trial.user_attrs.get("candidate")
        if not isinstance(text, str) or trial.user_attrs.get("over_budget"):
            continue
        candidate = Candidate.from_json(text)
        found.setdefault((candidate.layout(), candidate.head), (rank, trial))
        if len(found) == top:
            break
    return list(found.values())


def _references(settings: Settings, seed: int) -> list[Entry]:
    import space
    from search.final_objective import Entry
    from search.handed_in import PREFIX
    from search.references import REFERENCES

    limits = settings.limits
    return [
        Entry(
            kind="reference",
            label=f"{PREFIX}{key}",
            candidate=reference.candidate.to_json(),
            seed=seed,
        )
        for key, reference in REFERENCES.items()
        if space.count_parameters(reference.candidate) <= limits.max_params
        and (limits.max_macs is None or space.count_macs(reference.candidate) <= limits.max_macs)
    ]


def queue(study: optuna.Study, entries: Sequence[Entry], storage: str) -> tuple[optuna.Study, int]:
    """Put each training into the queue of the finalists' study, once.

    Returns:
        That study, and how many trainings are to be done.
    """
    from search.engine.companions import finalists_of
    from search.engine.locks import study_lock
    from search.engine.storage import create_study
    from search.final_objective import FINALIST
    from search.handed_in import FINISHED, UNFINISHED

    with study_lock(storage):
        finals = create_study(storage, finalists_of(study.study_name))
        settings = {**study.user_attrs["settings"], "sampler": "none", "pruner": "none"}
        if finals.user_attrs.get("settings") != settings:
            finals.set_user_attr("settings", settings)
        there = [
            trial.user_attrs.get(FINALIST)
            for trial in finals.get_trials(deepcopy=False)
            if trial.state in (*FINISHED, *UNFINISHED)
        ]
        for entry in entries:
            if not any(_same(entry, known) for known in there):
                attribute = {FINALIST: entry.to_attribute(), "label": entry.label}
                finals.enqueue_trial({}, user_attrs=attribute)
        trials = finals.get_trials(deepcopy=False)
    return finals, sum(trial.state in UNFINISHED for trial in trials)


def _same(entry: Entry, known: Any) -> bool:
    """Whether a training is there already; a rank changes when a search goes on."""
    mine = entry.to_attribute()
    return isinstance(known, dict) and all(
        known.get(name) == mine[name] for name in ("kind", "candidate", "seed")
    )


def stamp(finals: optuna.Study, settings: Settings, console: Console) -> None:
    """Open the test images, and record that and when; a second look at a study says so.

    Going on with what was interrupted is none: the trainings are those chosen before the first.

    Raises:
        UserError: If there are no test images.
    """
    from search.engine.companions import OPENINGS
    from search.engine.testset import load_test
    from search.final_objective import FINALIST

    load_test(settings.source)
    queued = [trial.user_attrs.get(FINALIST) for trial in finals.get_trials(deepcopy=False)]
    trainings = len({(entry["candidate"], entry["seed"]) for entry in queued if entry})
    before = list(finals.user_attrs.get(OPENINGS, []))
    if before and any(opening.get("trainings") != trainings for opening in before):
        times = "once" if len(before) == 1 else f"{len(before)} times"
        console.print(
            f"the test images were opened {times} before for this study, last "
            f"{before[-1]['when']}: what is chosen now has seen them",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    opening = {"when": now, "commit": settings.commit, "count": len(before) + 1}
    opening["trainings"] = trainings
    finals.set_user_attr(OPENINGS, [*before, opening])
