"""Image files of every kind and mode: what they are decoded to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search.data.formats.folders import FolderSet
from search.data.problem import ImageSize
from search.data.testset import load_test
from tests.helpers.data.folder_sets import (
    Pixels,
    colour,
    find,
    grey,
    parted,
    refusal,
    save,
    trained_on,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def first(directory: Path, pixels: Any, name: str = "a.png", **how: Any) -> Pixels:
    """What an image among many 8×8 ones is decoded to, in a set of three channels."""
    save(directory / "train" / "cat" / name, pixels, **how)
    origin = FolderSet(directory=directory, size=ImageSize(8, 8))
    at = [file.name for file in origin.files()].index(name)
    images: Pixels = origin.read("train", (3, 8, 8), lambda line: None).images
    return np.array(images[at])


@pytest.mark.parametrize("ending", ["png", "JPG", "jpeg", "bmp", "gif", "tif", "TIFF", "webp"])
def test_every_kind_of_file_is_read(tmp_path: Path, ending: str) -> None:
    def plain(seed: int) -> Pixels:  # one colour, which even JPEG keeps
        return np.full((8, 8, 3), (seed * 3 % 200, seed % 60, 90 - seed % 7), dtype=np.uint8)

    source = find(parted(tmp_path, plain, ending=ending))
    assert source.input_shape == (3, 8, 8)
    for image, seed in zip(load_test(source).images, range(900, 908), strict=True):
        assert abs(image[:, 4, 4].astype(int) - plain(seed)[0, 0]).max() <= 4


def test_the_contents_tell_the_kind_not_the_ending(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    save(directory / "train" / "cat" / "000.png", grey(0), format="BMP")
    assert trained_on(find(directory))[grey(0).tobytes(), "cat"] == 1


def as_rgb(seed: int) -> Image.Image:
    return Image.fromarray(grey(seed)).convert("RGB")


def as_palette(seed: int) -> Image.Image:
    image = Image.fromarray(grey(seed))
    image.putpalette([value for value in range(256) for _ in range(3)])
    assert image.mode == "P"
    return image


def as_opaque(seed: int) -> Image.Image:
    return Image.fromarray(grey(seed)).convert("LA")


def as_sixteen_bits(seed: int) -> Pixels:
    return grey(seed).astype(np.uint16) * 257  # type: ignore[return-value]


@pytest.mark.parametrize("make", [grey, as_rgb, as_palette, as_opaque, as_sixteen_bits])
def test_images_without_a_colour_are_grey_however_they_are_kept(
    tmp_path: Path, make: Callable[[int], Any]
) -> None:
    source = find(parted(tmp_path, make))
    assert source.input_shape == (1, 8, 8)
    assert {image for image, _ in trained_on(source)} == {grey(s).tobytes() for s in range(60)}
    np.testing.assert_array_equal(load_test(source).images[0, 0], grey(900))


def test_one_coloured_training_image_makes_three_channels_of_all(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    save(directory / "train" / "dog" / "016.png", colour(46))  # none of those that are sampled
    assert FolderSet(directory=directory, size=None).shape("train") == (60, (1, 8, 8))
    source = find(directory)
    assert source.input_shape == (3, 8, 8)
    wanted = {np.stack([grey(s)] * 3).tobytes() for s in range(60) if s != 46}
    assert {i for i, _ in trained_on(source)} == wanted | {colour(46).transpose(2, 0, 1).tobytes()}
    np.testing.assert_array_equal(load_test(source).images[0], np.stack([grey(900)] * 3))


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_single_pixel_of_colour_is_seen(tmp_path: Path, channel: int) -> None:
    directory = parted(tmp_path)
    pixels = np.stack([grey(46)] * 3, axis=-1)
    pixels[7, 7, channel] ^= 1
    save(directory / "train" / "dog" / "016.png", pixels)
    assert find(directory).input_shape == (3, 8, 8)


def test_a_coloured_test_image_of_a_grey_set_is_refused(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    save(directory / "test" / "dog" / "001.png", colour(1))
    source = find(directory)
    what = refusal(lambda: load_test(source))
    assert f"{directory / 'test' / 'dog' / '001.png'} has colours, but all training" in what


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    directory = parted(tmp_path, colour)
    pixels = np.full((8, 8, 4), (200, 100, 50, 255), dtype=np.uint8)
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 128
    made = first(directory, pixels)
    assert made[:, 0, 0].tolist() == [0, 0, 0]
    assert made[:, 0, 1].tolist() == [100, 50, 25]
    assert made[:, 7, 7].tolist() == [200, 100, 50]
    faint = np.full((8, 8, 2), (200, 51), dtype=np.uint8)
    assert (first(directory, Image.fromarray(faint, "LA")) == 40).all()
    palette = Image.fromarray(np.eye(8, dtype=np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    made = first(directory, palette, transparency=1)
    assert made[:, 0, 0].tolist() == [0, 0, 0] and made[:, 0, 1].tolist() == [10, 20, 30]
    made = first(directory, np.full((8, 8), 77, dtype=np.uint8), transparency=77)
    assert not made.any()


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path) -> None:
    directory = parted(tmp_path, colour)
    values = np.zeros((8, 8), dtype=np.uint16)
    values[0, :4] = 128, 129, 65535, 257 * 100 + 128
    assert first(directory, values)[2, 0, :4].tolist() == [0, 1, 255, 100]
    clear = first(directory, values, "clear.png", transparency=65535)
    assert clear[2, 0, :4].tolist() == [0, 1, 0, 100]
    wide = Image.fromarray(values.astype(np.int32))
    assert first(directory, wide, "b.tif")[2, 0, :4].tolist() == [0, 1, 255, 100]


@pytest.mark.parametrize("mode", ["1", "CMYK", "YCbCr"])
def test_other_modes_are_read(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (8, 8), (255, 255, 255)).convert(mode)
    directory = parted(tmp_path, colour)
    assert first(directory, image, "a.tif").min() >= 254


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    directory = parted(tmp_path, lambda seed: colour(seed, 8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    lying = np.zeros((6, 8, 3), dtype=np.uint8)
    lying[:, 0] = 255
    for name in ("lying.png", "lying.jpg", "lying.tif"):
        save(directory / "train" / "dog" / name, lying, exif=exif)
    source = find(directory)
    assert source.input_shape == (3, 8, 6)
    upright = [i for i, _ in trained_on(source) if (_image(i, (3, 8, 6))[:, 0] > 200).all()]
    assert len(set(upright)) >= 1
    assert all((_image(i, (3, 8, 6))[:, 2:] < 60).all() for i in upright)
    assert sum(trained_on(source)[i, "dog"] for i in set(upright)) == 3


def _image(content: bytes, shape: tuple[int, ...]) -> Pixels:
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def test_decoding_prints_nothing(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # 8×8 is then warned of
    load_test(find(parted(tmp_path)))
    assert not recwarn.list
    save(tmp_path / "set" / "train" / "cat" / "007.tif", colour(0), compression="tiff_deflate")
    file = tmp_path / "set" / "train" / "cat" / "007.tif"
    content = bytearray(file.read_bytes())
    at = content.index(b"\x78\x9c") + 60  # of the compressed pixels
    content[at : at + 40] = bytes(40)
    file.write_bytes(content)
    assert "007.tif is damaged" in refusal(lambda: find(tmp_path / "set"))
    assert capfd.readouterr() == ("", "")


def test_an_image_of_too_many_pixels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = parted(tmp_path)
    save(directory / "train" / "cat" / "007.png", grey(0, 40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    what = refusal(lambda: find(directory, 8))
    assert "train/cat/007.png has more pixels than are safe to decode" in what
