"""Images brought to another size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.data.dataset import load_whole
from search.data.formats.scaled import scaled
from search.data.problem import ImageSize, problem_of
from search.data.sources import locate
from search.data.testset import load_test
from tests.helpers.data.idx_files import write_dataset


@pytest.mark.parametrize("size", [ImageSize(14, 14), ImageSize(10, 40), ImageSize(56, 56)])
def test_every_pixel_of_the_original_counts(size: ImageSize) -> None:
    """A bright half stays bright, a dark one dark, and the mean stays the same."""
    images = np.zeros((2, 3, 28, 28), dtype=np.uint8)
    images[0, :, 14:], images[1, 1] = 200, 90
    found = scaled(images, size)
    assert found.shape == (2, 3, *size)
    half = size.height // 2
    assert (found[0, :, : half - 1] == 0).all() and (found[0, :, half + 1 :] == 200).all()
    assert (found[1, 1] == 90).all() and (found[1, [0, 2]] == 0).all()


def test_a_set_at_another_size_says_so_and_its_test_images_are_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    data = write_dataset(tmp_path / "things")
    whole, small = (
        locate(data, image_size=size, say=lambda line: None) for size in (None, ImageSize(7, 9))
    )
    assert (whole.name, small.name) == ("things", "things at 7×9")
    assert small.fingerprint != whole.fingerprint
    assert problem_of(small).input_shape == (1, 7, 9)
    assert load_whole(small).images.shape == (120, 1, 7, 9)
    assert load_test(small).images.shape == (30, 1, 7, 9)
