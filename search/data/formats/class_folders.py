"""Which images lie in which class folder, by names alone: nothing is opened here."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.common.text import counted
from search.data.formats.pictures import is_picture
from search.data.origin import Part
from search.data.splits import stratified_order

SPELLINGS: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation"),
    "test": ("test",),
}  # of the folders' names, in small letters
CLUTTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})  # that systems leave
HELD_OUT_SEED = 1  # of which images are the test where a set has none
SHAPE_OF_IT = (
    "Put each class's images into a folder of its own: DIR/train/CLASS/*.png and "
    "DIR/test/CLASS/*.png, or DIR/CLASS/*.png"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Listing:
    """The images of a part with their classes."""

    place: Path
    names: tuple[str, ...]  # of the classes, in the order of the labels
    files: list[Path]
    labels: npt.NDArray[np.int64]

    def at(self, places: npt.NDArray[np.int64]) -> Listing:
        """Some of the images, in their order here."""
        places = np.sort(places)
        files = [self.files[place] for place in places]
        return Listing(place=self.place, names=self.names, files=files, labels=self.labels[places])


def holds_pictures(directory: Path) -> bool:
    """Whether there is an image in a directory or near below, where it may be meant for a class."""
    return _holds(
        directory, depth=3
    )  # the directory, train, a class, a folder that is one too many


def _holds(directory: Path, depth: int) -> bool:
    try:
        files, folders = _entries(directory)
    except UserError:  # a folder of the system's, lost+found for instance
        return False
    if any(is_picture(name) for name in files):
        return True
    return depth > 0 and any(_holds(directory / name, depth - 1) for name in folders)


def parts(directory: Path) -> dict[Part, Path]:
    """The folders train/, val/ and test/ of class folders; none where classes lie in `directory`.

    Raises:
        UserError: If a directory cannot be read, or two folders could be the same part.
    """
    folders = _entries(directory)[1]
    found = {
        part: [name for name in folders if name.casefold() in spellings]
        for part, spellings in SPELLINGS.items()
    }
    # a folder train that holds images alone may be a class: of cars, trains and planes
    if not found["train"] or not (
        found["val"] or found["test"] or any(has_classes(directory / n) for n in found["train"])
    ):
        return {}
    for part, names in found.items():
        if len(names) > 1:
            raise UserError(
                f"{directory} holds {' and '.join(names)}, which both stand for {part}",
                "Keep only one of them",
            )
    return {part: directory / names[0] for part, names in found.items() if names}


def has_classes(folder: Path) -> bool:
    """Whether there is a folder in a folder."""
    return bool(_entries(folder)[1])


def held_out(directory: Path) -> tuple[Listing, Listing]:
    """A directory of class folders as training images and, a stratified sixth, test images.

    Raises:
        UserError: If it is not in order, or a class has so few images that none is left to train.
    """
    found = listing(directory)
    order = stratified_order(found.labels, HELD_OUT_SEED)
    start = len(order) - len(order) // 6
    train, test = found.at(order[:start]), found.at(order[start:])
    for label, name in enumerate(found.names):
        if label not in train.labels:
            raise UserError(
                f"{directory / name} has too few images: the sixth that is held out as test "
                "leaves none to train on",
                "Add images to this folder, or move it away",
            )
    return train, test


def listing(place: Path, known: tuple[str, ...] | None = None) -> Listing:
    """The class folders of a directory, in the order of their names.

    Args:
        place: The directory.
        known: The training images' classes, of which these are to be; None where they are those.

    Raises:
        UserError: If it is not a directory of folders with images and nothing else.
    """
    loose, folders = _entries(place)
    if not folders:
        raise UserError(f"{place} holds no class folders", SHAPE_OF_IT)
    if pictures := [name for name in loose if is_picture(name)]:
        raise UserError(
            f"{place} holds {_some(pictures, 'image')} beside the class folders", SHAPE_OF_IT
        )
    names = tuple(_in_order(folders))
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode(errors="backslashreplace")
            raise UserError(
                f"the name of the class folder {place}/{shown} is not UTF-8", "Rename the folder"
            ) from None
    if known is None and len(names) == 1:
        raise UserError(
            f"{place} holds only one class folder, {names[0]}: there is nothing to tell apart",
            SHAPE_OF_IT,
        )
    if known is not None and (strange := [name for name in names if name not in known]):
        raise UserError(
            f"{place} holds {_some(strange, 'class folder')} that no training image belongs to",
            "Give the folders the names of the training images' classes",
        )
    known = known or names
    by_class = {name: _pictures(place / name) for name in names}
    counts = [len(by_class.get(name, ())) for name in known]
    return Listing(
        place=place,
        names=known,
        files=[file for name in known for file in by_class.get(name, ())],
        labels=np.repeat(np.arange(len(known), dtype=np.int64), counts),
    )


def _in_order(names: list[str]) -> list[str]:
    if all(name.isascii() and name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return names


def _pictures(folder: Path) -> list[Path]:
    files, folders = _entries(folder)
    if folders:
        raise UserError(
            f"the class folder {folder} holds {_some(folders, 'folder')}: only images are "
            "looked for there",
            SHAPE_OF_IT,
        )
    if other := [name for name in files if not is_picture(name)]:
        raise UserError(
            f"the class folder {folder} holds {_some(other, 'file')} that no image's name ends as",
            "Move what is no image away; PNG, JPEG, BMP, GIF, TIFF and WebP are read",
        )
    if not files:
        raise UserError(
            f"the class folder {folder} is empty", "Put images into this folder, or delete it"
        )
    return [folder / name for name in files]


def _some(names: list[str], noun: str) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{counted(len(names), noun)} ({', '.join(names[:3])}{more})"


def _entries(directory: Path) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders, sorted; hidden ones and clutter left out."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name.casefold() not in CLUTTER:
                    (folders if entry.is_dir() else files).append(_usable(entry))
    except OSError as error:
        raise UserError(
            f"{directory} cannot be read ({error.strerror or error})",
            "Make this directory readable, or name another",
        ) from None
    return sorted(files), sorted(folders)


def _usable(entry: os.DirEntry[str]) -> str:
    """An entry's name; refused is what would be waited for without end."""
    with contextlib.suppress(OSError):  # a link to nothing: reading it says so
        if stat.S_IFMT(entry.stat().st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"{entry.path} is neither a file nor a folder", "Move it away")
    return entry.name
