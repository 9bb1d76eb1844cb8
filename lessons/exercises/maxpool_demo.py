"""Cases for lessons/maxpool_demo.py."""

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.maxpool_demo import IMAGE, MEAN
from shared.practice.cases import Cases, call, whole


def starts() -> Cases:
    """The first window starts padding places before pixel 0, so at -padding,
    each next one stride places on.

    There are 1 + (size + 2 * padding - kernel_size) / stride of them, rounded
    down; with ceil_mode True rounded up: the last may reach past the edge.

    But none starts right of the last pixel, at size or behind it, even if
    padding is there.
    """
    yield call(5, 3, 3, 0, False), [0]
    yield call(5, 3, 3, 0, True), [0, 3]
    yield call(5, 2, 1, 0, True), [0, 1, 2, 3]
    yield call(5, 3, 2, 1, False), [-1, 1, 3]
    yield call(3, 2, 3, 0, True), [0]  # the rule: nothing starts at 3
    yield call(5, 2, 2, 1, True), [-1, 1, 3]  # nor at 5, in the padding
    yield call(1, 1, 1, 0, False), [0]
    yield call(1, 3, 3, 0, False), []  # no window fits
    yield call(1, 3, 3, 0, True), [0]
    sizes = product(range(1, 9), range(1, 6), range(1, 6), (False, True))
    for size, kernel_size, stride, ceil_mode in sizes:
        for padding in range(kernel_size // 2 + 1):
            how = kernel_size, stride, padding, ceil_mode
            if ends := _last_pixels(size, *how):
                begin = [stride * n - padding for n in range(len(ends))]
                seen = [min(b + kernel_size, size) - 1 for b in begin]
                assert seen == ends  # what PyTorch's windows really see
                yield call(size, *how), begin


def _last_pixels(
    size: int, kernel_size: int, stride: int, padding: int, ceil_mode: bool
) -> list[int]:
    """The last pixel of each of PyTorch's windows; none if it refuses."""
    row = torch.arange(size).float().reshape(1, 1, size)
    how = (1, kernel_size), (1, stride), (0, padding)
    try:
        out = F.max_pool2d(row, *how, ceil_mode=ceil_mode)
    except RuntimeError as error:
        assert "Output size is too small" in str(error)
        return []
    return out.int().flatten().tolist()


def pool() -> Cases:
    """Ask starts where the windows of the rows start, and of the columns.

    The output has a row for each of the first, a column for each of the second;
    what stands before the rows and columns (images, channels) stays.

    A window is image[..., rows, columns], two slices. A slice may end past the
    edge: it takes what is there. But it must not begin below 0, where -1 means
    the last pixel. op(window, (-2, -1)) does the rest: padding has no number
    (F.avg_pool2d takes zeros there, unless count_include_pad is False).
    """
    ceil3 = 3, 3, 0, True
    yield call(IMAGE, torch.amax, 3, 3, 0, False), Tensor([[2]])
    yield call(IMAGE, torch.amax, *ceil3), Tensor([[2, 3], [5, 1]])
    means = Tensor([[10 / 9, 8 / 6], [13 / 6, 1]])
    yield call(IMAGE, torch.mean, *ceil3), means
    padded = Tensor([[2, 3, 3], [5, 3, 3], [5, 3, 1]])  # as ResNet pools
    yield call(IMAGE, torch.amax, 3, 2, 1, False), padded
    one = torch.full((1, 1), -7.0)
    yield call(one, torch.amax, 1, 1, 0, False), one
    yield call(one, torch.amax, *ceil3), one  # past the edge is no 0
    yield call(one, torch.amax, 3, 2, 1, True), one  # nor is padding
    yield call(one, torch.mean, 3, 2, 1, True), one
    for k, stride, mode in product((1, 2, 3), (1, 2, 5), (False, True)):
        how = k, stride, k // 2
        for dtype in (torch.float32, torch.float64):
            image = whole(2, 3, 6, 4).to(dtype) - 4  # below 0, mostly
            maxima = F.max_pool2d(image, *how, ceil_mode=mode)
            yield call(image, torch.amax, *how, mode), maxima
            means = MEAN(image, *how, ceil_mode=mode)
            yield call(image, torch.mean, *how, mode), means
    image = whole(2, 7, 5, 3).permute(0, 3, 1, 2)  # not contiguous
    maxima = F.max_pool2d(image, 3, 3, ceil_mode=True)
    yield call(image, torch.amax, *ceil3), maxima
    empty = torch.zeros(0, 3, 5, 4)  # a batch of no images
    maxima = F.max_pool2d(empty, 3, 3, ceil_mode=True)
    yield call(empty, torch.amax, *ceil3), maxima
    for dtype in (torch.half, torch.bfloat16, torch.uint8, torch.int64):
        image = torch.randint(0, 9, (3, 6, 7)).to(dtype)
        maxima = F.max_pool2d(image, 3, 2, 1)
        yield call(image, torch.amax, 3, 2, 1, False), maxima
    image = whole(3, 6, 7).half()
    expected = MEAN(image.float(), 3, 2, 1).half()
    yield call(image, torch.mean, 3, 2, 1, False), expected
    image = whole(1, 6, 6)
    image[0, 1, 1], image[0, 4:, 4:] = torch.nan, -torch.inf
    yield call(image, torch.amax, 2, 2, 1, True), F.max_pool2d(image, 2, 2, 1)
