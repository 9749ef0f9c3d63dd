"""A trained network as one Python file that needs torch alone, and weights in safetensors."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from search.layers.deskew import Deskew
from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training.exact import has_hooks, is_unchanged

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search.data.problem import Problem

MODEL = "model.py"
WEIGHTS = "weights.safetensors"
PREFIX = "layers."  # of the tensors' names in the file
OURS = (Deskew, ShiftedCopies, RotatedConv2d, RotatedBatchNorm2d, MeanOfCopies)

TEMPLATE = '''"""{title}

Needs torch and the file {weights} beside it. {parameters:,} trainable parameters.

    from model import load
    logits = load()(images)         # images {shape}, pixel values 0 to 255
    labels = logits.argmax(dim=1)   # [N], from 0 to {largest_label}
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch
from torch import Tensor, nn

MEAN = {mean!r}  # of the training pixels, scaled to [0, 1]
STD = {std!r}
WEIGHTS = Path(__file__).with_name("{weights}")


{sources}class Network(nn.Module):
    """Images ``{shape}`` with values from 0 to 255 to logits ``[N, {outputs}]``."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
{layers}
        )

    def forward(self, images: Tensor) -> Tensor:
{normalising}
        return self.layers(pixels)


def load(path: Path = WEIGHTS) -> Network:
    """The trained network, ready to predict (dropout off, BatchNorm fixed)."""
    network = Network()
    network.load_state_dict(read_safetensors(path))
    return network.eval()


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: a length, a header in JSON, then the numbers."""
    content = bytearray(path.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {{"F32": torch.float32, "I64": torch.int64}}
    tensors = {{}}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        flat = torch.frombuffer(content[start:end], dtype=types[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"]).clone()
    return tensors


if __name__ == "__main__":
    print(load())
'''


def is_writable(network: nn.Module) -> bool:
    """Whether a network's source can be written as one file: a plain sequence of known layers.

    Known are torch's own layers and those of ``search.layers``, each as its class says, and each
    used once.
    """
    from torch import nn

    if type(network) is not nn.Sequential or has_hooks(network):
        return False
    layers = list(network)
    return len(set(map(id, layers))) == len(layers) and all(_is_known(x) for x in layers)


def _is_known(layer: nn.Module) -> bool:
    kind = type(layer)
    torchs = kind.__module__.startswith("torch.nn.modules.") and not list(layer.children())
    if not (torchs or kind in OURS) or not is_unchanged(layer):
        return False
    try:
        source(layer)
    except Exception:  # whatever a repr that is no call of its class leads to
        return False
    return True


def write_weights(file: Path, network: nn.Module, prefix: str = "") -> None:
    """Write all that a network holds into a safetensors file; what is shared is there once."""
    import torch
    from safetensors.torch import save

    tensors, seen = {}, set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[prefix + name] = tensor.detach().cpu().contiguous()
    file.write_bytes(save(tensors))


def first_line(title: str) -> str:
    """A title as it may stand at the beginning of a docstring."""
    return title.replace("\\", "\\\\").replace('"', "'")


GREY = "        pixels = images.float() * (1 / (255 * STD)) - MEAN / STD"
COLOUR = """        pixels = images.float()
        mean, std = (pixels.new_tensor(values).view(-1, 1, 1) for values in (MEAN, STD))
        pixels = pixels * (1 / (255 * std)) - mean / std"""


def write_standalone(folder: Path, network: nn.Module, problem: Problem, *, title: str) -> None:
    """Write ``model.py`` and ``weights.safetensors`` into a folder.

    Args:
        folder: Exists.
        network: Trained; ``is_writable``.
        problem: What images it takes: their shape, mean and deviation, and the classes.
        title: The file's first line.
    """
    from torch import nn

    assert isinstance(network, nn.Sequential)
    write_weights(folder / WEIGHTS, network, PREFIX)
    grey = problem.channels == 1
    text = TEMPLATE.format(
        title=first_line(title),
        weights=WEIGHTS,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        shape=f"[N, {', '.join(map(str, problem.input_shape))}]",
        mean=problem.mean[0] if grey else problem.mean,
        std=problem.std[0] if grey else problem.std,
        normalising=GREY if grey else COLOUR,
        outputs=problem.classes,
        largest_label=problem.classes - 1,
        sources="".join(
            f"{inspect.getsource(kind)}\n\n" for kind in OURS if kind in map(type, network)
        ),
        layers="\n".join(f"            {source(layer)}," for layer in network),
    )
    (folder / MODEL).write_text(text, encoding="utf-8")


def source(layer: nn.Module) -> str:
    """A layer as the Python that makes it, without what is torch's default anyway.

    Read off the layer's ``repr``, which for torch's own layers is a call of its class: other torch
    versions then need not know a setting that only this one names. What the ``repr`` leaves out,
    as ``AvgPool2d`` does ``count_include_pad``, is added.

    Raises:
        ValueError: If what the Python makes is not as the layer is.
    """
    call = ast.parse(repr(layer), mode="eval").body
    assert isinstance(call, ast.Call)
    defaults = inspect.signature(type(layer).__init__).parameters
    written = [ast.unparse(argument) for argument in call.args]
    for keyword in call.keywords:
        value = ast.literal_eval(keyword.value)
        if isinstance(value, tuple) and len(set(value)) == 1 and len(value) > 1:
            value = value[0]  # (3, 3): a square kernel
        if value != defaults[keyword.arg or ""].default:
            written.append(f"{keyword.arg}={value!r}")
    kind = type(layer)
    settings = _settings(layer)
    made = _settings(_made(kind, written))
    left_out = [name for name in defaults if made.get(name) != settings.get(name)]
    written += [f"{name}={settings[name]!r}" for name in left_out]
    if _settings(_made(kind, written)) != settings:
        raise ValueError(f"the repr of {kind.__name__} does not make it again")
    prefix = "nn." if kind.__module__.startswith("torch.") else ""  # ours is in the file itself
    return f"{prefix}{kind.__name__}({', '.join(written)})"


def _made(kind: type[nn.Module], written: list[str]) -> nn.Module:
    """A layer that was written so, without values."""
    import torch

    with torch.device("meta"):
        made: nn.Module = eval(f"kind({', '.join(written)})", {"kind": kind, "__builtins__": {}})
    return made


def _settings(layer: nn.Module) -> dict[str, object]:
    """What a layer was made with, as it keeps that."""
    return {
        name: value
        for name, value in vars(layer).items()
        if not name.startswith("_") and name != "training"
    }


def load_standalone(folder: Path) -> nn.Module:
    """The network of a folder, by its own ``model.py``, as a stranger would load it."""
    name = "exported_model"
    spec = importlib.util.spec_from_file_location(name, folder / MODEL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    network: nn.Module = module.load()
    return network


def logits(network: nn.Module, pixels: Tensor) -> Tensor:
    """A network's answers ``[N, classes]`` to ``[N, C, H, W]`` uint8 images, in batches."""
    import torch

    with torch.no_grad():
        batches = torch.split(pixels, 500)
        parts = [network(batch.float()) for batch in batches]
    return torch.cat(parts)
