"""Cases for lessons/activation_demo.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lessons.activation_demo import X
from shared.practice.cases import Cases, call, whole

NOT_ASKED = {"learn": "its loop is train-cifar's subject"}


def relu() -> Cases:
    """Two results, each of the shape of x: return f(x), f'(x).

    f'(x) is 1 where x > 0, and 0 elsewhere.
    """
    yield call(X), (Tensor([[1, 0], [0, 3]]), Tensor([[1, 0], [0, 1]]))
    yield from _value_and_derivative("ReLU")


def leaky_relu() -> Cases:
    """Like ReLU, but with 0.01 * x instead of 0 on the left."""
    yield from _value_and_derivative("LeakyReLU")


def sigmoid() -> Cases:
    """The derivative can be had from the value: value * (1 - value)."""
    yield from _value_and_derivative("Sigmoid")
    far = torch.tensor([-1e4, -100, 100, 1e4])
    yield call(far), (Tensor([0, 0, 1, 1]), torch.zeros(4))


def tanh() -> Cases:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)) will do for x up to 88.

    The derivative can be had from the value: 1 - value**2.

    Beyond 88, exp(x) is too large for float32: what is inf / inf? And do all
    mends work at 100 and at -100? The lesson prints what its tanh gives there:
    1 and -1 are right. f'(x) should be 0 at both.
    """
    yield from _value_and_derivative("Tanh")


def gelu() -> Cases:
    """x times the share of a normal distribution that lies below x.

    That share is (1 + erf(x / sqrt(2))) / 2.

    The derivative of x * share is share + x * bell: bell is that of share.
    """
    yield from _value_and_derivative("GELU")


def _value_and_derivative(name: str) -> Cases:
    """torch.nn's value and autograd's derivative, near 0 and far from it."""
    far = torch.tensor([[-80.0, -30, -10], [10, 30, 80]])
    double = torch.randn(4, dtype=torch.float64)
    transposed = 3 * torch.randn(2, 5).T
    for x in (X, torch.zeros(2, 1), whole(3, 4), double, transposed, far):
        leaf = x.clone().requires_grad_()
        value = getattr(nn, name)()(leaf)
        derivative = torch.autograd.grad(value.sum(), leaf)[0]
        yield call(x.clone()), (value.detach(), derivative)


def gradient_shares() -> Cases:
    """Set the seed first, then make the layers one after the other.

    The activation stands between two layers: before each but the first.

    autograd.grad(loss, outputs) gives the gradient at each of the outputs.
    """
    examples = torch.rand(20, 64), torch.arange(20) % 10
    for seed, name in enumerate(("Identity", "ReLU", "Sigmoid", "Tanh")):
        yield call(name, seed, examples), _shares(name, seed, *examples)


def _shares(name: str, seed: int, images: Tensor, labels: Tensor) -> Tensor:
    """The same, with a network of modules and the gradients in .grad."""
    torch.manual_seed(seed)
    widths = [64] * 10 + [10]
    layers = [nn.Linear(widths[i], widths[i + 1]) for i in range(10)]
    outputs = []
    for layer in layers:
        bent = getattr(nn, name)()(outputs[-1]) if outputs else images
        outputs.append(layer(bent))
        outputs[-1].retain_grad()
    F.cross_entropy(outputs[-1], labels).backward()
    sizes = [output.grad.square().sum().sqrt() for output in outputs]
    return torch.stack(sizes) / sizes[-1]
