"""Cases for lessons/dataset_demo.py."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from shared.datasets.as_files import png, written
from shared.practice.cases import Cases, call

Look = Callable[[Dataset], None]
NO_PICTURES = {"notes.txt": b"", "._a.png": b"", ".png": b"", "png": b""}


def OneFolder() -> Cases:
    """__init__ keeps paths: sorted, no hidden ones, a picture's suffix in small
    letters. It opens no file.

    __len__ is the number of the paths.

    __getitem__ loads the picture of one path. np.array makes (H, W, 3) of it;
    an image is (3, H, W): permute. The label is the same for all.
    """
    for names, label in (("b.png a.png C.jpg", 0), ("1.PNG", 1), ("", 2)):
        images = {name: _noise(3, 5, 4) for name in names.split()}
        files = {name: png(image) for name, image in images.items()}
        with written(files | NO_PICTURES) as folder:
            expected = [(images[name], label) for name in sorted(images)]
            yield call(folder, label), _holds(expected)
    grey, clear = _noise(1, 1, 1), torch.zeros(4, 2, 3, dtype=torch.uint8)
    with written({"a.png": png(grey), "b.png": png(clear)}) as folder:
        expected = grey.expand(3, 1, 1), torch.full_like(clear[:3], 255)
        yield call(folder, 3), _holds([(image, 3) for image in expected])
        yield call(folder, 4), _opens_late(folder / "a.png")


def _noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def _holds(expected: Sequence[tuple[Tensor, int]]) -> Look:
    """A Dataset of these images and labels, in this order."""

    def look(dataset: Dataset) -> None:
        assert len(dataset) == len(expected), "its length"
        for place, (image, label) in enumerate(expected):
            found, its_label = dataset[place]
            torch.testing.assert_close(found, image, rtol=0, atol=0)
            assert its_label == label, f"the label of {place}"

    return look


def _opens_late(path: Path) -> Look:
    """The file may still change while the Dataset is there."""

    def look(dataset: Dataset) -> None:
        image = _noise(3, 2, 2)
        path.write_bytes(png(image))
        torch.testing.assert_close(dataset[0][0], image, rtol=0, atol=0)

    return look


def Joined() -> Cases:
    """__len__ is the sum of the parts' lengths.

    First make a number from 0 on of the index: range(len(self))[index] does
    that, and raises IndexError where there is none.

    If the first part holds so many, its example is it. If not, take the first
    part's length off, and ask the next part.
    """
    for parts in ([[5, 6, 7], [8, 9]], [[1], [], [2, 3]], [[4]], [[], []], []):
        yield call(*parts), _counts_through([*chain(*parts)])
    for _ in range(5):
        lengths = torch.randint(0, 5, (4,)).tolist()
        parts = [torch.randint(100, (n,)).tolist() for n in lengths]
        yield call(*parts), _counts_through([*ConcatDataset(parts)])


def _counts_through(expected: list[int]) -> Callable[[Any], None]:
    """It has these examples, from either end, and no others."""

    def look(joined: Any) -> None:
        count = len(expected)
        assert len(joined) == count, "its length"
        found = [joined[index] for index in range(-count, count)]
        assert found == expected * 2, f"{found} is not {expected * 2}"
        for index in (count, -count - 1):
            try:
                joined[index]
            except IndexError:
                continue
            raise AssertionError(f"[{index}] must raise IndexError")

    return look


def image_folder() -> Cases:
    """The classes are the names of the folders in root, sorted as text.

    A OneFolder for each, with its place among them as label; all Joined.
    """
    for names in ("3/a 3/b 8/a 8/c", "10/a 2/b 1/c", "b/a B/a a/2 a/10"):
        files = {f"{name}.png": png(_noise(3, 4, 4)) for name in names.split()}
        with written(files | {"list.txt": b"", "0.png": b""}) as root:
            yield call(root), _holds([*ImageFolder(root, pil_to_tensor)])
