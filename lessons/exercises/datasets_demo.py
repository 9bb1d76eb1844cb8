"""Cases for lessons/datasets_demo.py."""

import torch
from torch import Tensor
from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

from lessons.datasets_demo import IMAGES, LABELS
from shared.datasets.as_files import written
from shared.datasets.idx import to_idx
from shared.practice.cases import Cases, call


def read_idx() -> Cases:
    """The byte at place 3 says how many sizes follow, of four bytes each.

    0 0 1 4 is 0 * 256**3 + 0 * 256**2 + 1 * 256 + 4. Python can do that for
    you: int.from_bytes(four, "big").

    All that stands behind the sizes are the numbers. They have the dtype
    uint8, and the sizes are their shape.
    """
    yield call(LABELS), torch.tensor([7, 3], dtype=torch.uint8)
    paper = [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    yield call(IMAGES), torch.tensor(paper, dtype=torch.uint8)
    for shape in ((2, 1, 3, 4), (0, 2, 2)):  # not as torchvision reads them
        numbers = _pixels(*shape)
        yield call(to_idx(numbers)), numbers
    for shape in ((1,), (300,), (2, 260), (5, 28, 28), (70_000,)):
        content = to_idx(_pixels(*shape))  # the last size is 0 1 17 112
        yield call(content), _torchvision(content)


def _torchvision(content: bytes) -> Tensor:
    """What MNIST makes of such a file: one to three dimensions, none empty."""
    with written({"idx": content}) as folder:
        return read_sn3_pascalvincent_tensor(str(folder / "idx"))


def nearest() -> Cases:
    """Make a row of each image, and make it float32: in uint8, 1 - 2 is 255.

    The distance of two rows is the root of the sum of their squared
    differences. torch.cdist(rows, others) has them all, one row for each row.

    For each row you need the place of its least distance, argmin(1). The known
    image at that place has the label.
    """
    known = torch.tensor([[[0, 0]], [[9, 9]]], dtype=torch.uint8)
    labels = torch.tensor([7, 3])
    images = torch.tensor([[[1, 2]], [[9, 8]], [[0, 0]]], dtype=torch.uint8)
    yield call(known, labels, images), torch.tensor([7, 3, 7])
    yield call(known[:1], labels[:1], images), torch.tensor([7, 7, 7])
    for shape in ((4, 4), (3, 5, 2), (28, 28)):
        known, images = _pixels(20, *shape), _pixels(9, *shape)
        labels = torch.randint(1, 10, (20,))
        yield call(known, labels, known), labels  # each is most like itself
        yield call(known, labels, images), _one_by_one(known, labels, images)
    known, images = _pixels(60, 6, 5), _pixels(40, 6, 5)  # cdist: as a product
    labels = torch.randint(1, 10, (60,))
    yield call(known, labels, images), _one_by_one(known, labels, images)
    yield call(known, labels, images[:0]), labels[:0]
    mirrored = known.flip(0).transpose(1, 2)  # not contiguous
    yield call(mirrored, labels, mirrored), labels


def _one_by_one(known: Tensor, labels: Tensor, images: Tensor) -> Tensor:
    def squares(image: Tensor, other: Tensor) -> float:
        return ((image.double() - other.double()) ** 2).sum().item()

    given = []
    for image in images:
        distances = [squares(image, other) for other in known]
        given.append(labels[distances.index(min(distances))])
    return torch.stack(given)


def _pixels(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)
