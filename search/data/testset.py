"""The test file: opened here and nowhere else, by the command that tests finalists once.

No module that `objective.py` or a worker needs imports this one; a search runs without test files.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from search.common.errors import UserError
from search.common.output import complain
from search.data import cache, idx, mnist
from search.data.dataset import DataSource, Split
from search.data.problem import MNIST
from search.data.sources import refuse_damage, restore_mnist

TEST_SHA256 = {name: mnist.SHA256[name] for name in ("test_images", "test_labels")}


def load_test(source: DataSource, *, say: Callable[[str], None] = complain) -> Split:
    """The test images that belong to `source`, verified. Call it before the training, not after.

    Args:
        source: From `sources.locate`. MNIST's damaged or missing test files in the cache are
            fetched anew; an IDX directory's are decoded from there.
        say: Told, a line each, what takes time or was mended.

    Raises:
        UserError: There are no test files, they are damaged, or cannot be fetched.
    """
    arrays = _from_cache(source, say) if source.idx_folder is None else _from_directory(source)
    labels = arrays["test_labels"].astype(np.int64)
    for array in (arrays["test_images"], labels):
        array.setflags(write=False)
    return Split(images=arrays["test_images"], labels=labels)


def require_test(source: DataSource) -> None:
    """Refuse an IDX directory without test files, by its files' names: nothing is opened.

    Raises:
        UserError: There are none.
    """
    if source.idx_folder is not None and "test_images" not in idx.find(source.idx_folder):
        raise UserError(
            f"the data directory {source.idx_folder} has no test files",
            "Put t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz) there",
        )


def _from_cache(source: DataSource, say: Callable[[str], None]) -> dict[str, mnist.Array]:
    try:
        return cache.load(source.folder, TEST_SHA256)
    except cache.Damaged:
        return restore_mnist(TEST_SHA256, say)[0]


def _from_directory(source: DataSource) -> dict[str, mnist.Array]:
    assert source.idx_folder is not None
    require_test(source)
    files = idx.find(source.idx_folder)
    images, labels = idx.read_pair(files["test_images"], files["test_labels"], fewest=1)
    arrays = {"test_images": images, "test_labels": labels}
    if labels.max() >= source.classes:
        at = int(np.argmax(labels >= source.classes))
        raise UserError(
            f"{files['test_labels']} has the label {labels[at]} at {at:,}, but the training labels "
            f"go from 0 to {source.classes - 1}",
            "Name a directory whose training and test files belong together",
        )
    wrong = mnist.differing(mnist.digests(arrays))
    if wrong:
        refuse_damage(files, arrays)
    if wrong and source.name == MNIST:
        raise UserError(
            f"{files[wrong[0]]} is not MNIST's test file, but its training files are MNIST's",
            "Copy or download this file again",
        )
    return arrays
