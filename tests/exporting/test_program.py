"""Any network leaves as a program of torch.export, which needs nothing of this project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from search.common.errors import UserError
from search.data.problem import Problem
from search.exporting.program import Ready, write_program
from search.exporting.standalone import load_standalone

SHAPE = (3, 20, 24)
PROBLEM = Problem(name="things", input_shape=SHAPE, class_names=("a", "b", "c", "d"))


class Net(nn.Module):
    """Residual, with a shared layer, dropout and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.shared = nn.Sequential(nn.BatchNorm2d(6), nn.GELU(), nn.Conv2d(6, 6, 3, padding=1))
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.shared(x)
        x = x + self.shared(x)
        out: Tensor = self.head(self.drop(x.mean(dim=(2, 3))))
        return out


@pytest.fixture
def ready() -> Ready:
    torch.manual_seed(0)
    network = Net()
    network(torch.randn(8, *SHAPE))  # running statistics
    return Ready(network, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)).eval()


def images(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *SHAPE), generator=generator).float()


def test_a_program_gives_the_same_logits_for_any_number_of_images(
    ready: Ready, tmp_path: Path
) -> None:
    write_program(tmp_path, ready, PROBLEM, title='My "net"\\')
    loaded = load_standalone(tmp_path)
    for count in (1, 2, 5):
        x = images(count)
        by_hand = (x / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor(
            [0.2, 0.25, 0.3]
        ).view(3, 1, 1)
        expected = ready.network(by_hand)
        torch.testing.assert_close(loaded(x), expected, rtol=1e-4, atol=1e-5)
    weights = load_file(tmp_path / "weights.safetensors")
    assert weights.keys() == ready.network.state_dict().keys()


@pytest.mark.processes
def test_it_loads_where_this_project_is_not(ready: Ready, tmp_path: Path) -> None:
    write_program(tmp_path, ready, PROBLEM, title="net")
    torch.save(images(3), tmp_path / "images.pt")
    code = (
        "import sys, torch; from model import load; "
        "logits = load()(torch.load('images.pt')); "
        "assert not any(name.split('.')[0] in ('search', 'space') for name in sys.modules); "
        "print(*logits.flatten().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    expected = ready(images(3)).flatten().tolist()
    assert [float(x) for x in done.stdout.split()] == pytest.approx(expected, rel=1e-5)


def test_no_path_of_this_machine_is_in_it(ready: Ready, tmp_path: Path) -> None:
    write_program(tmp_path, ready, PROBLEM, title="net")
    here = str(Path(__file__).parent).encode()
    assert not any(here in file.read_bytes() for file in tmp_path.iterdir())


class Deciding(nn.Module):
    """What it does depends on the values of the images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4] * (2 if x.sum() > 0 else 3)


def test_what_cannot_be_followed_is_said_in_one_line(tmp_path: Path) -> None:
    ready = Ready(Deciding(), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(UserError, match="torch.export cannot follow the network") as raised:
        write_program(tmp_path, ready, PROBLEM, title="net")
    assert "\n" not in str(raised.value)
