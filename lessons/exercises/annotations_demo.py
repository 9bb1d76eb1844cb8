"""Cases for lessons/annotations_demo.py."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

from lessons.annotations_demo import MEAN, STD
from shared.datasets.as_files import PAPER, png, written
from shared.datasets.checks import Annotations
from shared.practice.cases import Cases, call

Parsed = tuple[Annotations, dict[int, str]]


def parse() -> Cases:
    """Number the lines from 1 on, the blank ones, too: people look them up.

    line.strip().rsplit(maxsplit=1) gives [], [one part] or [name, label].

    A label has 1 to 9 digits, 0 to 9 and nothing else. Only then ask whether
    the file is there.
    """
    names = ["image_1.png", "image_3.png", "image_4.png", "my flower.png"]
    names += ["a  b.png", "sub/c d.png", "7", "naïve 图.png"]
    names += ["image_06734.jpg"]
    with written({name: b"" for name in names}) as folder:
        paper = [("image_1.png", 0), ("my flower.png", 1)]
        yield call("\n".join(PAPER), folder), _is(folder, paper, [4, 5, 6])
        line, found = "image_06734.jpg 0", [("image_06734.jpg", 0)]
        yield call(line, folder), _is(folder, found, [])
        windows = f"{line}\r\n\r\n{line}\r\n7 x\r\n{line}"
        yield call(windows, folder), _is(folder, found * 3, [4])
        for text in ("", "\n", " \t\n\n", "\r\n\r\n"):
            yield call(text, folder), _is(folder, [], [])
        for text in ("7 7", "7 7\n", "\n\n7\t7", "  7   7  ", "7 0007"):
            yield call(text, folder), _is(folder, [("7", 7)], [])
        for name in names:
            line, found = f"{name} 123456789", [(name, 123456789)]
            yield call(f"{line}\n{line}", folder), _is(folder, found * 2, [])
        for bad in ("7", "7 -1", "7 1.0", "7 x", "7 1e3", "7 ٣", "8 0", ". 0"):
            yield call(f"7 1\n{bad}", folder), _is(folder, [("7", 1)], [2])
        for bad in ("7 1234567890", "a b.png 0", "7 +1", "7 1_0", "7 0x1"):
            yield call(f"\n{bad}\n7 1", folder), _is(folder, [("7", 1)], [2])


def _is(
    folder: Path, found: list[tuple[str, int]], bad: list[int]
) -> Callable[[Parsed], None]:
    """These annotations, and something about each of the bad lines."""

    def look(parsed: Parsed) -> None:
        expected = [(folder / name, label) for name, label in found]
        assert parsed[0] == expected, f"{parsed[0]} is not {expected}"
        assert [*parsed[1]] == bad, f"bad lines {[*parsed[1]]}, not {bad}"
        assert all(isinstance(fault, str) for fault in parsed[1].values())

    return look


def Listed() -> Cases:
    """Keep both arguments. The length is that of the annotations.

    The transform gets what load_picture reads, and makes the image.

    torch.tensor makes an int64 of a whole number.
    """
    images = torch.randint(0, 256, (3, 3, 4, 5), dtype=torch.uint8)
    files = {f"{k}.png": png(image) for k, image in enumerate(images)}
    with written(files) as folder:
        for order in ([2, 0, 1], [1], [], [0, 0, 2]):
            found = [(folder / f"{k}.png", 10 * k) for k in order]
            yield call(found, ToTensor()), _holds(images[order] / 255, order)


def _holds(images: Tensor, order: list[int]) -> Callable[[Dataset], None]:
    labels = 10 * torch.tensor(order, dtype=torch.int64)

    def look(dataset: Dataset) -> None:
        assert len(dataset) == len(order), "its length"
        for place in range(len(order)):
            image, label = dataset[place]
            torch.testing.assert_close(image, images[place])
            torch.testing.assert_close(label, labels[place])
        if order:
            (batch,) = DataLoader(dataset, batch_size=len(order))
            torch.testing.assert_close(batch[1], labels)

    return look


def prepare() -> Cases:
    """resize wants (columns, rows), and how: Image.Resampling.BILINEAR.

    np.array gives (64, 64, 3) from 0 to 255, an image is (3, 64, 64).

    Take MEAN off, then divide by STD.
    """
    steps = [Resize((64, 64)), ToTensor(), Normalize([MEAN] * 3, [STD] * 3)]
    theirs = Compose(steps)
    for shade in (0, 51, 255):
        expected = torch.full((3, 64, 64), (shade / 255 - 0.5) / 0.25)
        yield call(Image.new("RGB", (64, 64), (shade,) * 3)), expected
    for rows, columns in ((64, 64), (1, 1), (100, 30), (7, 200)):
        noise = torch.randint(0, 256, (rows, columns, 3), dtype=torch.uint8)
        picture = Image.fromarray(np.asarray(noise))
        yield call(picture), theirs(picture)


def denormalise() -> Cases:
    """images is (image - MEAN) / STD: undo the last step first."""
    greys = torch.arange(5) / 4
    yield call(torch.arange(-2, 3).float()), greys
    for shape in ((3, 64, 64), (4, 3, 2, 5), (0, 3, 8, 8), (1,)):
        for dtype in (torch.float32, torch.float64, torch.float16):
            images = torch.rand(shape).to(dtype)
            yield call((images - MEAN) / STD), _near(images)
    images = torch.rand(2, 3, 5, 4).transpose(2, 3)  # not contiguous
    yield call((images - MEAN) / STD), images


def _near(images: Tensor) -> Callable[[Tensor], None]:
    rtol = 1e-2 if images.dtype == torch.float16 else 1e-5

    def look(back: Tensor) -> None:
        torch.testing.assert_close(back, images, rtol=rtol, atol=rtol)

    return look
