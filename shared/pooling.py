"""What maxpool-demo measures its pooling with."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

Pools = dict[str, tuple[Callable, Callable]]  # what pool is given; PyTorch's
Pooled = dict[str, Tensor]


def how_many(
    size: int, kernel_size: int, stride: int, padding: int
) -> tuple[int, int]:
    """Windows in a row, ceil_mode True: by the formula, and PyTorch's."""
    image = torch.zeros(1, size, size)
    out = F.max_pool2d(image, kernel_size, stride, padding, ceil_mode=True)
    moves = (size + 2 * padding - kernel_size) / stride
    return 1 + ceil(moves), out.size(2)


def both_ways(
    pool: Callable, pools: Pools, number: int
) -> tuple[Pooled, Pooled]:
    """Random images (C, H, W), pooled by hand and by PyTorch, in each way.

    The padding is at most half of the window: PyTorch takes no more.
    """
    ours, theirs = {}, {}
    for case in range(number):
        k, stride, rows, columns = torch.randint(1, 6, (4,)).tolist()
        padding = torch.randint(k // 2 + 1, ()).item()
        image = torch.randn(3, k + rows, k + columns)
        how, mode = (k, stride, padding), case % 2 == 0
        for name, (op, function) in pools.items():
            ours[f"{name} {case}"] = pool(image, op, *how, mode)
            theirs[f"{name} {case}"] = function(image, *how, ceil_mode=mode)
    return ours, theirs


def same_after_move(image: Tensor, k: int) -> float:
    """The share of pooled outputs that stay when the image moves by a column.

    The last column becomes the first. Windows are k x k, side by side.
    """
    both = torch.stack([image, image.roll(1, 2)])
    old, new = F.max_pool2d(both, k, ceil_mode=True)
    return (old == new).float().mean().item()
