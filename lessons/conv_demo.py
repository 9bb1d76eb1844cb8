"""Convolution by hand.

A kernel slides over an image. At each stop, multiply element by element
and add up: that sum is one output pixel. The stops in each direction:

    out = (in + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1

    python cli.py conv-demo --stride 2 --padding 1
"""

from functools import partial
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets import photograph
from shared.options import LOGS, LogDir

IMAGE = torch.tensor(
    [[1, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0], [5, 2, 3, 1, 1], [2, 1, 0, 1, 1.0]]
)
KERNEL = torch.tensor([[1, 2, 1], [0, 1, 0], [2, 1, 0.0]])
FILTERS = {
    "blur": torch.full((9, 9), 1 / 81),
    "sharpen": torch.tensor([[0, -1, 0], [-1, 5, -1], [0, -1, 0.0]]),
    "edges": torch.tensor([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1.0]]),
}


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def conv2d(
    image: Tensor, kernel: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Tensor:
    """Slide kernel (kh, kw) over image (H, W), one output pixel at a time."""
    kh, kw = kernel.shape
    out_h = output_size(image.size(0), kh, stride, padding, dilation)
    out_w = output_size(image.size(1), kw, stride, padding, dilation)
    image = F.pad(image, (padding,) * 4)  # (H + 2p, W + 2p)
    out = image.new_empty(out_h, out_w)
    for i in range(out_h):
        for j in range(out_w):
            rows = slice(i * stride, i * stride + dilation * kh, dilation)
            columns = slice(j * stride, j * stride + dilation * kw, dilation)
            out[i, j] = (image[rows, columns] * kernel).sum()
    return out


def conv2d_channels(images: Tensor, weight: Tensor, groups: int = 1, **steps: int) -> Tensor:
    """Convolve images (N, C, H, W) with weight (O, C / groups, kh, kw).

    A filter has one kernel for each channel of its group: convolve each, add the results up.
    """
    images = images.unflatten(1, (groups, -1))  # (N, groups, C / groups, H, W)
    weight = weight.unflatten(0, (groups, -1))  # (groups, O / groups, C / groups, kh, kw)
    out = []
    for image in images:
        for channels, filters in zip(image, weight, strict=True):
            for kernels in filters:
                pairs = zip(channels, kernels, strict=True)
                out.append(sum(conv2d(channel, kernel, **steps) for channel, kernel in pairs))
    return torch.stack(out).unflatten(0, (len(images), -1))  # (N, O, out_h, out_w)


def conv2d_unfold(images: Tensor, weight: Tensor, groups: int = 1, **steps: int) -> Tensor:
    """The same as one matrix product: unfold (im2col) lays every patch out as a column."""
    kh, kw = weight.shape[2:]
    columns = F.unfold(images, (kh, kw), **steps)  # (N, C * kh * kw, out_h * out_w)
    columns = columns.unflatten(1, (groups, -1))  # (N, groups, C / groups * kh * kw, ...)
    filters = weight.flatten(1).unflatten(0, (groups, -1))  # (groups, O / groups, ...)
    out = (filters @ columns).flatten(1, 2)  # (N, O, out_h * out_w)
    return out.unflatten(2, (output_size(images.size(2), kh, **steps), -1))


def two_dimensions() -> torch.Size:
    """A picture without batch and channel dimensions."""
    return F.conv2d(IMAGE, KERNEL).shape


def four_dimensions() -> torch.Size:
    """conv2d wants (N, C, H, W); image[None, None] adds the first two, each of size 1."""
    return F.conv2d(IMAGE[None, None], KERNEL[None, None]).shape


def whole_numbers() -> torch.dtype:
    """A picture of whole numbers, as it comes out of a file."""
    picture = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    return F.conv2d(picture, torch.ones(1, 3, 3, 3)).dtype


def floats() -> torch.dtype:
    """A decoded picture holds uint8 from 0 to 255; a layer's weights are float32."""
    picture = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    return F.conv2d(picture.float() / 255, torch.ones(1, 3, 3, 3)).dtype


def pixels_left_over() -> float:
    """An output size that is not a whole number."""
    picture = torch.zeros(1, 1, 6, 6)
    picture[..., -1] = 1  # a bright last column
    return F.conv2d(picture, torch.ones(1, 1, 3, 3), stride=2).max().item()


def every_pixel() -> float:
    """(6 - 3) / 2 + 1 is rounded down: the last column is never read. Pad until it fits."""
    picture = torch.zeros(1, 1, 6, 6)
    picture[..., -1] = 1
    picture = F.pad(picture, (0, 1, 0, 1))  # one more on the right and below
    return F.conv2d(picture, torch.ones(1, 1, 3, 3), stride=2).max().item()


def not_flipped() -> list[float]:
    """Expecting that the kernel is flipped."""
    dot = torch.tensor([[[0.0, 0, 1, 0, 0]]])
    return F.conv1d(dot, torch.tensor([[[1.0, 2, 3]]])).flatten().tolist()


def flipped() -> list[float]:
    """In mathematics, yes; PyTorch slides the kernel as it is. A layer learns it either way."""
    dot = torch.tensor([[[0.0, 0, 1, 0, 0]]])
    kernel = torch.tensor([[[1.0, 2, 3]]]).flip(-1)
    return F.conv1d(dot, kernel).flatten().tolist()


def show_worked_case(stride: int, padding: int) -> None:
    console.section("A case small enough for paper")
    console.matrices({"image": IMAGE, "kernel": KERNEL})
    cases = dict.fromkeys([(1, 0), (2, 0), (1, 1), (stride, padding)])
    console.matrices({f"stride {s}, padding {p}": conv2d(IMAGE, KERNEL, s, p) for s, p in cases})
    console.section("One output pixel, step by step: the first one at stride 1")
    patch = IMAGE[:3, :3]
    console.matrices({"patch": patch, "kernel": KERNEL, "patch × kernel": patch * KERNEL})
    terms = " + ".join(f"{value:.0f}" for value in (patch * KERNEL).flatten())
    console.say(f"{terms} = {(patch * KERNEL).sum():.0f}")


def check_against_pytorch() -> None:
    console.section("Three ways, the same numbers: how fast is each?")
    torch.manual_seed(0)
    images, weight = torch.randn(1, 4, 16, 16), torch.randn(6, 2, 3, 3)
    ways = {"loops": conv2d_channels, "one matrix product": conv2d_unfold, "F.conv2d": F.conv2d}
    called = {name: partial(way, images, weight, groups=2, padding=1) for name, way in ways.items()}
    for name in ("loops", "one matrix product"):
        console.agrees(f"{name} = F.conv2d", called[name](), called["F.conv2d"](), 1e-4)
    console.speeds(called)


def run(
    stride: Annotated[int, typer.Option(min=1, help="Pixels from one stop to the next.")] = 1,
    padding: Annotated[int, typer.Option(min=0, help="Zeros added on every side.")] = 0,
    logdir: LogDir = LOGS,
) -> None:
    """Slide a kernel over an image, and check it with PyTorch."""
    console.opening(__doc__)
    show_worked_case(stride, padding)
    check_against_pytorch()

    console.section("On a photograph")
    photo = photograph("china")[:, ::2, ::2]  # every second pixel: (3, 214, 320)
    pictures = {"original": photo}
    for name, kernel in FILTERS.items():
        weight = kernel.expand(3, 1, -1, -1)  # the same kernel for red, green and blue
        pictures[name] = F.conv2d(photo, weight, padding="same", groups=3).clamp(0, 1)
    console.pictures(pictures, "images")

    console.mistake(two_dimensions, four_dimensions, raises=RuntimeError)
    console.mistake(whole_numbers, floats, raises=RuntimeError)
    console.mistake(pixels_left_over, every_pixel, shows="brightest output: {}")
    console.mistake(not_flipped, flipped, shows="a dot becomes {}")
    console.remember(
        "One output pixel is one sum of products; a convolution is that sum at every stop.",
        "conv2d takes float images (N, C, H, W), weights (out, in / groups, kh, kw).",
        "Never loop over pixels: the same sum as one matrix product is far faster.",
    )
    with board("conv-demo", logdir, "IMAGES: the photograph through each filter") as writer:
        for name, picture in pictures.items():
            writer.add_image(f"images/{name}", picture)
    console.next_lesson("activation-demo")


if __name__ == "__main__":
    typer.run(run)
