"""Cases for lessons/transforms_demo.py."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from lessons.transforms_demo import HALF, PICTURE, PIXELS
from shared.practice.cases import Cases, call

Shape = tuple[int, ...]


def to_tensor() -> Cases:
    """The channels are last, and must come first: permute gives dimensions a
    new order, by the numbers of the old ones.

    Make it float32 before you divide, so that white, 255, becomes 1.
    """
    paper = [[[1, 1], [0, 0.8]], [[0, 1], [0, 0.4]], [[0, 1], [0, 0.2]]]
    yield call(PIXELS), Tensor(paper)
    yield call(_pixels((1, 1, 3)) * 0 + 51), torch.full((3, 1, 1), 0.2)
    yield call(_pixels((0, 4, 3))), torch.zeros(3, 0, 4)
    for shape in ((1, 1, 1), (2, 5, 1), (4, 3, 3), (7, 2, 4)):
        pixels = _pixels(shape)
        yield call(pixels), v1.ToTensor()(pixels.numpy())
    pixels = _pixels((5, 6, 3)).transpose(0, 1)[::2]  # not contiguous
    newer = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    yield call(pixels), newer(pixels.numpy()).as_subclass(Tensor)


def _pixels(shape: Shape) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def normalize() -> Cases:
    """With mean 0.5 and std 0.5, 0 becomes -1, 0.5 becomes 0, 1 becomes 1.

    image is (C, H, W), mean and std are (C,). A shape of (C, 1, 1) stretches
    over all rows and columns: mean[:, None, None].
    """
    paper = torch.tensor([0.0, 0.5, 1]).expand(3, 1, 3)
    wanted = torch.tensor([-1.0, 0, 1]).expand(3, 1, 3)
    yield call(paper, HALF, HALF), wanted
    for shape in ((1, 1, 1), (1, 4, 5), (3, 2, 2), (4, 3, 6), (3, 0, 2)):
        for dtype in (torch.float32, torch.float64, torch.float16):
            image = torch.rand(shape).to(dtype)
            mean, std = torch.rand(2, shape[0]).add(0.1).to(dtype)
            normal = v2.Normalize(mean.tolist(), std.tolist())
            yield call(image, mean, std), normal(image)
    image = torch.rand(4, 5, 3).permute(2, 0, 1)  # not contiguous
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 1, 3])
    yield call(image, mean, std), v2.Normalize(mean, std)(image)


def crop_and_flip() -> Cases:
    """The first row of the window is a random whole number. The smallest is 0,
    the largest is rows - size, and torch.randint leaves its upper end out.

    The same for the first column. Then slice: [..., top : top + size, ...].

    Mirrored is from left to right: the last dimension, backwards. It must
    happen in about half of the calls.
    """
    yield call(torch.ones(1, 1, 1), 1), torch.ones(1, 1, 1)
    picture = PICTURE + 1
    yield call(picture, 3), _one_of(picture, 3)
    wide = torch.rand(3, 4, 6)
    seen: set[Shape] = set()
    for _ in range(200):  # each of the 8 looks comes up, but for 1 in 10**10
        yield call(picture, 2), _one_of(picture, 2, seen)
        yield call(wide, 3), _one_of(wide, 3)
    yield call(wide.half().transpose(1, 2), 4), lambda out: _all(out, seen)


def _one_of(
    image: Tensor, size: int, seen: set[Shape] | None = None
) -> Callable[[Tensor], None]:
    """The result must be a window of image, mirrored or not."""
    windows = image.unfold(1, size, 1).unfold(2, size, 1)  # (C, i, j, h, w)
    windows = windows.flatten(1, 2).transpose(0, 1)  # (i * j, C, h, w)
    looks = torch.cat([windows, windows.flip(-1)])

    def look(out: Tensor) -> None:
        assert out.shape == looks.shape[1:], f"its shape is {tuple(out.shape)}"
        assert (looks == out).flatten(1).all(1).any(), "no window of the image"
        if seen is not None:
            seen.add(tuple(out.flatten().tolist()))

    return look


def _all(out: Tensor, seen: set[Shape]) -> None:
    assert out.dtype == torch.float16 and out.shape == (3, 4, 4)
    assert len(seen) == 8, f"200 calls gave {len(seen)} of the 8 looks"
