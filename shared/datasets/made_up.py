"""Small sets that are made up, so that the truth about them is known."""

import torch
from torch import Tensor

Data = tuple[Tensor, Tensor]  # inputs (N, ...), labels or targets (N,)


def noise(seed: int, rows: int, columns: int) -> Data:
    """Inputs that say nothing of their labels, 0 or 1: guessing gets 50 %."""
    torch.manual_seed(seed)
    return torch.randn(rows, columns), torch.randint(2, (rows,))


def line(seed: int) -> Data:
    """Each target is the sum of four inputs, and a little noise."""
    torch.manual_seed(seed)
    inputs = torch.randn(1000, 4)
    return inputs, inputs.sum(1) + 0.5 * torch.randn(1000)


def rings(seed: int) -> Data:
    """Points on two rings, the inner 0 and the outer 1."""
    torch.manual_seed(seed)
    angle, ring = 6.3 * torch.rand(1000), torch.randint(2, (1000,))
    points = torch.stack([angle.cos(), angle.sin()], 1) * (1 + ring)[:, None]
    return points + 0.1 * torch.randn(1000, 2), ring
