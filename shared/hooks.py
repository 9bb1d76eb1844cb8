"""What a hook draws, and the photograph that module-demo makes grey."""

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.datasets.embedded import photograph

RGB = ("red", "green", "blue")
Learn = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


def walked(model: Any, numbers: Tensor, x: Tensor) -> Tensor:
    """Fill the parameters, then call and walk back: output, gradients."""
    parameters = [p for _, p in model.named_parameters()]
    for parameter, number in zip(parameters, numbers, strict=True):
        nn.init.constant_(parameter, number)
    output = model(x)
    output.backward()
    return torch.stack([output.detach(), *(p.grad for p in parameters)])


def grey_photo() -> tuple[Tensor, Tensor]:
    """A photograph (26, 40, 3), and Pillow's grey one (26, 40, 1)."""
    photo = F.avg_pool2d(photograph("flower"), 16)  # (3, 26, 40)
    pixels = (photo.permute(1, 2, 0) * 255).round().byte()
    grey = Image.fromarray(pixels.numpy()).convert("L")
    return pixels / 255, torch.from_numpy(np.array(grey))[..., None] / 255


def show_grey(
    model: nn.Linear, learn: Learn, steps: int, writer: SummaryWriter
) -> float:
    """Let model learn Pillow's grey; print its numbers, and draw its way.

    Returns its largest difference from Pillow's, of 255.
    """
    colours, wanted = grey_photo()
    calls = count()

    def draw(layer: nn.Linear, inputs: tuple, output: Tensor) -> None:
        step = next(calls)
        if step in (0, 1, 10, 100, 1000, steps):
            image = output.detach().clamp(0, 1)
            writer.add_image("grey", image, step, dataformats="HWC")
        if step % 10 == 0:
            for name, weight in zip(RGB, layer.weight[0].tolist(), strict=True):
                writer.add_scalar(f"weight/{name}", weight, step)

    first = model(colours).detach()
    model.register_forward_hook(draw)
    before = {n: _decimals(t) for n, t in model.state_dict().items()}
    learn(model, colours, wanted, steps)
    made = model(colours).detach()
    kinds = {n: "parameter" for n, _ in model.named_parameters()}
    rows = [
        (kinds.get(n, "buffer"), n, before[n], _decimals(t))
        for n, t in model.state_dict().items()
    ]
    console.table(["", "name", "before", f"after step {steps:,}"], rows)
    writer.add_image("photo", colours, dataformats="HWC")
    writer.add_image("pillow", wanted, dataformats="HWC")
    greys = {"step 0": first, f"step {steps:,}": made, "Pillow's": wanted}
    bare = {name: picture[..., 0] for name, picture in greys.items()}
    pictures = {"photo": colours.permute(2, 0, 1)} | bare
    console.pictures(pictures, "grey", width=18)
    return 255 * (made - wanted).abs().max().item()


def _decimals(tensor: Tensor) -> str:
    return " ".join(f"{number:.3f}" for number in tensor.flatten().tolist())
