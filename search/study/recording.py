"""What a trial records of its training, beside its reports."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna

from search.training.recipe import ADJUSTED

if TYPE_CHECKING:
    from search.data.dataset import DataSource
    from search.training.arithmetic import Arithmetic
    from search.training.epoch import Epoch
    from search.training.recipe import Recipe


def record_curve(trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
    """How long a trial trained, and its best epoch; its value is the last one's.

    Args:
        trial: Ends.
        curve: Its epochs, all attempts' together.
    """
    trial.set_user_attr("seconds", round(sum(epoch.seconds for epoch in curve), 3))
    trial.set_user_attr("epochs", len(curve))
    if curve:
        best = max(curve, key=lambda epoch: epoch.accuracy)
        trial.set_user_attr("best_epoch", best.number)
        trial.set_user_attr("best_accuracy", best.accuracy)
        trial.set_user_attr("validation_loss", curve[-1].loss)


def where_trained(
    source: DataSource,
    recipe: Recipe,
    *,
    images: int,
    epochs: int,
    device: str,
    arithmetic: Arithmetic,
) -> dict[str, Any]:
    """Device, versions and data of a training, and what is done otherwise than its recipe asks.

    Args:
        source: The data.
        recipe: The candidate's.
        images: So many are trained on.
        epochs: The most that are allowed.
        device: As torch names it.
        arithmetic: That is asked for.
    """
    facts: dict[str, Any] = {
        "trained_on": {
            "fingerprint": source.fingerprint,
            "train_images": images,
            "epochs": epochs,
        },
        "device": device_name(device, arithmetic),
        "versions": versions(),
    }
    adjusted = recipe.adjusted(epochs=epochs, images=images)
    return facts | ({ADJUSTED: adjusted} if adjusted else {})


def device_name(name: str, arithmetic: Arithmetic) -> str:
    """The device, its kind and the arithmetic: what figures depend on to the last bit."""
    import torch

    from search.training.network import uses_fused

    device = torch.device(name)
    used = replace(arithmetic, fused=uses_fused(arithmetic, device))
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device} ({kind}, {used})"


def versions() -> dict[str, str]:
    """The versions on which a trial's figures may depend."""
    import numpy
    import torch

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "optuna": optuna.__version__,
    }
