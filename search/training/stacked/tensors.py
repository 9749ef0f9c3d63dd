"""The tensors of several like networks, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn
from torch.func import stack_module_state

from search.training.tensors import STATISTICS, OwnTensors


class StackedTensors(OwnTensors):
    """Each parameter and buffer of K like networks as one tensor ``[K, ...]``.

    After this the networks' own are rows of these: a step changes all networks. An optimiser works
    number by number, so one for all is as one for each.

    Args:
        models: Of one architecture.

    Raises:
        RuntimeError: If their tensors differ in more than their values.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.named_parameters, self.named_buffers = stack_module_state(list(models))
        self.parameters = list(self.named_parameters.values())
        for at, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.data = self.named_parameters[name].detach()[at]
            for name, buffer in model.named_buffers():
                buffer.data = self.named_buffers[name][at]

    def _statistics(self) -> Iterator[Tensor]:
        for name, buffer in self.named_buffers.items():
            if name.rpartition(".")[2] in STATISTICS and buffer.is_floating_point():
                yield buffer
