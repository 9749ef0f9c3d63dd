"""Faster small networks on a CPU: convolutions and what is between them by compiled kernels.

``available()`` says whether this machine has what it takes, ``warm_up()`` compiles, and
``FusedNetwork(model)`` computes what a plain network computes.
"""

from search.training.kernels.loading import available, warm_up
from search.training.kernels.network import FusedNetwork

__all__ = ["FusedNetwork", "available", "warm_up"]
