"""Candidates of a user, and the reference systems: trained as the search's own are.

They live in a study of their own beside the search's, whose sampler must not see them, with the
same storage, seed, data, epochs and limits. No pruner ends them early: who hands a candidate in
wants its figure.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState

from search.architecture.candidate import LayeredCandidate
from search.architecture.references import REFERENCES
from search.common.errors import UserError
from search.common.output import say
from search.common.text import counted
from search.common.typed_json import loads
from search.data.problem import Problem
from search.reporting.pages.writing import write_reports
from search.study import attributes
from search.study.companions import candidates_of
from search.study.storages.locks import study_lock
from search.study.storages.opening import create_study

if TYPE_CHECKING:
    import optuna

    from search.architecture.spaces import Space
    from search.workers.job import Job

PREFIX = "reference: "  # of a reference system's label
USER = "user candidate: "  # of a file's
LARGEST_FILE = 1_000_000  # bytes; a candidate has a few thousand
UNFINISHED = (TrialState.WAITING, TrialState.RUNNING)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class UserCandidate:
    """A candidate with the name that the leaderboard shows."""

    label: str
    text: str  # the candidate, as a space writes it

    @property
    def shown(self) -> str:
        """The label; one that only stands in for a system says so."""
        known = REFERENCES.get(self.label.removeprefix(PREFIX))
        return self.label if known is None or known.exact else f"{self.label} (stand-in)"

    def is_trial(self, trial: FrozenTrial) -> bool:
        """Whether a trial was made from this."""
        return (
            (attributes.LABEL.of(trial) or "").replace("handed in: ", USER) == self.label  # older
            and attributes.USER_CANDIDATE.of(trial) == self.text
        )


def read_all(files: Sequence[Path], *, references: bool) -> list[UserCandidate]:
    """The candidates of some JSON files, and the reference systems if asked for.

    Raises:
        UserError: If any file cannot be read; nothing else is then used either.
    """
    named = [
        UserCandidate(label=f"{PREFIX}{key}", text=reference.candidate.to_json())
        for key, reference in (REFERENCES.items() if references else ())
    ]
    return list(dict.fromkeys(named + [read(file) for file in files]))


def read(file: Path) -> UserCandidate:
    """The candidate of a JSON file, in the form that ``Space.write`` gives.

    Raises:
        UserError: If there is no such file, or it does not hold a candidate; says what is wrong.
    """
    hint = "Its form is that of candidate.json in what search/export.py writes"
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for without end
            raise UserError(f"{file} is not a file", "Name a JSON file")
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UserError(f"{file} is longer than {LARGEST_FILE:,} bytes", hint)
        text = content.decode("utf-8-sig")
        data = loads(text)
        drawn = isinstance(data, dict) and "params" in data
        text = json.dumps(data) if drawn else LayeredCandidate.from_json(text).to_json()
    except OSError as error:
        raise UserError(
            f"{file} cannot be read: {error.strerror or error}", "Name a JSON file"
        ) from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{file} holds no candidate: {error}", hint) from None
    return UserCandidate(label=f"{USER}{file.stem}", text=text)


def check_fit(candidates: Sequence[UserCandidate], space: Space) -> None:
    """Refuse candidates that cannot be trained on some data.

    Raises:
        UserError: If a reference system meets other images than MNIST's, or a candidate is for
            images of another shape or number of classes, or was drawn from another space.
    """
    problem = space.problem
    if any(item.label.startswith(PREFIX) for item in candidates):
        check_references(problem)
    for item in candidates:
        try:
            candidate = space.read(item.text)
        except ValueError as error:
            raise UserError(f"{item.label}: {error}", "Fix the file") from None
        if not isinstance(candidate, LayeredCandidate):
            space.costs(candidate)  # builds it
            continue
        outputs = candidate.head.classes
        if outputs != problem.classes:
            raise UserError(
                f"the candidate ({item.label}) has {counted(outputs, 'output')}, but "
                f"{problem.name} has {counted(problem.classes, 'class')}",
                f'Write "classes": {problem.classes} into its "head"',
            )
        if candidate.input_shape != problem.input_shape:
            raise UserError(
                f"the candidate ({item.label}) is for images of {list(candidate.input_shape)}, but "
                f"{problem.name} has {list(problem.input_shape)} (channels, height, width)",
                f'Write "input_shape": {list(problem.input_shape)} into it',
            )


def check_references(problem: Problem) -> None:
    """Refuse to train the reference systems where they and their claims do not belong.

    Raises:
        UserError: If the images are not MNIST's.
    """
    if not problem.is_mnist:
        raise UserError(
            f"the reference systems and their claims are for MNIST, not for {problem.name}",
            "Leave out --references",
        )


def queue(
    study: optuna.Study, job: Job, candidates: Sequence[UserCandidate]
) -> tuple[optuna.Study, Job, int]:
    """Put candidates into the queue of the study beside a search's, each once.

    What is there already, finished or under way, is not queued again; what failed is.

    Args:
        study: The search's.
        job: Of the search.
        candidates: What to train.

    Returns:
        The study beside it, its job, and how many trials are to be done.
    """
    name = candidates_of(study.study_name)
    with study_lock(job.storage):
        beside = create_study(job.storage, name)
        settings = {**attributes.SETTINGS.of(study), "sampler": "none", "pruner": "none"}
        if attributes.SETTINGS.of(beside) != settings:
            attributes.SETTINGS.set(beside, settings)
        there = beside.get_trials(deepcopy=False)
        for item in candidates:
            if not any(item.is_trial(t) and t.state in (*FINISHED, *UNFINISHED) for t in there):
                attribute = {
                    attributes.LABEL.name: item.label,
                    attributes.USER_CANDIDATE.name: item.text,
                }
                beside.enqueue_trial({}, user_attrs=attribute)
        trials = beside.get_trials(deepcopy=False)
    finished = sum(trial.state in FINISHED for trial in trials)
    unfinished = sum(trial.state in UNFINISHED for trial in trials)
    changed = dataclasses.replace(
        job,
        study=name,
        trials=finished + unfinished,
        sampler="random",
        pruner="none",
        queue_only=True,
    )
    return beside, changed, unfinished


def announce(
    study: optuna.Study,
    beside: optuna.Study,
    candidates: Sequence[UserCandidate],
    reports: Path,
    code: int,
) -> int:
    """Print what became of each candidate and write the leaderboard; returns the exit code."""
    trials = beside.get_trials(deepcopy=False)
    say()
    for item in candidates:
        own = [trial for trial in trials if item.is_trial(trial)]
        name = f"h{own[-1].number} {item.shown}" if own else item.shown
        say(f"  {name}: {result(own[-1]) if own else 'its trial was edited meanwhile'}")
        code = code or int(not own or own[-1].state == TrialState.FAIL)
    write_reports(study, reports)
    say()
    say(f"Leaderboard: {reports / 'leaderboard.html'}")
    return code


def result(trial: FrozenTrial) -> str:
    """How a trial ended, in a few words."""
    if trial.state == TrialState.COMPLETE:
        parameters = counted(attributes.PARAMETERS.of(trial) or 0, "parameter")
        ended = f"{100 * trial.values[0]:.2f} % with {parameters}"
        return ", ".join((ended, *attributes.ADJUSTED.of(trial)))
    return attributes.REASON.of(trial) or trial.state.name.lower()
