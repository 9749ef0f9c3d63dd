"""Studies by the names that a command line gives them: ``a.db``, ``a.db::small``, a URL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.study.storages.location import sqlite_file, without_password
from search.study.storages.opening import DEFAULT_STUDY, open_study

if TYPE_CHECKING:
    from search.study.storages.stored import StoredStudy

SEPARATOR = "::"  # between a storage and a study's name


@dataclass(frozen=True, kw_only=True)
class NamedStudy:
    """A study that was named, opened to be read."""

    place: tuple[str, ...]  # of its storage: the parts of a path, or a URL without password
    study: StoredStudy

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for the same study, however it was named."""
        return (*self.place, self.study.study_name)

    def short(self, parts: int, *, without_file: bool = False) -> str:
        """A name of so many parts of the path, and the study's unless it is the usual one."""
        place = self.place[:-1] if without_file else self.place
        return _short(place, self.study.study_name, parts)


def _short(place: Sequence[str], study: str, parts: int) -> str:
    name = "/".join(place[-parts:]).removesuffix(".db")
    return name if study == DEFAULT_STUDY else f"{name} ({study})"


def storage_of(named: str) -> tuple[str, str | None]:
    """What was named, taken apart: a storage, and a study's name or None."""
    storage, _, study = named.rpartition(SEPARATOR)
    if not storage or "/" in study:  # the two colons of an address
        return named, None
    return storage, study or None


def open_named(named: str) -> NamedStudy:
    """Open a study to read it; ``a`` is taken for ``a.db`` where there is no file ``a``.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    storage, name = storage_of(named)
    file = sqlite_file(storage)
    if file is not None and not file.exists():
        longer = file.with_name(f"{file.name}.db")
        if not longer.exists():
            raise UserError(f"there is no study at {file}", "Name another file")
        storage, file = str(longer), longer
    study = open_study(storage, name, read_only=True)
    place = file.parts if file else (without_password(storage),)
    return NamedStudy(place=place, study=study)


def place_of(storage: str, study: str) -> tuple[str, ...]:
    """The ``key`` of a study that need not be there."""
    file = sqlite_file(storage)
    return (*(file.parts if file else (without_password(storage),)), study)


def short_name(storage: str, study: str) -> str:
    """A study's file and its folder, and its name unless it is the usual one."""
    file = sqlite_file(storage)
    return _short(file.parts if file else (without_password(storage),), study, 2)


def names_apart(studies: Sequence[NamedStudy]) -> list[str]:
    """A short name for each study, by which all of them can be told apart."""
    names: list[str] = []
    is_everywhere = (
        len({one.place[-1] for one in studies}) == 1 < len({one.place for one in studies})
    )
    for parts in range(1, 1 + max(len(one.place) for one in studies)):
        names = [one.short(parts, without_file=is_everywhere) for one in studies]
        if len(set(names)) == len(studies):
            break
    return names
