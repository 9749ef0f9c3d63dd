"""What ``--data`` means, and what a set of one's own may be called."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import UserError
from search.data.names import KNOWN, own_name, set_or_path
from search.data.problem import Problem


def test_a_known_name_is_the_set_even_where_a_directory_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").mkdir()
    assert set_or_path("cifar10") == "cifar10"
    assert set_or_path("CIFAR10") == "cifar10"
    assert set_or_path("./cifar10") == tmp_path / "cifar10"
    assert set_or_path(None) == "mnist"
    assert set_or_path(Path("cifar10")) == tmp_path / "cifar10"


def test_what_is_neither_is_refused_with_the_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="'imagenet' is neither") as raised:
        set_or_path("imagenet")
    assert all(name in str(raised.value) for name in KNOWN)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/a/clothes", "clothes"),
        ("/a/clothes/raw", "clothes"),
        ("/a/my  things.npz", "my things"),
        ("/a/MNIST/raw", "altered MNIST"),
        ("/a/Fashion-MNIST", "Fashion-MNIST (files)"),
        ("/a/kmnist.npz", "kmnist (files)"),
        ("/", "data"),
    ],
)
def test_no_set_of_ones_own_is_called_as_one_that_is_known(place: str, name: str) -> None:
    assert own_name(Path(place)) == name


@pytest.mark.parametrize(
    ("name", "handwriting"),
    [
        *(("MNIST", True), ("KMNIST", True), ("EMNIST-letters", True), ("USPS", True)),
        *(("Fashion-MNIST", False), ("SVHN", False), ("CIFAR-10", False), ("clothes", False)),
        *(("MNIST at 20×20", True), ("kmnist (files)", False), ("altered MNIST", False)),
    ],
)
def test_handwriting_is_known_by_the_name_that_a_source_gives(name: str, handwriting: bool) -> None:
    assert Problem(name=name).handwriting == handwriting
