"""The folder of decoded arrays: whole files at any moment, damage found, one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data import cache
from tests.helpers.data.idx_files import some_images, some_labels

ARRAYS = {"train_images": some_images(60), "train_labels": some_labels(60)}
DIGESTS = cache.digests(ARRAYS)
ROOT = Path(__file__).resolve().parents[2]


def test_the_environment_variable_names_the_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", "~/somewhere")
    assert cache.cache_directory() == Path.home() / "somewhere"
    monkeypatch.delenv("CNN_SEARCH_CACHE")
    assert cache.cache_directory().name.lower() in ("cnn-search", "cache")


def test_what_is_stored_is_found_well_and_nothing_else_is_left(tmp_path: Path) -> None:
    cache.store(tmp_path / "a" / "b", ARRAYS)
    assert cache.problem(tmp_path / "a" / "b", DIGESTS) is None
    names = sorted(path.name for path in (tmp_path / "a" / "b").iterdir())
    assert names == ["train_images.npy", "train_labels.npy"]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: flip(path, 5000), "is damaged"),
        (lambda path: flip(path, 0), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.unlink(), "is missing"),
        (lambda path: np.save(path, ARRAYS["train_images"].astype(np.int8)), "something else"),
        (lambda path: np.save(path, ARRAYS["train_images"].reshape(60, 14, 56)), "something else"),
    ],
)
def test_harm_to_a_file_is_found(tmp_path: Path, harm: Callable[[Path], None], reason: str) -> None:
    cache.store(tmp_path, ARRAYS)
    harm(tmp_path / "train_images.npy")
    found = cache.problem(tmp_path, DIGESTS)
    assert found is not None and reason in found and "train_images.npy" in found


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    arrays = {"train_images": some_images(3000)}
    digests = cache.digests(arrays)
    cache.store(tmp_path, arrays)
    done = threading.Event()

    def write() -> None:
        for _ in range(30):
            cache.store(tmp_path, arrays)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    problems = set()
    while not done.is_set():
        problems.add(cache.problem(tmp_path, digests))
    writer.join()
    assert problems == {None}


def test_a_file_that_was_mapped_stays_as_it_was_when_replaced(tmp_path: Path) -> None:
    cache.store(tmp_path, ARRAYS)
    mapped = np.load(tmp_path / "train_images.npy", mmap_mode="r")
    cache.store(tmp_path, {"train_images": some_images(60, seed=9)})
    np.testing.assert_array_equal(mapped, ARRAYS["train_images"])


@pytest.mark.processes
def test_an_unwritable_cache_gives_way_to_a_folder_that_ends_with_the_process(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from search.data import cache\n"
        "from tests.data.test_cache import ARRAYS, DIGESTS\n"
        f"folder = cache.keep(Path({str(tmp_path / 'file' / 'mnist')!r}), ARRAYS, print)\n"
        "assert cache.problem(folder, DIGESTS) is None\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "assert folder.is_dir(), 'a child took it away'\n"
        "print(folder)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    said, folder = done.stdout.splitlines()
    assert "cannot be written (Not a directory)" in said
    assert Path(folder).parent == tmp_path and not Path(folder).exists()


def test_when_nothing_can_be_written_the_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(UserError, match="Set CNN_SEARCH_CACHE"):
        cache.keep(tmp_path / "file" / "mnist", ARRAYS, lambda line: None)


@pytest.mark.processes
def test_one_process_at_a_time_fills_a_folder(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from search.data import cache\n"
        f"with cache.alone(Path({str(tmp_path / 'mnist')!r}), print):\n"
        "    print('inside', flush=True)\n"
        "    input()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "inside\n"
        said: list[str] = []

        def release(line: str) -> None:
            said.append(line)
            assert other.stdin is not None
            other.stdin.write("\n")
            other.stdin.flush()

        with cache.alone(tmp_path / "mnist", release):
            assert len(said) == 1 and "waiting for another process" in said[0]


def test_without_a_lock_the_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with cache.alone(tmp_path / "file" / "mnist", print):
        pass


def test_what_is_made_is_closed_to_others(tmp_path: Path) -> None:
    cache.store(tmp_path / "a" / "b", ARRAYS)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700] * 2


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda top: None, None),
        (lambda top: (top / "kernels/x").chmod(0o755), "kernels/x is not a directory"),
        (lambda top: (top / "kernels").chmod(0o770), "kernels is not a directory"),
        (lambda top: top.chmod(0o777), "others can write to"),
        (lambda top: top.chmod(0o775), "others can write to"),
        (lambda top: top.chmod(0o1777), None),
        (lambda top: top.chmod(0o755), None),
        (lambda top: swapped(top), "kernels/x is not a directory"),
    ],
)
def test_a_folder_that_others_may_have_filled_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], None],
    reason: str | None,
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "top")
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "link"))
    folder = tmp_path / "top" / "kernels" / "x"
    cache.make(folder)
    harm(tmp_path / "top")
    found = cache.shared(folder)
    assert found == reason or (found and reason and reason in found), found


def swapped(top: Path) -> None:
    (top / "kernels" / "x").rename(top / "elsewhere")
    (top / "kernels" / "x").symlink_to(top / "elsewhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path))
    cache.make(tmp_path / "kernels")
    assert cache.shared(tmp_path / "kernels") is None
    os.chown(tmp_path / "kernels", 12_345, -1)
    assert "kernels is not a directory" in str(cache.shared(tmp_path / "kernels"))
