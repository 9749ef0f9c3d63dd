"""Decodes image files of any kind to bytes: upright, eight bits deep, black where transparent."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.common.errors import UserError
from search.data.origin import Bytes
from search.data.problem import ImageSize

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = frozenset(
    [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"]
)  # in small letters
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")  # by contents; no other decoder is run
MOVING = ("PNG", "GIF", "TIFF", "WEBP")  # what may hold several images; a photo's preview is none
REPLACE = "Replace this file, or move it away"
DEEPEST = 65_535  # of 16 bits


def is_picture(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    return Path(name).suffix.lower() in EXTENSIONS


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Pillow from printing its warnings about odd metadata and many pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(file: Path, size: ImageSize | None) -> Bytes:
    """An image's pixels, ``[H, W]`` of a kind without colour, else ``[H, W, 3]``.

    Args:
        file: Of any kind in `FORMATS`.
        size: What the image is scaled to; None leaves it as it is.

    Raises:
        UserError: It cannot be read, is damaged, moves or has pixels that mean nothing to us.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.format in MOVING and getattr(image, "is_animated", False):
                raise UserError(f"{file} holds several images, as a film does", REPLACE)
            with _hushed() if image.format == "TIFF" else nullcontext():
                image.load()
            ImageOps.exif_transpose(image, in_place=True)
            plain = _plain(image, file)
            if size is not None and plain.size != (size.width, size.height):
                plain = plain.resize((size.width, size.height), Image.Resampling.BILINEAR)
            return np.asarray(plain)
    except (UserError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{file} has more pixels than are safe to decode ({error})",
            "Scale this file down, or move it away",
        ) from None
    except UnidentifiedImageError:
        kinds = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise UserError(f"{file} is damaged, or not one of {kinds}", REPLACE) from None
    except Exception as error:  # a damaged file can make Pillow's decoders raise anything
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            raise UserError(
                f"{file} cannot be read ({error.strerror})", "Make this file readable"
            ) from None
        raise UserError(f"{file} is damaged ({error or type(error).__name__})", REPLACE) from error


@contextmanager
def _hushed() -> Iterator[None]:
    """Keeps libtiff from writing to standard error what the exception says anyway."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _plain(image: Image, file: Path) -> Image:
    """The image in mode L or RGB."""
    from PIL import Image

    if image.mode == "F":
        raise UserError(f"{file} has pixels of floating point", "Save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(image, file))
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        clear = image.convert("LA" if grey else "RGBA")
        ground = Image.new("L" if grey else "RGB", clear.size)
        ground.paste(clear, mask=clear.getchannel("A"))
        return ground
    wanted = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == wanted else image.convert(wanted)


def _eight_bits(image: Image, file: Path) -> Bytes:
    """Of grey values of 16 bits, which may be kept in 32."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > DEEPEST:
        raise UserError(
            f"{file} has grey values from {values.min():,} to {values.max():,}",
            f"Save it with 8 bits, or 16: 0 to {DEEPEST:,}",
        )
    clear = image.info.get("transparency")  # the value that stands for a transparent pixel
    if isinstance(clear, int):
        values[values == clear] = 0
    return ((values + 128) // 257).astype(np.uint8)


def without_colour(pixels: Bytes) -> bool:
    """Whether red, green and blue are equal everywhere."""
    if pixels.ndim == 2:
        return True
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return bool((red == green).all() and (green == blue).all())


def upright_size(file: Path) -> ImageSize:
    """An image's size from its header, as `decode` gives it; for messages.

    Raises:
        UserError: If it cannot be told.
    """
    from PIL import ExifTags, Image

    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            # a TIFF's size is given upright; a PNG is decoded to be asked, so only if it says so
            turned = image.format != "TIFF" and "exif" in image.info
            if turned and image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8):
                width, height = height, width
    except Exception:  # damaged somehow: whoever decodes it says how
        return ImageSize(*decode(file, None).shape[:2])
    return ImageSize(height, width)
