"""The data sets that `--data` knows by name, and what the names of others may not be."""

from __future__ import annotations

import os
from pathlib import Path

from search.common.errors import UserError

MNIST = "MNIST"
KNOWN = {  # as `--data` has them: as they are shown
    "mnist": MNIST,
    "fashion-mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "qmnist": "QMNIST",
    "emnist-balanced": "EMNIST-balanced",
    "emnist-byclass": "EMNIST-byclass",
    "emnist-bymerge": "EMNIST-bymerge",
    "emnist-digits": "EMNIST-digits",
    "emnist-letters": "EMNIST-letters",
    "emnist-mnist": "EMNIST-mnist",
    "usps": "USPS",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}
PRINTED = {"fashion-mnist", "svhn", "cifar10", "cifar100"}  # photographs and printed figures
HANDWRITING = frozenset(shown for name, shown in KNOWN.items() if name not in PRINTED)
SCALED = " at "  # stands between a set's name and the size that its images were brought to


def base(name: str) -> str:
    """A set's name without the size that its images were brought to."""
    return name.partition(SCALED)[0]


def own_name(place: Path) -> str:
    """The name of what lies in a user's directory or file: never one of a set that is known.

    What belongs to MNIST or to handwriting alone is asked by the name.
    """
    at = place.parent if place.name == "raw" else place
    name = " ".join((at.stem if at.suffix == ".npz" else at.name).split()) or "data"
    if base(name).casefold() == MNIST.casefold():
        return f"altered {name}"  # MNIST's own bytes are told before a name is given
    taken = {known.casefold() for known in (*KNOWN, *KNOWN.values())}
    return f"{name} (files)" if base(name).casefold() in taken else name


def set_or_path(data: str | Path | None) -> str | Path:
    """What `--data` means: a set's name, or a path. None is MNIST.

    A known name is the set even where a directory is called so: ./NAME is the directory.

    Raises:
        UserError: If it is neither.
    """
    if data is None:
        return "mnist"
    if isinstance(data, str) and data.casefold() in KNOWN:
        return data.casefold()
    path = Path(os.path.abspath(Path(data).expanduser()))
    if isinstance(data, str) and os.sep not in data and not os.path.lexists(path):
        raise UserError(
            f"{data!r} is neither a data set's name nor a file or directory here",
            f"The names are {', '.join(KNOWN)}",
        )
    return path
