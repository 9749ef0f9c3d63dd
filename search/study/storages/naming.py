"""Studies by the names that a command line gives them: ``a.db``, ``a.db::small``, a URL."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.common.text import clean
from search.study.attributes import IDENTITY
from search.study.storages.location import SCHEME, sqlite_file, without_password
from search.study.storages.opening import DEFAULT_STUDY, open_study

if TYPE_CHECKING:
    import optuna

    from search.study.storages.stored import StoredStudy

SEPARATOR = "::"  # between a storage and a study's name


@dataclass(frozen=True, kw_only=True)
class NamedStudy:
    """A study that was named, opened to be read."""

    place: tuple[str, ...]  # of its storage: the parts of a path, or a URL without password
    study: StoredStudy

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for the same study, by whatever path."""
        return (*self.place, self.study.study_name)

    def short(self, parts: int, *, without_file: bool = False) -> str:
        """A name of so many parts of the path, and the study's unless it is the usual one."""
        place = self.place[:-1] if without_file else self.place
        return _short(place, self.study.study_name, parts)


def _short(place: Sequence[str], study: str, parts: int) -> str:
    name = clean("/".join(place[-parts:]).removesuffix(".db"))
    return name if study == DEFAULT_STUDY else f"{name} ({clean(study)})"


def storage_of(named: str) -> tuple[str, str | None]:
    """What was named, taken apart: a storage, and a study's name or None.

    A file that is there is meant as a whole, whatever its name. Of a URL the name is what follows
    the last two colons behind its host: an address may have some too.
    """
    scheme = SCHEME.match(named)
    if scheme is None:
        places = [at for at in range(len(named)) if named.startswith(SEPARATOR, at)]
        for at in [] if _database(named) else places:
            if _database(named[:at]):
                return named[:at], named[at + len(SEPARATOR) :] or None
        storage, _, study = named.rpartition(SEPARATOR)
        return (storage, study or None) if storage else (named, None)
    host, slash, rest = named[scheme.end() :].partition("/")
    database, _, study = rest.partition(SEPARATOR)
    return f"{scheme[0]}{host}{slash}{database}", study or None


def _database(path: str) -> Path | None:
    """The file that a path means: itself, or with ``.db`` where there is none of that name."""
    with suppress(OSError, UserError, ValueError):
        file = sqlite_file(path)
        for found in (file, file and file.with_name(f"{file.name}.db")):
            if found is not None and found.exists():
                return found
    return None


def open_named(named: str) -> NamedStudy:
    """Open a study to read it; ``a`` is taken for ``a.db`` where there is no file ``a``.

    Raises:
        UserError: If there is none, or it cannot be read.
    """
    storage, name = storage_of(named)
    file = sqlite_file(storage)
    if file is not None:
        found = _database(storage)
        if found is None:
            raise UserError(f"there is no study at {file}", "Name another file")
        storage = str(found)
    return NamedStudy(place=_place(storage), study=open_study(storage, name, read_only=True))


def _place(storage: str) -> tuple[str, ...]:
    file = sqlite_file(storage)
    return Path(os.path.realpath(file)).parts if file else (without_password(storage),)


def is_file_of(storage: str, other: str) -> bool:
    """Whether two storages are one, by whatever path or link."""
    files = [_database(one) or sqlite_file(one) for one in (storage, other)]
    if None in files:
        return without_password(storage) == without_password(other)
    return all(file and file.exists() for file in files) and os.path.samefile(*map(str, files))


def identity(study: optuna.Study) -> str:
    """A text by which a study is known again when its file was moved or copied.

    Of one that was not made to have such a text: when its first trial began, and its name.
    """
    if IDENTITY.of(study):
        return IDENTITY.of(study)
    first = study.get_trials(deepcopy=False)[:1]
    began = first[0].datetime_start if first else None
    return f"{study.study_name} of {began.isoformat() if began else 'no trial'}"


def short_name(storage: str, study: str, parts: int = 2) -> str:
    """A study's file with so many parts of its path, and its name unless it is the usual one."""
    return _short(_place(storage), study, parts)


def names_apart(studies: Sequence[NamedStudy]) -> list[str]:
    """A short name for each study, by which all of them can be told apart."""
    files = {one.place for one in studies}
    is_everywhere = len({place[-1] for place in files}) == 1 < len(files)
    for parts in range(1, 1 + max(map(len, files))):
        names = [one.short(parts, without_file=is_everywhere) for one in studies]
        if len(set(names)) == len(studies):
            return names
    return [clean(SEPARATOR.join(("/".join(one.place), one.study.study_name))) for one in studies]
