"""Which device a search runs on, with how many workers and in which precision."""

from __future__ import annotations

import os
import platform
import re

from search.common.errors import UserError
from search.common.text import counted

# Tiny networks leave most of a GPU idle between their small kernels; a few processes on one
# device fill it. Not measured: this project has not run on a GPU yet.
WORKERS_PER_GPU = 3
SEEDS_PER_STACK = 10  # of a finalist on a GPU; not measured either
SEEDS_PER_RACE = 4  # of a candidate that a search trains again on a GPU


def resolve_device(name: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:N`` from these or ``auto``, checked to be there.

    Raises:
        UserError: If there is no such device.
    """
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if not re.fullmatch("cuda(:[0-9]{1,9})?", name):
        raise UserError(f"{name!r} is not a device", "Use --device auto, cpu, cuda or cuda:N")
    if int(name.partition(":")[2] or 0) >= count:
        raise UserError(
            f"the device {name} is not there: PyTorch sees {counted(count, 'CUDA device')}",
            "Use --device cpu",
        )
    return name


def device_of_worker(device: str, index: int) -> str:
    """The device of the worker of an index: plain ``cuda`` spreads workers over all devices."""
    if device != "cuda":
        return device
    import torch

    return f"cuda:{index % torch.cuda.device_count()}"


def device_kind(name: str) -> str:
    """What a device is: a GPU's name, or a CPU's kind."""
    if name == "cpu":
        return platform.machine()
    import torch

    return str(torch.cuda.get_device_name(torch.device(name)))


def default_workers(device: str) -> int:
    """One worker per core of a CPU that this process may use, a few per GPU."""
    if device == "cpu":
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if device != "cuda":
        return WORKERS_PER_GPU
    import torch

    return WORKERS_PER_GPU * torch.cuda.device_count()


def default_stack(device: str, seeds: int = SEEDS_PER_STACK) -> int:
    """How many of so many seeds of a network are trained as one.

    On a CPU compiled kernels are several times faster, and without these it hardly pays: 1.0 to
    1.2 times at batches of 128 (docs/log/gpu.md).
    """
    return 1 if device == "cpu" else seeds


def use_bfloat16(precision: str, device: str) -> bool:
    """Whether to train in bfloat16; ``auto`` does where the hardware computes in it."""
    if precision != "auto":
        return precision == "bfloat16"
    import torch

    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))
