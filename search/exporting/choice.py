"""Which trial is exported, and the name of the directory that it goes to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.common.text import counted
from search.reporting.leaderboard import summarize
from search.study.attributes import REASON
from search.study.companions import candidates_of
from search.study.storages.naming import short_name
from search.study.storages.opening import DEFAULT_STORAGE, open_study

if TYPE_CHECKING:
    from search.study.storages.stored import StoredStudy


def at_rank(study: StoredStudy, rank: int, storage: str) -> tuple[StoredStudy, int]:
    """The study and the number of the trial at a place of the leaderboard.

    Raises:
        UserError: If fewer are ranked.
    """
    entries = summarize(study).entries
    if rank > len(entries):
        held = counted(len(entries), "architecture")
        raise UserError(
            f"the leaderboard holds {held}, but rank {rank} was asked for",
            "Name a complete trial with --trial, or search on",
        )
    trial = entries[rank - 1].trial
    if trial.by_user:
        study = open_study(storage, candidates_of(study.study_name), read_only=True)
    return study, trial.number


def directory_name(storage: str, study: str, number: int) -> str:
    """A directory's name for a trial, whatever its study is called, and where it is not the usual.

    Args:
        storage: A URL or the path of an SQLite file.
        study: The study's name.
        number: The trial's.
    """
    where = "" if storage == DEFAULT_STORAGE else f"{short_name(storage, study, parts=1)} "
    return f"{re.sub(r'[^A-Za-z0-9_.]+', '-', f'{where}{study}').strip('.-')}-{number}"


def refuse_incomplete(study: StoredStudy, number: int) -> None:
    """Refuse a trial that has no final network.

    Raises:
        UserError: If it is not complete.
    """
    trial = study.get_trials(deepcopy=False)[number]
    if trial.state.name != "COMPLETE":
        reason = REASON.of(trial) or trial.state.name.lower()
        raise UserError(f"trial {number} is not complete ({reason})", "Name a complete one")
