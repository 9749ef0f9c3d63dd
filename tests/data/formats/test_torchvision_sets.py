"""torchvision's own classes, fetching small files in the real formats from a local server."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data.dataset import load_whole
from search.data.formats import torchvision_sets
from search.data.formats.torchvision_sets import TorchvisionSet
from search.data.names import KNOWN
from search.data.problem import ImageSize, problem_of
from search.data.sources import locate
from search.data.splits import stratified_order
from search.data.testset import load_test
from tests.helpers.data.idx_files import write_dataset
from tests.helpers.data.torchvision_files import TEST, TRAIN, Web, serving

KINDS = {  # the last class's name, and whether they are handwriting
    "fashion-mnist": ("Ankle boot", False),
    "kmnist": ("wo", True),
    "qmnist": ("9", True),
    "emnist-letters": ("z", True),
    "emnist-digits": ("9", True),
    "emnist-balanced": ("t", True),
    "usps": ("9", True),
    "svhn": ("9", False),
    "cifar10": ("thing 9", False),
    "cifar100": ("thing 99", False),
}
FAMILIES = ["kmnist", "qmnist", "emnist-digits", "usps", "svhn", "cifar10"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where what is fetched goes, in a cache that is empty."""
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision_sets, "DEBIAN", {})
    return tmp_path / "cache" / "torchvision"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    with serving(tmp_path / "web", monkeypatch) as running:
        yield running


def _quiet(line: str) -> None:
    pass


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


@pytest.mark.parametrize("key", KINDS)
def test_a_set_is_fetched_once_and_read_as_it_is(key: str, web: Web) -> None:
    made = web.serve(key)
    said: list[str] = []
    source = locate(key, say=said.append)
    assert source.name == KNOWN[key]
    assert sum("fetching" in line for line in said) == 1
    order = stratified_order(made.labels)
    whole = load_whole(source)
    tolerance = 1 if key == "usps" else 0  # whose file has six digits
    np.testing.assert_allclose(whole.images.astype(int), made.images[order], atol=tolerance)
    np.testing.assert_array_equal(whole.labels, made.labels[order])
    last, handwriting = KINDS[key]
    assert source.class_names[-1] == last
    assert problem_of(source).handwriting == handwriting
    asked = len(web.asked)
    assert locate(key, say=_quiet).fingerprint == source.fingerprint
    assert len(web.asked) == asked  # it is here
    test = load_test(source, say=said.append)
    np.testing.assert_allclose(test.images.astype(int), made.test_images, atol=tolerance)
    np.testing.assert_array_equal(test.labels, made.test_labels)
    assert (len(web.asked) > asked) == (key in torchvision_sets.APART)
    asked = len(web.asked)
    load_test(source, say=_quiet)
    assert len(web.asked) == asked


@pytest.mark.parametrize("key", torchvision_sets.APART)
def test_a_search_does_not_ask_for_test_images_that_are_files_of_their_own(
    key: str, web: Web
) -> None:
    web.serve(key)
    locate(key, say=_quiet)
    assert web.asked
    assert not [path for path in web.asked if "test" in path]


def test_of_qmnist_the_test_images_are_those_of_mnist(web: Web) -> None:
    made = web.serve("qmnist", test_count=10_003)
    test = load_test(locate("qmnist", say=_quiet), say=_quiet)
    assert len(test.labels) == 10_000 == TorchvisionSet(key="qmnist").shape("test")[0]
    np.testing.assert_array_equal(test.images[-1], made.test_images[9_999])


def test_a_set_is_brought_to_another_size(web: Web) -> None:
    web.serve("usps")
    source = locate("usps", image_size=ImageSize(28, 28), say=_quiet)
    assert source.input_shape == (1, 28, 28)
    assert load_test(source, say=_quiet).images.shape == (TEST, 1, 28, 28)


