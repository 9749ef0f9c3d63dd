"""What a search's images are, without a pixel of them; what belongs to MNIST alone is asked here.

The exercise that this tool grew from has a target, public systems with claims, and digits that may
be deskewed. None of that holds for other images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from search.data.names import HANDWRITING, base
from search.data.names import MNIST as MNIST

if TYPE_CHECKING:
    from search.data.dataset import DataSource

MNIST_TARGET = 0.994  # the accuracy of the exercise
CLASSES = 10  # of data whose number of classes was not recorded: older studies had no other
OLD_SHAPE = (1, 28, 28)  # likewise
MOST_NAMES = 100  # classes whose names are recorded; of more the number alone


class ImageSize(NamedTuple):
    """An image's pixels, as ``--image-size`` has them: ``32``, or ``48x64``: height by width."""

    height: int
    width: int

    def __str__(self) -> str:
        """As it is written on a command line."""
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


def numbered(classes: int) -> tuple[str, ...]:
    """The names of classes that have none: their numbers from 0."""
    return tuple(map(str, range(classes)))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The images of a search and the accuracy that is wanted on them."""

    name: str  # of the data set; empty where it is not recorded
    input_shape: tuple[int, int, int] = OLD_SHAPE  # channels, height, width
    class_names: tuple[str, ...] = numbered(CLASSES)  # in the order of the labels
    mean: tuple[float, ...] = (0.1307,)  # of pixels scaled to [0, 1], by channel; (): not recorded
    std: tuple[float, ...] = (0.3081,)  # likewise
    train_images: int = 0  # 0: not recorded
    validation_images: int = 0  # likewise
    test_images: int | None = None  # None: nobody has looked
    fingerprint: str = ""  # of training and validation images with their labels
    target: float | None = None  # accuracy in [0, 1]; None where nobody has asked for one

    @property
    def classes(self) -> int:
        """How many there are; labels go from 0 to one less."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.input_shape[0]

    @property
    def image_size(self) -> ImageSize:
        """Height and width in pixels."""
        return ImageSize(*self.input_shape[1:])

    @property
    def pixels(self) -> str:
        """What an image consists of: ``28×28 grey``."""
        return pixels_in_words(self.input_shape)

    @property
    def is_mnist(self) -> bool:
        """Whether these are MNIST's own images: the public systems' claims are about them."""
        return self.name == MNIST

    @property
    def handwriting(self) -> bool:
        """Whether a figure means the same upright and slanted, so that it may be deskewed."""
        return base(self.name) in HANDWRITING

    @property
    def looks(self) -> str:
        """What an image shows, for a card; empty where that is not known."""
        return "one centred, upright, bright figure on a dark ground" if self.is_mnist else ""


def pixels_in_words(input_shape: tuple[int, int, int]) -> str:
    """``28×28 grey`` or ``32×32 colour`` for channels, height and width."""
    channels, height, width = input_shape
    return f"{height}×{width} {'grey' if channels == 1 else 'colour'}"


MNIST_PROBLEM = Problem(
    name=MNIST,
    train_images=50_000,
    validation_images=10_000,
    test_images=10_000,
    fingerprint="edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    target=MNIST_TARGET,
)


def problem_of(source: DataSource, target: float | None = None) -> Problem:
    """The problem that located data pose.

    Args:
        source: The data.
        target: The accuracy that the user asked for, in [0, 1]; without one MNIST has its own.
    """
    if target is None and source.name == MNIST:
        target = MNIST_TARGET
    return Problem(
        name=source.name,
        input_shape=source.input_shape,
        class_names=source.class_names,
        mean=source.mean,
        std=source.std,
        train_images=source.train_images,
        validation_images=source.validation_images,
        fingerprint=source.fingerprint,
        target=target,
    )


def describe_dataset(source: DataSource, train_images: int) -> dict[str, object]:
    """What a study records of its images, as JSON values; ``recorded_problem`` reads it.

    Args:
        source: The data.
        train_images: So many of them are trained on.
    """
    few = source.classes <= MOST_NAMES
    return {
        "name": source.name,
        "fingerprint": source.fingerprint,
        "classes": source.classes,
        "train_images": train_images,
        "validation_images": source.validation_images,
        "input_shape": list(source.input_shape),
        "split": source.split,
        "mean": list(source.mean),
        "std": list(source.std),
        **({"class_names": list(source.class_names)} if few else {}),
        **({"class_images": list(source.class_images)} if few and source.uneven else {}),
    }


def recorded_problem(settings: object) -> Problem:
    """The problem in a study's recorded settings; what is missing there is not made up.

    A study of other data than MNIST that does not record its number of classes is an older one:
    its target was written without anybody's asking, so it has none. Older studies could hold no
    other images than 28×28 grey ones; MNIST's mean and deviation are known by its name.
    """
    recorded = settings if isinstance(settings, Mapping) else {}
    dataset = recorded.get("dataset")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    name, target = dataset.get("name"), recorded.get("target")
    shape = tuple(_numbers(dataset.get("input_shape"), int))
    mean, std = (tuple(map(float, _numbers(dataset.get(k), float))) for k in ("mean", "std"))
    if not len(mean) == len(std) == (shape[0] if len(shape) == 3 else 1):
        mean, std = (MNIST_PROBLEM.mean, MNIST_PROBLEM.std) if name == MNIST else ((), ())
    fingerprint = dataset.get("fingerprint")
    return Problem(
        name=name if isinstance(name, str) else "",
        input_shape=(shape[0], shape[1], shape[2]) if len(shape) == 3 else OLD_SHAPE,
        class_names=_class_names(dataset),
        mean=mean,
        std=std,
        train_images=_count(dataset.get("train_images")),
        validation_images=_count(dataset.get("validation_images")),
        fingerprint=fingerprint if isinstance(fingerprint, str) else "",
        target=_share(target) if name == MNIST or "classes" in dataset else None,
    )


def _class_names(dataset: Mapping[str, object]) -> tuple[str, ...]:
    names, classes = dataset.get("class_names"), dataset.get("classes")
    if isinstance(names, list) and len(names) > 1 and all(isinstance(n, str) for n in names):
        return tuple(names)
    return numbered(classes if type(classes) is int and 1 < classes <= 1 << 16 else CLASSES)


def _numbers(value: object, kind: type[int] | type[float]) -> list[int]:
    """The values of a list of positive numbers, or of none where anything else is in it."""
    wanted = (int,) if kind is int else (int, float)
    values = value if isinstance(value, list) else []
    return values if all(type(v) in wanted and 0 <= v < 1 << 20 for v in values) else []


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0


def _share(value: object) -> float | None:
    """A number above 0 and up to 1, or None for anything else (a NaN or a bool included)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= 1 else None
