"""What exports for a microcontroller measured: of which trials, how good, how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.common.values import mapping, natural, positive
from search.study.attributes import MICRO
from search.study.storages.locks import study_lock
from search.study.storages.opening import open_study, readable_errors

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, kw_only=True)
class OnMicrocontroller:
    """A trial's network in int8, as TensorFlow Lite Micro ran it; None: not recorded."""

    trial: int
    images: int  # validation images
    float32_right: int | None
    right: int | None  # of the images, in int8
    same: int | None  # images that int8 classifies as torch does
    activations: int | None  # bytes of the interpreter's arena
    arena: int | None  # all of it
    c_ram: int | None  # bytes of the C program's activations; None where there is no C
    c_flash: int | None  # and of its constants
    file_bytes: int | None


FIELDS = (
    *("float32_right", "right", "same", "activations", "arena", "c_ram", "c_flash", "file_bytes"),
)


def record_measured(storage: str, name: str, trial: int, figures: Mapping[str, object]) -> None:
    """Note in a study what an export measured of one of its trials, for reports.

    Args:
        storage: The study's.
        name: The study's.
        trial: The number of the trial, of which the figures replace earlier ones.
        figures: ``images`` and ``FIELDS``.

    Raises:
        UserError: If it cannot be written.
    """
    with study_lock(storage), readable_errors(storage):
        study = open_study(storage, name)
        MICRO.set(study, {**MICRO.of(study), str(trial): dict(figures)})


def read_measured(study: optuna.Study) -> tuple[OnMicrocontroller, ...]:
    """What exports noted in a study, by trial; what is unusable is left out."""
    found = []
    for number, value in MICRO.of(study).items():
        figures = mapping(value)
        images = positive(figures.get("images"))
        if number.isdecimal() and images:
            known = {name: natural(figures.get(name)) for name in FIELDS}
            found.append(OnMicrocontroller(trial=int(number), images=images, **known))
    return tuple(sorted(found, key=lambda one: one.trial))