@pytest.mark.parametrize("key", FAMILIES)
@pytest.mark.parametrize("fails", ["missing", "breaks off", "other bytes"])
def test_what_cannot_be_fetched_is_one_line_and_the_next_try_is_a_fresh_one(
    key: str, fails: str, web: Web, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    web.serve(key)
    web.fails = fails
    with pytest.raises(UserError, match=rf"^{KNOWN[key]} cannot be fetched \(.+\)") as raised:
        locate(key, say=_quiet)
    assert "\n" not in str(raised.value) and "--data" in str(raised.value)
    assert not _folders(folder)
    web.fails = ""
    assert len(load_whole(locate(key, say=_quiet)).labels) == TRAIN
    assert capfd.readouterr() == ("", "")  # torchvision shows its progress nowhere


@pytest.mark.parametrize("key", ["kmnist", "cifar10"])
def test_a_server_that_falls_silent_is_given_up(
    key: str, web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.serve(key)
    web.fails = "silent"
    monkeypatch.setattr(torchvision_sets, "SILENCE", 0.3)
    before, began = socket.getdefaulttimeout(), time.monotonic()
    with pytest.raises(UserError, match=r"cannot be fetched \(.*timed out"):
        locate(key, say=_quiet)
    assert time.monotonic() - began < 10
    assert socket.getdefaulttimeout() == before
    assert not _folders(folder)


@pytest.mark.parametrize("key", ["kmnist", "svhn", "cifar10"])
def test_what_was_damaged_since_says_what_to_delete(key: str, web: Web, folder: Path) -> None:
    web.serve(key)
    locate(key, say=_quiet)
    (place,) = _folders(folder)
    for file in place.rglob("*"):
        if file.is_file():
            os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(UserError, match=rf"{KNOWN[key]} in {re.escape(str(place))} cannot") as it:
        locate(key, say=_quiet)
    assert f"Delete {place}" in it.value.hint and "download=True" not in str(it.value)
    shutil.rmtree(place)  # as it is told
    assert len(load_whole(locate(key, say=_quiet)).labels) == TRAIN


def test_another_process_may_be_first(
    web: Web, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = web.serve("usps")
    replace = os.replace

    def late(here: Path, there: Path) -> None:
        if Path(there).parent == folder:
            shutil.copytree(here, there)
        replace(here, there)

    monkeypatch.setattr("search.data.formats.torchvision_sets.os.replace", late)
    found = TorchvisionSet(key="usps").read("train", (1, 16, 16), _quiet)
    np.testing.assert_array_equal(found.labels, made.labels)
    assert len(_folders(folder)) == 1  # nothing is left aside


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, web: Web) -> None:
    web.serve("usps")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"USPS cannot be fetched \("):
        locate("usps", say=_quiet)


def test_debians_package_serves_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_dataset(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(torchvision_sets, "DEBIAN", {"fashion-mnist": place})
    source = locate("fashion-mnist", say=_quiet)
    assert (source.name, source.class_names[0]) == ("Fashion-MNIST", "T-shirt/top")
    assert f"from {place}" in source.description
    assert len(load_test(source, say=_quiet).labels) == 30


def test_without_debians_files_torchvision_fetches(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "debian").mkdir()
    monkeypatch.setattr(torchvision_sets, "DEBIAN", {"fashion-mnist": tmp_path / "debian"})
    web.serve("fashion-mnist")
    assert str(tmp_path / "cache") in locate("fashion-mnist", say=_quiet).description


@pytest.mark.parametrize("key", torchvision_sets.SIZES)
def test_a_set_can_be_sent_to_a_worker_and_has_a_test_part(key: str) -> None:
    origin = TorchvisionSet(key=key)
    assert pickle.loads(pickle.dumps(origin)) == origin
    assert origin.has("train") and origin.has("test") and not origin.has("val")


def test_every_known_name_has_its_size() -> None:
    assert {"mnist", *torchvision_sets.SIZES} == set(KNOWN)
