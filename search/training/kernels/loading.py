"""Loads the compiled kernels: once for each element type and process, from a cache on disk.

Compiling takes some ten seconds, loading what another process compiled a fraction of one. The
cache lies in the user's cache directory (``cache.cache_directory``), so the project may be
read-only, in a folder named by a digest of the sources: numba itself would not notice a change
in a function that a pass calls from another file.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from search.data.cache import cache_directory, make, shared

Kernel = Callable[..., None]  # takes addresses, integers and doubles
SOURCES = Path(__file__).with_name("compiled")  # what is compiled
LONGEST_WAIT = 300.0  # seconds for another process that compiles


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels for one element type, as plain C functions; for what they do see their source."""

    statistics: Kernel
    activate: Kernel
    mask: Kernel
    gradient_sums: Kernel
    gradient: Kernel
    channel_sums: Kernel
    pool: Kernel
    activate_and_pool: Kernel
    pooled_gradient: Kernel
    early_gradient: Kernel
    convolve: Kernel
    weight_gradient: Kernel
    alive: tuple[object, ...]  # of the machine code: it lives as long as they do


@cache
def available(*, bfloat16: bool = False) -> bool:
    """Whether numba can be imported, and the processor multiplies bfloat16 if that is wanted.

    Numba compiles float32 for every processor that it is packaged for.
    """
    try:
        import numba  # noqa: F401  # an ImportError, too, where it does not know this numpy
    except ImportError:
        return False
    if not bfloat16:
        return True
    import llvmlite.binding

    return bool(llvmlite.binding.get_host_cpu_features().get("avx512bf16"))


def warm_up(*, bfloat16: bool = False) -> None:
    """Compile, or load, what a training needs; before workers start, in their parent.

    Says once why compiled code is not kept: what numba keeps is a pickle, which runs what whoever
    wrote it wants.

    Raises:
        ImportError: Without numba.
    """
    problem = _not_ours()
    if problem is not None:
        print(
            f"{problem}: compiled kernels are not kept, and every process compiles its own; "
            "name a directory of your own by CNN_SEARCH_CACHE",
            file=sys.stderr,
            flush=True,
        )
    load(torch.float32)  # evaluation is in float32 in any case
    if bfloat16:
        load(torch.bfloat16)


@cache
def load(dtype: torch.dtype) -> Kernels:
    """The kernels for maps of bfloat16, float32 or float64."""
    folder = _folder()
    try:
        if _not_ours() is None:
            with _cached_in(folder):
                return _compile(dtype, use_cache=True)
    except OSError:  # the folder cannot be locked or written
        pass
    except Exception:  # whatever a damaged file makes numba raise: the next process writes anew
        shutil.rmtree(folder, ignore_errors=True)
    return _compile(dtype, use_cache=False)


def _compile(dtype: torch.dtype, *, use_cache: bool) -> Kernels:
    import numba
    from numba import types

    from search.training.kernels.compiled import convolution, gradients, numeric, pooling, unpooling
    from search.training.kernels.compiled import normalization as normalise

    element, number, plain_element = {
        torch.bfloat16: (types.uint16, types.float32, ctypes.c_uint16),
        torch.float32: (types.float32, types.float32, ctypes.c_float),
        torch.float64: (types.float64, types.float64, ctypes.c_double),
    }[dtype]
    pointer: Any = types.CPointer  # numba leaves it untyped
    compiler: Any = numba.cfunc
    kinds = {
        "P": pointer(element),
        "S": pointer(number),
        "E": element,
        "I": pointer(types.uint8),
        "N": types.int64,
        "U": types.uint32,
        "D": types.float64,
    }
    plain: dict[str, Any] = {"N": ctypes.c_int64, "U": ctypes.c_uint32, "D": ctypes.c_double}
    plain["E"] = plain_element
    kernels: dict[str, Kernel] = {}
    alive = []
    for function, signature in (
        *normalise.SIGNATURES.items(),
        *gradients.SIGNATURES.items(),
        *pooling.SIGNATURES.items(),
        *unpooling.SIGNATURES.items(),
        *convolution.SIGNATURES.items(),
    ):
        letters = signature.replace(" ", "")
        signed = types.void(*[kinds[letter] for letter in letters])
        code = compiler(signed, nopython=True, cache=use_cache, **numeric.OPTIONS)(function)
        # Addresses as plain integers: half the cost of a call with typed pointers.
        kind = ctypes.CFUNCTYPE(None, *[plain.get(letter, ctypes.c_void_p) for letter in letters])
        kernels[function.__name__] = kind(code.address)
        alive.append(code)
    return Kernels(alive=tuple(alive), **kernels)


@contextmanager
def _cached_in(folder: Path) -> Iterator[None]:
    """Lets numba keep what it compiles in a folder, and one process at a time fill it.

    The lock is needed: numba gives the files of two signatures of one function the same name
    when two processes compile them at once.
    """
    import numba

    config: Any = numba.config
    before = config.CACHE_DIR
    with FileLock(folder / "lock", timeout=LONGEST_WAIT):
        config.CACHE_DIR = str(folder)
        try:
            yield
        finally:
            config.CACHE_DIR = before


def _folder() -> Path:
    return Path(os.path.realpath(cache_directory())) / "kernels" / _digest()


def _not_ours() -> str | None:
    """Why the compiled code in the cache cannot be trusted; None where it can, or is not there."""
    folder = _folder()
    try:
        make(folder)
        return shared(folder)
    except OSError:  # there is no folder and cannot be one: nothing lies in it
        return None


def _digest() -> str:
    sources = sorted(SOURCES.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:16]
