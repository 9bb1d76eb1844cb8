"""Cases for lessons/loss_demo.py."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor

from lessons.loss_demo import NETWORK, OUTPUT, TARGET
from shared.practice.cases import Cases, call, whole
from shared.practice.losses import (
    REDUCTIONS,
    backprop_by_autograd,
    by_pytorch,
    some_network,
    some_pairs,
)

SHAPES = ((), (1,), (5,), (0,), (4, 1), (2, 3, 4), (2, 0, 3))


def reduced() -> Cases:
    """With "none" losses and gradients stay as they are.

    With "sum" the losses are added up. A gradient says what one output does to
    that sum: it stays.

    With "mean" both are divided by the number of losses. Count the losses, and
    not the gradients: cross-entropy has more of them.
    """
    each, back = Tensor([1, 2, 6]), Tensor([[1, -1], [0, 2], [3, 6]])
    yield call(each, back, "none"), (each, back)
    yield call(each, back, "sum"), (torch.tensor(9.0), back)
    yield call(each, back, "mean"), (torch.tensor(3.0), back / 3)
    for dtype in (torch.float64, torch.float16):
        pair = each.to(dtype), back.to(dtype)
        mean = torch.tensor(3, dtype=dtype), back.to(dtype) / 3
        yield call(*pair, "mean"), mean


def l1_loss() -> Cases:
    """A loss for each output: how far it is off, without its sign.

    It grows with the output where that is too large, and falls where it is too
    small: the gradient is the sign of output - target, and 0 in between.

    reduced makes of both what reduction says.
    """
    zero = torch.tensor([0.0, 0, -1])
    yield call(OUTPUT, TARGET), (torch.tensor(2 / 3), zero / 3)
    yield call(OUTPUT, TARGET, reduction="sum"), (torch.tensor(2.0), zero)
    yield from _numbers("l1_loss")


def mse_loss() -> Cases:
    """A loss for each output: the square of output - target.

    The derivative of off * off is 2 * off.

    reduced makes of both what reduction says.
    """
    four = torch.tensor([0.0, 0, -4])
    yield call(OUTPUT, TARGET), (torch.tensor(4 / 3), four / 3)
    yield call(OUTPUT, TARGET, reduction="sum"), (torch.tensor(4.0), four)
    yield from _numbers("mse_loss")


def _numbers(name: str) -> Iterator:
    """Outputs and targets of many shapes: what torch.nn and autograd give."""
    for shape, reduction in product(SHAPES, REDUCTIONS):
        for dtype in (torch.float32, torch.float64, torch.float16):
            pair = whole(*shape).to(dtype), whole(*shape).to(dtype)
            expected = by_pytorch(name, *pair, reduction)
            yield call(*pair, reduction=reduction), expected
    for pair in some_pairs(name, 20):
        yield call(*pair), by_pytorch(name, *pair)
    turned = whole(3, 5).T, whole(5, 6)[:, ::2]  # neither is contiguous
    yield call(*turned), by_pytorch(name, *turned)


def softmax() -> Cases:
    """e to the power of each logit: logits.exp().

    Divide by the sum over the last dimension. keepdim=True keeps it, with size
    1, so that broadcasting divides each row by its own sum.
    """
    yield call(torch.zeros(1, 4)), torch.full((1, 4), 0.25)
    paper = torch.tensor([[0.300610, 0.332225, 0.367165]])
    logits = torch.tensor([[0.1, 0.2, 0.3]])
    yield call(logits), _near(paper, 1e-6)
    for shape in ((3,), (1, 1), (4, 1), (5, 7), (0, 3), (2, 3, 4)):
        for dtype in (torch.float32, torch.float64):
            logits = 3 * torch.randn(shape, dtype=dtype)
            yield call(logits), logits.softmax(-1)
    logits = torch.randn(4, 6).T
    yield call(logits), logits.softmax(-1)
    half = torch.randn(4, 6).half()
    yield call(half), _near(half.float().softmax(-1).half(), 1e-2)


def cross_entropy() -> Cases:
    """First p, the softmax of each row, and a one-hot row for each label.

    p * one-hot leaves one number of each row, the label's. Its loss is -ln of
    it; .log() is ln.

    The gradients have the shape of the logits. They are p - one-hot, and
    reduced divides them by the number of images.
    """
    paper = torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([1])
    back = torch.tensor([[0.300610, -0.667775, 0.367165]])
    yield call(*paper), _near((torch.tensor(1.101943), back), 1e-6)
    for reduction in REDUCTIONS:
        for n, classes in ((1, 1), (1, 5), (6, 1), (7, 10), (0, 3)):
            logits = 3 * torch.randn(n, classes, dtype=torch.float64)
            labels = torch.randint(classes, (n,))
            expected = by_pytorch("cross_entropy", logits, labels, reduction)
            yield call(logits, labels, reduction=reduction), expected
        for pair in some_pairs("cross_entropy", 10):
            expected = by_pytorch("cross_entropy", *pair, reduction)
            yield call(*pair, reduction=reduction), _near(expected, 1e-5)
    logits, labels = torch.randn(3, 8).T, torch.randint(3, (16,))[::2]
    expected = by_pytorch("cross_entropy", logits, labels)
    yield call(logits, labels), _near(expected, 1e-5)
    logits = logits.half()
    loss, back = by_pytorch("cross_entropy", logits.float(), labels)
    yield call(logits, labels), _near((loss.half(), back.half()), 1e-2)


def backprop() -> Cases:
    """Forward first, and keep z and h: the way back needs them.

    A linear layer hands back to its input: gradient @ weight. To its weight:
    gradient.T @ input. To its bias: the gradient, added up over the images.

    ReLU hands back what it gets where z > 0, and 0 elsewhere.

    Return the loss and a dictionary of the gradients of logits, w2, b2, h, z,
    w1 and b1.
    """
    back = {
        "logits": Tensor([[-0.5, 0.5]]),
        "w2": Tensor([[-1.5, 0], [1.5, 0]]),
        "b2": Tensor([-0.5, 0.5]),
        "h": Tensor([[0.5, -0.5]]),
        "z": Tensor([[0.5, 0]]),
        "w1": Tensor([[0.5, 1], [0, 0]]),
        "b1": Tensor([0.5, 0]),
    }
    yield call(*NETWORK.values()), (torch.tensor(2.0).log(), back)
    for _ in range(20):
        network = some_network(torch.float64)
        yield call(*network), backprop_by_autograd(*network)
    for _ in range(5):
        network = some_network()
        yield call(*network), _near(backprop_by_autograd(*network), 1e-5)
    network = some_network(torch.float64)
    network[2] = network[2].T.contiguous().T  # not contiguous
    yield call(*network), backprop_by_autograd(*network)
    empty = [network[0][:0], network[1][:0], *network[2:]]  # no image
    yield call(*empty), backprop_by_autograd(*empty)


def _near(expected: Any, off: float) -> Callable[[Any], None]:
    """The textbook's powers round more than PyTorch's logarithm of a sum."""

    def look(result: Any) -> None:
        near = {"rtol": off, "atol": off}
        torch.testing.assert_close(result, expected, **near)

    return look
