"""The whole journey on images that are not MNIST's: folders of pictures and arrays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.study.storages.opening import open_study
from tests.conftest import ROOT

pytestmark = pytest.mark.processes

CLASSES = {"red fox": (220, 60, 30), "grüner Wald": (30, 170, 60), "blue": (40, 60, 200)}
COUNTS = {"red fox": 120, "grüner Wald": 40, "blue": 60}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Colour pictures of uneven classes, some with transparency, some with a palette."""
    chance = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        folder = tmp_path / "my pictures" / name
        folder.mkdir(parents=True)
        for number in range(COUNTS[name]):
            noise = chance.normal(0, 60, (20, 24, 3)) + colour
            picture = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
            if number % 3 == 1:
                picture.putalpha(255)
            elif number % 3 == 2:
                picture = picture.convert("P")
            picture.save(folder / f"bild {number:03} ü.png")
    return tmp_path / "my pictures"


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Grey arrays of 8×8 with four even classes: which quarter is bright."""
    chance = np.random.default_rng(0)

    def some(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 4
        images = chance.integers(0, 120, (count, 8, 8))
        for image, label in zip(images, labels, strict=True):
            image[4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 100
        return images.astype(np.uint8), labels

    x_train, y_train = some(400)
    x_test, y_test = some(80)
    file = tmp_path / "quarters.npz"
    np.savez(file, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return file


def call(name: str, folder: Path, data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "search" / name), "--data", str(data)]
    line += ["--storage", str(folder / "study.db")]
    if name in ("run.py", "finalists.py"):
        line += ["--reports", str(folder / "reports"), "--device", "cpu", "--workers", "1"]
    return subprocess.run([*line, *more], capture_output=True, text=True, timeout=240)


def test_pictures_of_uneven_classes(tmp_path: Path, pictures: Path) -> None:
    few = ("--trials", "2", "--epochs", "2", "--max-params", "3000", "--pruner", "none")
    done = call("run.py", tmp_path, pictures, *few)
    assert done.returncode == 0, done.stderr
    assert "20×24 colour, 3 classes" in done.stdout
    assert "uneven classes: red fox has " in done.stdout
    assert "(balanced " in done.stdout
    study = open_study(str(tmp_path / "study.db"))
    dataset = study.user_attrs["settings"]["dataset"]
    assert dataset["class_names"] == sorted(CLASSES)
    assert dataset["input_shape"] == [3, 20, 24]
    assert dataset["train_images"] + dataset["validation_images"] == 184
    assert dataset["split"].startswith("stratified")
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert all(0 <= trial.user_attrs["balanced_accuracy"] <= 1 for trial in complete)

    tested = call("finalists.py", tmp_path, pictures, "--top", "1", "--shortlist", "0")
    assert tested.returncode == 0, tested.stderr
    assert "(balanced " in tested.stdout
    report = (tmp_path / "reports" / "leaderboard.md").read_text(encoding="utf-8")
    assert "(balanced " in report and "Classes are uneven" in report
    for mnists in ("99.4", "BatchNorm: no", "reference", "digit"):
        assert mnists not in report
    page = (tmp_path / "reports" / "leaderboard.html").read_text(encoding="utf-8")
    assert 'class="balanced"' in page

    left = call("export.py", tmp_path, pictures, "--output", str(tmp_path / "out"))
    assert left.returncode == 0, left.stdout + left.stderr
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "colour images of 20×24 pixels" in card
    assert "blue, grüner Wald, red fox" in card
    assert "(balanced " in card and "[N, 3, 20, 24]" in card
    repeated = call("reproduce.py", tmp_path, pictures, str(complete[0].number))
    assert "PASS" in repeated.stdout, repeated.stdout + repeated.stderr


def test_small_arrays_of_even_classes(tmp_path: Path, arrays: Path) -> None:
    few = ("--trials", "5", "--epochs", "6", "--target", "90")
    done = call("run.py", tmp_path, arrays, *few, "--pruner", "none")
    assert done.returncode == 0, done.stderr
    assert "8×8 grey, 4 classes" in done.stdout
    assert "balanced" not in done.stdout
    trials = open_study(str(tmp_path / "study.db")).trials
    assert max(trial.values[0] for trial in trials if trial.values) > 0.5
    left = call("export.py", tmp_path, arrays, "--output", str(tmp_path / "out"))
    assert left.returncode == 0, left.stdout + left.stderr
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["origin"]["problem"]["input_shape"] == [1, 8, 8]
    tested = call(
        "finalists.py", tmp_path, arrays, "--top", "1", "--shortlist", "0", "--seeds", "1"
    )
    assert tested.returncode == 0, tested.stderr
    assert "≥ 90 %" in tested.stdout


def test_pictures_of_two_sizes_are_brought_to_one(tmp_path: Path, pictures: Path) -> None:
    for number in range(12):  # a sixth is held out and not looked at
        Image.new("RGB", (50, 40), "red").save(pictures / "blue" / f"other {number}.png")
    refused = call("run.py", tmp_path, pictures, "--trials", "1", "--epochs", "1")
    assert refused.returncode == 2
    assert "--image-size" in refused.stderr.splitlines()[-1]
    few = ("--trials", "1", "--epochs", "1", "--max-params", "2000")
    done = call("run.py", tmp_path, pictures, *few, "--image-size", "16")
    assert done.returncode == 0, done.stderr
    assert "16×16 colour" in done.stdout
    line = [line for line in done.stdout.splitlines() if line.startswith("To continue")][0]
    assert "--image-size 16" in line
