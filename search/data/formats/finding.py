"""Which kind of data source a name or a path is."""

from __future__ import annotations

from pathlib import Path

from search.common.errors import UserError
from search.data.formats.arrays import ArraySet
from search.data.formats.class_folders import holds_pictures
from search.data.formats.folders import FolderSet
from search.data.formats.idx import IdxSet, holds_idx
from search.data.formats.idx import find as find_idx
from search.data.formats.mnist_set import MnistSet
from search.data.formats.scaled import Scaled
from search.data.formats.torchvision_sets import TorchvisionSet
from search.data.origin import Origin
from search.data.problem import ImageSize

FORMS = (
    "Name a directory of class folders with images, of train/ and test/ with class folders, of IDX "
    "files, or an .npz file"
)


def find(named: str | Path, size: ImageSize | None) -> Origin:
    """The data source of a known set's name, or of a path.

    Args:
        named: As ``names.set_or_path`` gives it.
        size: What the images are to be brought to; None leaves them as they are.

    Raises:
        UserError: If there is nothing, or nothing that can be read.
    """
    if isinstance(named, str):
        known = MnistSet() if named == "mnist" else TorchvisionSet(key=named)
        return _sized(known, size)
    try:
        if not named.exists():
            raise UserError(f"the data directory {named} does not exist", FORMS)
        if named.is_dir():
            return _in_directory(named, size)
        if named.is_file() and named.suffix.lower() == ".npz":
            return _sized(ArraySet(file=named), size)
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise UserError(f"the data directory {named} {what}", FORMS) from error
    raise UserError(f"{named} is neither a directory nor an .npz file", FORMS)


def _in_directory(directory: Path, size: ImageSize | None) -> Origin:
    if holds_idx(directory):
        file = find_idx(directory)["train_images"]
        return _sized(IdxSet(directory=file.parent), size)
    if holds_pictures(directory):
        return FolderSet(directory=directory, size=size)  # whose images need not have one size
    raise UserError(f"the data directory {directory} holds no data", FORMS)


def _sized(origin: Origin, size: ImageSize | None) -> Origin:
    return origin if size is None else Scaled(origin=origin, size=size)
