"""Cases for lessons/adam_demo.py."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from shared.practice.cases import Cases, call, whole
from shared.practice.moments import learn, network

ONE, ZERO = torch.ones(1), torch.zeros(1)
EPS = 1e-8


def adam_step() -> Cases:
    """Two results: the new weight, and the three of the new moments.

    The count goes up first: this is step n, and the first one is 1.

    The moments that are kept are first and second, not mean and square.

    Change no input in place: whoever called you still has it.
    """
    start = call(ONE, 0.5 * ONE, (ZERO, ZERO, 0), 0.1, EPS)
    yield start, (0.9 * ONE, (0.05 * ONE, 0.00025 * ONE, 1))
    again = call(
        0.9 * ONE, -0.5 * ONE, (0.05 * ONE, 0.00025 * ONE, 1), 0.1, EPS
    )
    end = (0.9 + 0.1 * 0.005 / 0.19 / 0.5) * ONE
    yield again, (end, (-0.005 * ONE, 0.00049975 * ONE, 2))
    yield call(ONE, ZERO, (ZERO, ZERO, 0), 0.1, EPS), (ONE, (ZERO, ZERO, 1))
    for shape in ((), (1,), (0,), (3, 4), (2, 3, 5, 5)):
        for dtype in (torch.float32, torch.float64):
            for n, lr, eps in ((0, 0.1, EPS), (1, 2.0, 0.5), (900, 0.0, EPS)):
                w, g, first, second = (whole(*shape).to(dtype) for _ in "wgfs")
                moments = (first, second.abs(), n)
                given = w, g, moments, lr, eps
                yield call(*given), _as_pytorch(*given)
    turned = [whole(4, 3).T for _ in range(2)]  # not contiguous
    given = *turned, (torch.zeros(3, 4), torch.ones(3, 4), 5), 0.5, EPS
    yield call(*given), _as_pytorch(*given)


def _as_pytorch(
    weight: Tensor, gradient: Tensor, moments: Any, lr: float, eps: float
) -> tuple[Tensor, Any]:
    """What torch.optim.Adam makes of them, with these moments behind it."""
    parameter = nn.Parameter(weight.clone())
    optimizer = torch.optim.Adam([parameter], lr=lr, eps=eps)
    first, second, n = moments
    optimizer.state[parameter] = {
        "step": torch.tensor(float(n)),
        "exp_avg": first.clone(),
        "exp_avg_sq": second.clone(),
    }
    parameter.grad = gradient.clone()
    optimizer.step()
    kept = optimizer.state[parameter]
    return parameter.detach(), (kept["exp_avg"], kept["exp_avg_sq"], n + 1)


def Adam() -> Cases:
    """list(weights): a generator such as net.parameters() is empty after one
    walk, and step() walks again and again.

    Each weight has moments of its own, 0 at the start, and its own count.

    Weight decay: weight_decay * weight is added to the gradient.

    Change the weights in place, with copy_, in no_grad: the network has them.

    A weight whose grad is None stays as it is, and so do its moments.
    """
    yield call([ONE.clone()], lr=0.1), partial(_paper, 0.9)
    some = {"lr": 0.1, "weight_decay": 0.5}
    yield call([ONE.clone()], **some), partial(_paper, 0.9)
    yield from _against(torch.optim.Adam)


def AdamW() -> Cases:
    """Weight decay is no part of the gradient: lr * weight_decay * weight is
    taken off the weight, before Adam's step.

    Everything else is Adam's. Without weight_decay it is 0.01.
    """
    some = {"lr": 0.1, "weight_decay": 0.5}
    yield call([ONE.clone()], **some), partial(_paper, 0.85)
    yield call([ONE.clone()], lr=0.1), partial(_paper, 0.899)
    yield from _against(torch.optim.AdamW)


def _against(kind: Any) -> Cases:
    for settings in (
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.0},
        {"lr": 0.05, "weight_decay": 0.3},
        {"lr": 0.1, "eps": 0.1},
        {"lr": 0.0, "weight_decay": 0.3},
    ):
        for dtype in (torch.float32, torch.float64):
            for shapes in (((3, 4), (4,)), ((),), ((0, 2), (1,))):
                weights = [torch.randn(shape, dtype=dtype) for shape in shapes]
                weights = [nn.Parameter(weight) for weight in weights]
                look = partial(_walks_as_pytorch, kind, weights, settings)
                yield call((w for w in weights), **settings), look
        two = [nn.Parameter(torch.randn(3)) for _ in range(2)]
        look = partial(_some_without_gradient, kind, two, settings)
        yield call(two, **settings), look
    net = network(0)
    look = partial(_learns_as_pytorch, kind, net)
    yield call(net.parameters(), lr=0.01), look


def _paper(expected: float, optimizer: Any) -> None:
    """A first gradient of 0.5, from a weight of 1."""
    (weight,) = optimizer.weights
    weight.grad = 0.5 * ONE
    optimizer.step()
    assert_close(weight, expected * ONE)


def _walks_as_pytorch(
    kind: Any,
    weights: list[nn.Parameter],
    settings: dict[str, Any],
    optimizer: Any,
) -> None:
    """Ten steps with the same random gradients; each weight, after each."""
    theirs = [nn.Parameter(weight.detach().clone()) for weight in weights]
    other = kind(theirs, **settings)
    for _ in range(10):
        for pair in zip(weights, theirs, strict=True):
            gradient = torch.randn_like(pair[0])
            for weight in pair:
                weight.grad = gradient.clone()
        optimizer.step()
        other.step()
        assert_close(weights, theirs, atol=1e-5, rtol=1e-5)
    assert all(weight.is_leaf and weight.requires_grad for weight in weights)


def _some_without_gradient(
    kind: Any,
    weights: list[nn.Parameter],
    settings: dict[str, Any],
    optimizer: Any,
) -> None:
    """The second weight's gradient comes late: then it is at its step 1."""
    theirs = [nn.Parameter(weight.detach().clone()) for weight in weights]
    other = kind(theirs, **settings)
    for present in (1, 1, 2, 1, 2):
        for pair in (weights, theirs):
            for place, weight in enumerate(pair):
                weight.grad = torch.ones(3) if place < present else None
        optimizer.step()
        other.step()
        assert_close(weights, theirs, atol=1e-5, rtol=1e-5)


def _learns_as_pytorch(kind: Any, net: nn.Module, optimizer: Any) -> None:
    """Five batches; zero_grad is asked for, too."""
    batches = [(torch.randn(8, 64), torch.randint(10, (8,))) for _ in range(5)]
    same = network(0)
    losses = learn(net, optimizer, batches)
    other = learn(same, kind(same.parameters(), lr=0.01), batches)
    assert_close(losses, other, atol=1e-4, rtol=1e-4)
