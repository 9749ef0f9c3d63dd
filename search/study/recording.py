"""What a trial records beside its reports: its candidate, where it was trained, how it went."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import optuna

from search.architecture.candidate import LayeredCandidate
from search.architecture.limits import demands, excesses
from search.study import attributes

if TYPE_CHECKING:
    from search.architecture.limits import Limits
    from search.candidates.candidate import AnyCandidate
    from search.candidates.costs import Costs
    from search.study.settings import Settings
    from search.training.arithmetic import Arithmetic
    from search.training.epoch import Epoch
    from search.training.recipe import Recipe


def record_candidate(
    trial: optuna.Trial, candidate: AnyCandidate, text: str, costs: Costs, limits: Limits
) -> None:
    """Record what a candidate is and costs, and whether that is over a limit.

    The constraints tell the sampler how far over; pruning alone would not, and a search could lock
    into a region where everything is too large.

    Args:
        trial: Drew it.
        candidate: What was drawn.
        text: The same as JSON, as the space wrote it.
        costs: Of its network.
        limits: Of the search.
    """
    for name, over in excesses(limits, costs).items():
        trial.set_constraint(name, over)
    reasons = [
        f"{kind.words(count)} > {limit:,}"
        for kind, limit, count in demands(limits, costs)
        if count is not None and count > limit
    ]
    attributes.ARCHITECTURE.set(trial, candidate.name)
    attributes.PARAMETERS.set(trial, costs.parameters)
    attributes.MACS.set(trial, costs.macs)
    attributes.PEAK_BYTES.set(trial, costs.peak_activation_bytes)
    attributes.FLASH_BYTES.set(trial, costs.flash_bytes)
    if not isinstance(candidate, LayeredCandidate):  # whose text alone tells all of this
        attributes.LAYERS.set(trial, [list(asdict(row).values()) for row in costs.layers])
        attributes.RECIPE.set(trial, asdict(candidate.recipe))
        attributes.MODULES.set(trial, {"kinds": costs.kinds, "dropout": costs.dropout})
    attributes.CANDIDATE.set(trial, text)
    if reasons:
        attributes.REASON.set(trial, "over budget: " + ", ".join(reasons))
    attributes.OVER_BUDGET.set(trial, bool(reasons))


def record_curve(trial: optuna.Trial, curve: Sequence[Epoch], *, uneven: bool) -> None:
    """How long a trial trained, and its best epoch; its value is the last one's.

    Args:
        trial: Ends.
        curve: Its epochs, all attempts' together.
        uneven: Whether some classes have many more images than others: what is recorded is shown.
    """
    attributes.SECONDS.set(trial, round(sum(epoch.seconds for epoch in curve), 3))
    attributes.EPOCHS.set(trial, len(curve))
    if curve:
        best = max(curve, key=lambda epoch: epoch.accuracy)
        attributes.BEST_EPOCH.set(trial, best.number)
        attributes.BEST_ACCURACY.set(trial, best.accuracy)
        attributes.VALIDATION_LOSS.set(trial, curve[-1].loss)
        if uneven and not math.isnan(curve[-1].balanced_accuracy):
            attributes.BALANCED_ACCURACY.set(trial, curve[-1].balanced_accuracy)


def where_trained(settings: Settings, recipe: Recipe, *, images: int) -> dict[str, Any]:
    """Device, versions and data of a training, and what is done otherwise than its recipe asks.

    Args:
        settings: That it is trained under.
        recipe: The candidate's.
        images: So many are trained on.

    Returns:
        User attributes of a trial, by name.
    """
    adjusted = recipe.adjusted(epochs=settings.epochs, images=images)
    return {
        attributes.TRAINED_ON.name: {
            "fingerprint": settings.source.fingerprint,
            "train_images": images,
            "epochs": settings.epochs,
        },
        attributes.DEVICE.name: device_name(settings.device, settings.arithmetic),
        attributes.VERSIONS.name: versions(),
        **({attributes.ADJUSTED.name: adjusted} if adjusted else {}),
    }


def device_name(name: str, arithmetic: Arithmetic) -> str:
    """The device, its kind and the arithmetic: what figures depend on to the last bit."""
    import torch

    from search.training.hardware import device_kind
    from search.training.network import uses_fused

    device = torch.device(name)
    used = replace(arithmetic, fused=uses_fused(arithmetic, device))
    return f"{device} ({device_kind(name)}, {used})"


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
