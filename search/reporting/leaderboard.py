"""The leaderboard: what a study holds, computed once, before anything is drawn or written.

A valid architecture has a complete trial that is known to keep every limit of its study. They are
ranked by what another seed of each is expected to give (``search.reporting.architectures``).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from search.common.text import counted
from search.common.values import integer, text
from search.data.problem import Problem, recorded_problem
from search.reporting.claims import Remeasured, remeasured
from search.reporting.constraints import why_not_valid
from search.reporting.finalists import Finalists, read_finalists
from search.reporting.health import HealthCheck, check_health
from search.reporting.ranking import Entry, Verdict, judge, rank
from search.reporting.records import (
    Outcome,
    StudyLimits,
    TrialRecord,
    latest_attempts,
    read_limits,
    read_trials,
)
from search.reporting.searched_parameters import (
    Dimension,
    Importance,
    measure_importance,
    read_dimensions,
)
from search.reporting.shortlist import Shortlisted, read_shortlist
from search.study.attributes import CHOSEN, OPENINGS, SETTINGS
from search.study.companions import candidates_of, finalists_of, shortlist_of
from search.study.microcontrollers import OnMicrocontroller, read_measured
from search.study.storages.stored import StoredStudy


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Everything that a report says, as values."""

    study_name: str
    maximizes: bool  # one value that is to be large, as an accuracy is
    made_at: datetime
    problem: Problem  # what the images are; what is not recorded of them is empty
    limits: StudyLimits
    settings: tuple[tuple[str, str], ...]  # the recorded settings that are fit to be shown
    counts: Mapping[Outcome, int]
    trials: tuple[TrialRecord, ...]  # the search's own
    user_candidates: tuple[TrialRecord, ...]  # trained beside the search, as its own are
    shortlist: tuple[Shortlisted, ...]  # trained again to choose the finalists
    finalists: Finalists | None  # retrained and tested; None as long as there are none
    claims: tuple[Remeasured, ...]  # of public systems, with what the finalists' test gave
    entries: tuple[Entry, ...]  # the valid architectures, best first
    unranked: Mapping[str, int]  # why complete trials are not valid, with their number
    verdict: Verdict
    dimensions: tuple[Dimension, ...]
    importance: Importance
    health: tuple[HealthCheck, ...]
    training_seconds: float  # over all trials
    span_seconds: float | None  # from the first trial's start to the last one's end
    micro: tuple[OnMicrocontroller, ...] = ()  # what exports measured

    @property
    def finished(self) -> int:
        """Trials that count towards ``--trials``: complete, pruned and over budget."""
        ended = (Outcome.COMPLETE, Outcome.PRUNED, Outcome.OVER_BUDGET)
        return sum(self.counts[outcome] for outcome in ended)

    @property
    def measures_accuracy(self) -> bool:
        """Whether the complete trials' values can be accuracies; if not, they are just values."""
        complete = [t.accuracy for t in self.trials if t.outcome is Outcome.COMPLETE]
        return self.maximizes and all(0 <= value <= 1 for value in complete if value is not None)

    @property
    def references(self) -> tuple[TrialRecord, ...]:
        """The systems to compare with: reference systems and candidates of users.

        Whatever became of them: one that is over the limit is here too.
        """
        own = tuple(trial for trial in self.trials if trial.is_reference)
        return own + self.user_candidates

    @property
    def winner(self) -> Entry | None:
        """The chosen finalist's entry where it is ranked here, else the best that was found."""
        best = self.finalists.chosen if self.finalists else None
        for entry in self.entries if best else ():
            if entry.trial.is_found and best and entry.trial.number == best.search_trial:
                return entry
        return self.verdict.best

    @property
    def tied_with_first(self) -> int:
        """How many entries share the first place's tie, itself included."""
        return sum(entry.tie == 1 for entry in self.entries)

    def entry_of(self, trial: TrialRecord) -> Entry | None:
        """The entry of a trial, or None if that trial is not ranked."""
        return next((entry for entry in self.entries if entry.trial.name == trial.name), None)


