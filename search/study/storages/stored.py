"""A study with the storage that it is in, which Optuna's own keeps to itself."""

from __future__ import annotations

import optuna
from optuna.storages import BaseStorage


class StoredStudy(optuna.Study):
    """A study that exists, without a sampler of its own.

    Args:
        name: The study's.
        storage: Where it is.
    """

    def __init__(self, name: str, storage: BaseStorage) -> None:
        super().__init__(study_name=name, storage=storage)
        self.storage = storage

    def companion(self, name: str) -> StoredStudy | None:
        """A study beside this one; None where there is no such study."""
        there = optuna.get_all_study_names(self.storage)
        return StoredStudy(name, self.storage) if name in there else None
