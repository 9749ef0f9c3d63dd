"""What one epoch of training gave."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch's figures."""

    number: int  # from 1
    accuracy: float  # on the validation images, in [0, 1]; NaN without validation
    loss: float  # mean cross entropy on the validation images; NaN without validation
    training_loss: float  # mean over the epoch's steps, with dropout and augmentation
    seconds: float  # training and validation
    balanced_accuracy: float = math.nan  # mean over classes of their share; NaN as accuracy
