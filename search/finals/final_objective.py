"""How a finalist is judged: trained on all training images, tested once after its last epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.data.dataset import load_whole
from search.data.testset import load_test
from search.finals.retraining import Retraining

if TYPE_CHECKING:
    from search.data.images import Images


class FinalObjective(Retraining):
    """Trains on all training images, the search's validation images among them, and tests."""

    judged_on = "test"

    def load(self) -> tuple[Images, Images]:
        """All training images, and the test images."""
        from search.data.images import split_on_device

        source, device = self.settings.source, self.settings.device
        whole, test = load_whole(source), load_test(source)
        return split_on_device(whole, source, device), split_on_device(test, source, device)
