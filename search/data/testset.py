"""The test images: opened here and nowhere else, by the command that tests finalists once.

No module that `objective.py` or a worker needs imports this one; a search runs without test images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from search.common.errors import UserError
from search.common.output import complain
from search.data import memory
from search.data.dataset import DataSource, Split
from search.data.formats import mnist_bytes
from search.data.names import MNIST
from search.data.origin import require_like
from search.data.splits import some


def load_test(source: DataSource, *, say: Callable[[str], None] = complain) -> Split:
    """The test images that belong to `source`, verified. Call it before the training, not after.

    Args:
        source: From `sources.locate`. MNIST's damaged or missing test files in the cache are
            fetched anew; those of other data are decoded from where they lie.
        say: Told, a line each, what takes time or was mended.

    Raises:
        UserError: There are no test images, they are damaged, do not fit, or cannot be fetched.
    """
    require_test(source)
    assert source.origin is not None
    count, shape = source.origin.shape("test")
    held = count * (math.prod(shape) + 8)
    memory.require(held, 1, f"the {count:,} test images of {source.name}")
    found = source.origin.read("test", source.input_shape, say)
    images = require_like(found.images, source.input_shape, f"the test part of {source.name}")
    if not len(images):
        raise UserError(f"{found.where} has no test image", "Put test images there")
    if found.labels.max() >= source.classes:
        at = int(np.argmax(found.labels >= source.classes))
        raise UserError(
            f"{found.where} has the label {found.labels[at]} at {at:,}, but the training labels "
            f"go from 0 to {source.classes - 1}",
            "Name data whose training and test images belong together",
        )
    mnist_bytes.require_sound_test(found, of_mnist=source.name == MNIST)
    absent = sorted(set(range(source.classes)) - set(found.labels.tolist()))
    if absent:
        say(
            f"no test image is of class {some(source.class_names, absent)}: no test accuracy "
            "covers it"
        )
    images = np.ascontiguousarray(images)
    for array in (images, found.labels):
        array.setflags(write=False)
    return Split(images=images, labels=found.labels)


def require_test(source: DataSource) -> None:
    """Refuse data without test images, by the files' names: nothing is opened.

    Raises:
        UserError: There are none.
    """
    assert source.origin is not None
    if not source.origin.has("test"):
        raise source.origin.missing_test()
