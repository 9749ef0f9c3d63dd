"""What a search holds fixed for all of its trials, and how that is written into its study."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from search.architecture.feasibility import describe_space
from search.architecture.limits import Limits
from search.architecture.spaces import DEFAULT_SPACE, ROOT, Space, SpaceFile, read_space
from search.common.errors import UserError
from search.common.values import mapping, text, texts
from search.data.dataset import DataSource
from search.data.problem import Problem, describe_dataset, problem_of
from search.training.arithmetic import Arithmetic

SAME_AS = "same_as"  # of a space's file: digests


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a search holds fixed for all of its trials."""

    source: DataSource
    space_file: SpaceFile = field(default_factory=read_space)
    limits: Limits = Limits()
    epochs: int = 20
    seed: int = 0
    target: float | None = None  # accuracy that was asked for, in [0, 1]; None = the images' own
    train_images: int | None = None  # only the first so many; None = all
    device: str = "cpu"
    arithmetic: Arithmetic = Arithmetic()
    commit: str = "unknown"  # of this program

    @property
    def problem(self) -> Problem:
        """What the images are, and the accuracy that is wanted."""
        return problem_of(self.source, target=self.target)

    @property
    def space(self) -> Space:
        """What is drawn for these images and limits."""
        return Space(file=self.space_file, problem=self.problem, limits=self.limits)


def space_of_study(recorded: object, given: Path | None) -> SpaceFile:
    """The space of a study, for what was drawn from it.

    Args:
        recorded: The study's settings.
        given: Where the user says that its file lies now; None: where it was.

    Raises:
        UserError: If it cannot be read.
    """
    name = text(mapping(mapping(recorded).get("space_file")).get("name"))
    there = ROOT / name if name else DEFAULT_SPACE  # older studies name none
    found = read_space(given or (there if there.is_file() else DEFAULT_SPACE))
    return replace(found, same_as=same_as(recorded))


def same_as(recorded: object) -> frozenset[str]:
    """Digests of earlier texts of a study's space that make the same networks."""
    return frozenset(texts(mapping(mapping(recorded).get("space_file")).get(SAME_AS)))


def commit(root: Path = ROOT) -> str:
    """The commit of this program with ``-dirty`` for changes, or ``unknown`` outside git.

    What is kept in ``reports/`` is no part of the program: a run that goes on there changes it.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        described = git("describe", "--always", "--abbrev=12")
        changes = git("diff", "--name-only", "HEAD", "--", ".", ":(exclude)reports")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{described}-dirty" if changes else described


def code_fingerprint(root: Path = ROOT) -> str:
    """A digest of the program's files on which a trial's figures depend, beside its space."""
    files = [root / "objective.py", root / "search" / "study" / "recording.py"]
    rooms = ("common", "data", "layers", "training", "candidates", "architecture", "study/sampling")
    for room in rooms:
        files += sorted((root / "search" / room).rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def describe(settings: Settings, *, sampler: str, pruner: str) -> dict[str, Any]:
    """Everything that a study's figures depend on, as JSON values.

    Args:
        settings: Of the search.
        sampler: By its name on the command line.
        pruner: Likewise.

    Raises:
        UserError: If there are fewer training images than asked for.
    """
    most = settings.source.train_images
    if (settings.train_images or 0) > most:
        raise UserError(
            f"{settings.source.name} has {most:,} images to train on, "
            f"but --train-images asks for {settings.train_images:,}",
            "Give fewer, or leave it out to train on all",
        )
    return {
        "max_params": settings.limits.max_params,
        "max_macs": settings.limits.max_macs,
        "max_ram": settings.limits.max_ram,
        "max_flash": settings.limits.max_flash,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "sampler": sampler,
        "pruner": pruner,
        "target": settings.problem.target,
        "arithmetic": str(settings.arithmetic),
        "dataset": describe_dataset(settings.source, settings.train_images or most),
        "space_file": {"name": settings.space_file.name, "digest": settings.space_file.digest},
        "space": describe_space(settings.space),
        "code": code_fingerprint(),
    }
