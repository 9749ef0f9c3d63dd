"""Faster small networks on a CPU: convolutions and what is between them by compiled passes.

``available()`` says whether this machine has what it takes, ``warm_up()`` compiles, and
``FusedNetwork(model)`` computes what a plain network computes.
"""

from search.engine.fused.network import FusedNetwork
from search.engine.fused.passes import available, warm_up

__all__ = ["FusedNetwork", "available", "warm_up"]
