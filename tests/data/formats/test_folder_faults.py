"""What can be wrong with folders of images: one line names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.data.testset import load_test, require_test
from tests.helpers.data.folder_sets import (
    fill,
    find,
    grey,
    parted,
    refusal,
    save,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def _empty(directory: Path) -> None:
    (directory / "train" / "emu").mkdir()


def _nested(directory: Path) -> None:
    save(directory / "train" / "cat" / "more" / "a.png", grey(0))


def _text(directory: Path) -> None:
    (directory / "train" / "cat" / "notes.txt").write_text("")


def _loose(directory: Path) -> None:
    save(directory / "train" / "loose.png", grey(0))


def _damaged(directory: Path) -> None:
    file = directory / "train" / "cat" / "007.png"
    file.write_bytes(file.read_bytes()[:60])


def _no_image(directory: Path) -> None:
    (directory / "train" / "cat" / "007.png").write_text("<html>")


def _film(directory: Path) -> None:
    frames = [Image.fromarray(grey(n)) for n in range(3)]
    frames[0].save(directory / "train" / "cat" / "007.gif", save_all=True, append_images=frames[1:])


def _pages(directory: Path) -> None:
    frames = [Image.fromarray(grey(n)) for n in range(3)]
    frames[0].save(directory / "train" / "cat" / "007.tif", save_all=True, append_images=frames[1:])


def _floats(directory: Path) -> None:
    save(directory / "train" / "cat" / "007.tif", grey(0).astype(np.float32))


def _deep(directory: Path) -> None:
    save(directory / "train" / "cat" / "007.tif", grey(0).astype(np.int32) * 1000)


def _one_class(directory: Path) -> None:
    for file in (directory / "train" / "cat").iterdir():
        file.unlink()
    (directory / "train" / "cat").rmdir()


def _gone(directory: Path) -> None:
    (directory / "train" / "cat" / "007.png").unlink()
    (directory / "train" / "cat" / "007.png").symlink_to("nowhere")


def _pipe(directory: Path) -> None:
    os.mkfifo(directory / "train" / "cat" / "z.png")


def _no_utf8(directory: Path) -> None:
    fill(directory / "train", {os.fsdecode(b"e\xffu"): 1})


def _two_validations(directory: Path) -> None:
    for name in ("val", "valid"):
        fill(directory / name, {"cat": 1})


def _strange_validation(directory: Path) -> None:
    fill(directory / "val", {"cat": 1, "emu": 1})


@pytest.mark.parametrize(
    "spoil, place, what",
    [
        (_empty, "train/emu", "is empty"),
        (_nested, "train/cat", "holds 1 folder (more)"),
        (_text, "train/cat", "holds 1 file (notes.txt) that no image's name ends as"),
        (_loose, "train", "holds 1 image (loose.png) beside the class folders"),
        (_damaged, "train/cat/007.png", "is damaged"),
        (_no_image, "train/cat/007.png", "is damaged, or not one of PNG"),
        (_film, "train/cat/007.gif", "holds several images"),
        (_pages, "train/cat/007.tif", "holds several images"),
        (_floats, "train/cat/007.tif", "has pixels of floating point"),
        (_deep, "train/cat/007.tif", "has grey values from"),
        (_one_class, "train", "holds only one class folder, dog"),
        (_gone, "train/cat/007.png", "cannot be read (No such file or directory)"),
        (_pipe, "train/cat/z.png", "is neither a file nor a folder"),
        (_no_utf8, "train/e\\xffu", "is not UTF-8"),
        (_two_validations, "", "holds val and valid, which both stand for val"),
        (_strange_validation, "val", "holds 1 class folder (emu) that no training image"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    place: str,
    what: str,
) -> None:
    directory = parted(tmp_path)
    spoil(directory)
    assert f"{directory / place} {what}" in refusal(lambda: find(directory))
    assert capfd.readouterr() == ("", "")


def test_what_is_wrong_with_the_test_is_found_by_the_test(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    fill(directory / "test", {"emu": 1})
    source = find(directory)
    what = refusal(lambda: load_test(source))
    assert f"{directory / 'test'} holds 1 class folder (emu) that no training image" in what


def test_uneven_sizes_are_named_with_what_to_do(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    save(directory / "train" / "dog" / "016.png", grey(1, 9, 7))
    what = refusal(lambda: find(directory))
    assert "59 of 60 are 8×8, as cat/000.png, but dog/016.png is 9×7" in what
    assert "--image-size 8 " in what
    save(directory / "train" / "dog" / "016.png", grey(46))
    save(directory / "test" / "dog" / "001.png", grey(1, 9, 7))
    source = find(directory)
    what = refusal(lambda: load_test(source))
    assert "dog/001.png is 9×7" in what and "--image-size 8 " in what


def test_a_photo_that_lies_is_named_with_its_upright_size(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(directory / "train" / "dog" / "016.jpg", grey(1, 9, 7), exif=exif)
    assert "but dog/016.jpg is 7×9" in refusal(lambda: find(directory))


def test_a_test_of_another_size_is_named(tmp_path: Path) -> None:
    directory = fill(tmp_path / "set" / "train", {"a": 40, "b": 40}).parent
    fill(directory / "test", {"a": 2, "b": 2}, lambda seed: grey(seed, 9, 9))
    source = find(directory)
    what = refusal(lambda: load_test(source))
    assert "a/000.png is 9×9, but the training images are 8×8 grey" in what
    assert "--image-size 8" in what


def test_a_set_without_a_test_folder_says_which(tmp_path: Path) -> None:
    directory = fill(tmp_path / "set" / "train", {"a": 40, "b": 40}).parent
    source = find(directory)
    assert f"{directory} has no folder test" in refusal(lambda: require_test(source))
    save(directory / "test" / "unlabelled.png", grey(0))
    what = refusal(lambda: require_test(source))
    assert f"{directory / 'test'} holds no class folders" in what and "test/CLASS" in what


def test_folders_of_loose_images_are_not_taken_for_classes(tmp_path: Path) -> None:
    directory = fill(tmp_path / "set", {"train": 60, "test": 20})
    assert f"{directory / 'train'} holds no class folders" in refusal(lambda: find(directory))
    loose = fill(tmp_path, {"loose": 3}) / "loose"
    assert f"{loose} holds no class folders" in refusal(lambda: find(loose))
    vehicles = find(fill(tmp_path / "vehicles", {"car": 50, "train": 40}))
    assert vehicles.class_names == ("car", "train")


def test_a_directory_without_images_holds_no_data(tmp_path: Path) -> None:
    (tmp_path / "set" / "train" / "a").mkdir(parents=True)
    (tmp_path / "set" / "train" / "a" / "x.txt").write_text("")
    assert "holds no data" in refusal(lambda: find(tmp_path / "set"))


def test_a_class_that_the_test_would_use_up_is_refused(tmp_path: Path) -> None:
    directory = fill(tmp_path / "set", {f"{n:02}": 1 for n in range(30)} | {"many": 60})
    assert "has too few images" in refusal(lambda: find(directory))
