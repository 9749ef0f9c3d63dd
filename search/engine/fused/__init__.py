"""Faster training of small networks on a CPU: BatchNorm, ReLU, dropout and pooling in one go.

``available()`` says whether this machine has what it takes, ``warm_up(dtype)`` compiles, and
``FusedNetwork(model)`` computes the training-mode forward pass of a plain network.
"""

from search.engine.fused.network import FusedNetwork
from search.engine.fused.passes import available, warm_up

__all__ = ["FusedNetwork", "available", "warm_up"]
