"""Cases for lessons/activation_demo.py."""

import torch
from torch import Tensor, nn

from lessons.activation_demo import WORKED_CASE, network
from shared.practice.cases import Cases, call

NOT_ASKED = {
    "network": "it stacks layers, no more",
    "gradient_norms": "it measures a claim",
    "accuracy_after": "it measures a claim",
    "verdicts": "it words what was measured",
}


def _value_and_slope(name: str) -> Cases:
    """PyTorch's value and autograd's slope, from a few numbers to far out."""
    few = torch.tensor([[-2, -0.5], [0.5, 3]])
    far = torch.tensor([[-1e4, -100, -30], [30, 100, 1e4]])
    double = torch.randn(4, dtype=torch.float64)
    zeros = torch.zeros(2, 1)
    for x in (few, WORKED_CASE, zeros, torch.randn(3, 4), double, far):
        leaf = x.clone().requires_grad_()
        value = getattr(nn, name)()(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
        yield call(x.clone()), (value.detach(), slope)


def relu() -> Cases:
    """Two results, each of the shape of x: return value, slope.

    The slope is 1 where x > 0, and 0 elsewhere.
    """
    value, slope = Tensor([[1, 0], [0, 3]]), Tensor([[1, 0], [0, 1]])
    yield call(WORKED_CASE), (value, slope)
    yield from _value_and_slope("ReLU")


def leaky_relu() -> Cases:
    """Like ReLU, but with 0.01 * x instead of 0 on the left."""
    yield from _value_and_slope("LeakyReLU")


def sigmoid() -> Cases:
    """The slope can be had from the value: value * (1 - value).

    exp(100) is inf, and inf / inf is nan: exp(-|x|) never overflows.
    """
    yield from _value_and_slope("Sigmoid")


def tanh() -> Cases:
    """The slope can be had from the value: 1 - value**2."""
    yield from _value_and_slope("Tanh")


def gelu() -> Cases:
    """The share of a normal distribution below x is erfc(-x / sqrt(2)) / 2.

    The slope of x * share is share + x * bell: bell is the share's slope.
    """
    yield from _value_and_slope("GELU")


def multiply_out() -> Cases:
    """One layer gives W x + b. Put that into the next: W2 (W x + b) + b2."""
    for widths in ([3, 2], [2, 3, 2], [3, 7, 5, 6, 2]):
        model = network("Identity", widths).double()
        zero = torch.zeros(1, widths[0], dtype=torch.float64)
        unit = torch.eye(widths[0], dtype=torch.float64)
        bias = model(zero)[0].detach()
        weight = (model(unit).detach() - bias).T

        def look(result: tuple[Tensor, Tensor], expected: object) -> None:
            torch.testing.assert_close(result, expected, check_stride=False)

        expected = (weight, bias)
        yield call(model), lambda result, e=expected: look(_bare(result), e)


def _bare(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.detach() for tensor in tensors)
