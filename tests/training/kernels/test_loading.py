"""The cache of compiled code: quick to read, safe to fill at once, and not needed to run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.training import kernels as fused
from search.training.kernels import loading

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[3]
# Prints the seconds of loading and a digest of some steps' gradients.
STEPS = """
import hashlib, sys, time
import torch
from torch import nn
from search.training import kernels as fused
torch.set_num_threads(1)
started = time.perf_counter()
for name in sys.argv[1:]:
    fused.warm_up(bfloat16=name == "bfloat16")
seconds = time.perf_counter() - started
digest = hashlib.sha256()
for name in sorted(sys.argv[1:]):
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
        *(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)),
    )
    network = fused.FusedNetwork(model, bfloat16=name == "bfloat16")
    for step in range(3):
        network(torch.rand(16, 1, 28, 28), step).square().sum().backward()
    for value in [p.grad for p in model.parameters()] + list(model.buffers()):
        digest.update(value.numpy().tobytes())
print(seconds, digest.hexdigest())
"""


def start(cache: Path, *names: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STEPS, *names],
        cwd=ROOT,
        env={**os.environ, "CNN_SEARCH_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[float, str]:
    """Seconds and digest; a process prints nothing else."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors == ""
    seconds, digest = out.split()
    return float(seconds), digest


def test_processes_that_compile_at_once_agree_and_the_next_one_loads(tmp_path: Path) -> None:
    both = ("bfloat16", "float32") if fused.available(bfloat16=True) else ("float32",)
    at_once = [start(tmp_path, *both), start(tmp_path, *both[::-1]), start(tmp_path, *both)]
    digests = {finish(process)[1] for process in at_once}
    seconds, digest = finish(start(tmp_path, *both))
    assert digests == {digest}
    assert seconds < 5  # 0.6 s on an idle machine; compiling takes over 15


@pytest.mark.parametrize("damage", ["truncated", "no folder"])
def test_a_cache_that_cannot_be_used_is_not_needed(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    if damage == "no folder":
        cache.write_text("a file where the folder should be")
        finish(start(cache, "float32"))
        return
    _, digest = finish(start(cache, "float32"))
    files = list(cache.rglob("*.nbc"))
    assert len(files) >= 9
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    assert finish(start(cache, "float32"))[1] == digest
    assert not list(cache.rglob("*.nbc"))  # gone, for the next process to write anew


def test_code_that_others_may_have_written_is_not_run_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numba keeps pickles. Compiling takes ten seconds, so here only where from is looked at."""
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path))
    kept: list[bool] = []
    monkeypatch.setattr(loading, "_compile", lambda dtype, use_cache: kept.append(use_cache))
    monkeypatch.setattr(loading, "load", loading.load.__wrapped__)
    loading.warm_up(bfloat16=True)
    assert kept == [True, True]
    assert capsys.readouterr().err == ""
    (tmp_path / "kernels").chmod(0o777)
    loading.warm_up(bfloat16=True)
    assert kept[2:] == [False, False]
    assert capsys.readouterr().err.count("\n") == 1


def test_numba_is_there() -> None:
    assert fused.available()


def test_without_numba_it_is_not_available() -> None:
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "from search.training import kernels as fused\n"
        "print(fused.available(), 'llvmlite' in sys.modules)"
    )
    out = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert out.split() == ["False", "False"]
