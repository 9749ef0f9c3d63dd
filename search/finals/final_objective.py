"""How a finalist is judged: trained on all training images, tested once after its last epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.data.dataset import load_training
from search.data.testset import load_test
from search.finals.retraining import Retraining

if TYPE_CHECKING:
    from search.data.images import Images


class FinalObjective(Retraining):
    """Trains on all training images, the search's validation images among them, and tests."""

    judged_on = "test"

    def load(self) -> tuple[Images, Images]:
        """All training images, and the test images."""
        import numpy as np
        import torch

        from search.data.images import on_device

        source, device = self.settings.source, torch.device(self.settings.device)
        parts = load_training(source)
        pixels = np.concatenate([part.images for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        test = load_test(source)
        return (
            on_device(pixels, labels, source.mean, source.std, device),
            on_device(test.images, test.labels, source.mean, source.std, device),
        )