def summarize(study: Study, *, made_at: datetime | None = None) -> Summary:
    """Compute everything that a report says, from one reading of the study's trials.

    Works at any moment of a search and for studies that this tool did not make: what is missing is
    None, zero or empty, and no trial is ranked without evidence.
    """
    frozen = study.get_trials(deepcopy=False)
    settings = SETTINGS.of(study)
    limits, problem = read_limits(settings), recorded_problem(settings)
    trials = read_trials(frozen, limits)
    beside = companion(study, candidates_of(study.study_name))
    user_candidates = latest_attempts(read_trials(_trials(beside), limits, by_user=True))
    again = companion(study, shortlist_of(study.study_name))
    tested = companion(study, finalists_of(study.study_name))
    finalists = read_finalists(
        _trials(tested),
        OPENINGS.of(tested) if tested else [],
        target=limits.target,
        order=CHOSEN.of(tested) if tested else (),
    )
    maximizes = study.directions == [StudyDirection.MAXIMIZE]
    unranked: Counter[str] = Counter()
    valid: list[TrialRecord] = []
    for trial in (*trials, *user_candidates):
        if trial.outcome is Outcome.COMPLETE:
            reason = why_not_valid(trial, limits, maximizes=maximizes)
            if reason:
                unranked[reason] += 1
            else:
                valid.append(trial)
    entries = rank(valid, limits)
    dimensions = read_dimensions(frozen)
    counted = Counter(trial.outcome for trial in trials)
    return Summary(
        study_name=text(study.study_name),
        maximizes=maximizes,
        made_at=made_at or datetime.now(UTC),
        problem=replace(problem, name=text(problem.name)),
        limits=limits,
        settings=_shown_settings(settings),
        counts={outcome: counted[outcome] for outcome in Outcome},
        trials=trials,
        user_candidates=user_candidates,
        shortlist=read_shortlist(_trials(again), frozen, finalists),
        finalists=finalists,
        claims=remeasured(finalists, limits, problem) if finalists else (),
        entries=entries,
        unranked=dict(unranked),
        verdict=judge(entries, limits),
        dimensions=dimensions,
        importance=measure_importance(frozen, study.directions),
        health=check_health(
            trials=trials,
            entries=entries,
            limits=limits,
            dimensions=dimensions,
            settings=settings,
        ),
        training_seconds=sum(trial.seconds or 0.0 for trial in trials),
        span_seconds=_span(trials),
        micro=read_measured(study),
    )


def companion(study: Study, name: str) -> Study | None:
    """A study beside this one; None where there is none, or this one's storage is not known."""
    return study.companion(name) if isinstance(study, StoredStudy) else None


def _trials(study: Study | None) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False) if study else []


def best_so_far(summary: Summary, trials: Sequence[TrialRecord]) -> list[float | None]:
    """The best valid accuracy up to each of the trials, in the order that they are given.

    In a study where nothing is ranked every complete trial counts, and the smallest value where the
    study minimises, so that a foreign study still has a history.
    """
    better = max if summary.maximizes else min
    ranked = {
        seed.name for entry in summary.entries if not entry.trial.by_user for seed in entry.seeds
    }
    values = [
        trial.accuracy
        if trial.name in ranked or (not ranked and trial.outcome is Outcome.COMPLETE)
        else None
        for trial in trials
    ]

    def best(first: float | None, second: float | None) -> float | None:
        known = [value for value in (first, second) if value is not None]
        return better(known) if known else None

    return list(itertools.accumulate(values, best))


def _span(trials: Sequence[TrialRecord]) -> float | None:
    starts = [trial.started for trial in trials if trial.started]
    ends = [trial.ended for trial in trials if trial.ended]
    if not starts or not ends:
        return None
    return max(0.0, (max(ends) - min(starts)).total_seconds())


def _shown_settings(settings: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Settings by name, from a list of harmless ones: a storage URL may hold a password."""
    dataset = settings.get("dataset")
    shown = []
    if isinstance(dataset, Mapping):
        parts = [text(dataset.get("name"))]
        for key, word in (
            ("train_images", "training image"),
            ("validation_images", "validation image"),
        ):
            images = integer(dataset.get(key))
            parts += [counted(images, word)] if images is not None else []
        shown.append(("data", ", ".join(part for part in parts if part)))
    for key in ("sampler", "pruner", "seed", "workers", "device", "commit"):
        value = settings.get(key)
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            shown.append((key, text(str(value))))
    return tuple((name, value) for name, value in shown if value)
