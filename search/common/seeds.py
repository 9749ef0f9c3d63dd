"""Seeds derived from other values, the same on every machine."""

from __future__ import annotations

import hashlib
import random


def mix_seed(*parts: int | str) -> int:
    """A 63-bit seed from several values: equal parts give equal seeds, others unrelated ones."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def seed_all(seed: int) -> None:
    """Seed what a network of others may draw from: torch, Python's ``random`` and NumPy."""
    import numpy as np
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  the generator that others draw from
