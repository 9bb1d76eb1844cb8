"""Cases for lessons/sgd_demo.py."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from lessons.sgd_demo import SGD as BY_HAND
from shared.practice.cases import Cases, call, whole
from shared.practice.descent import network

ONE = torch.ones(1)


def sgd_step() -> Cases:
    """Two results: the new weight and the new velocity. Change neither input.

    The new velocity comes first: momentum times the old one, and the gradient.

    Then lr times the new velocity is taken off the weight.
    """
    yield call(ONE, 2 * ONE, 0 * ONE, 0.1, 0.9), (0.8 * ONE, 2 * ONE)
    second = call(0.8 * ONE, 1.6 * ONE, 2 * ONE, 0.1, 0.9)
    yield second, (0.46 * ONE, 3.4 * ONE)
    weight, gradient = torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0, 0.0]])
    zero = torch.zeros(1, 2)
    yield (
        call(weight, gradient, zero, 0.5, 0.0),
        (weight - gradient / 2, gradient),
    )
    for shape in ((), (1,), (0,), (3, 4), (2, 3, 5, 5)):
        for dtype in (torch.float32, torch.float64):
            for lr, momentum in (
                (0.1, 0.9),
                (2.0, 0.5),
                (0.0, 1.0),
                (1.0, 0.0),
            ):
                three = [whole(*shape).to(dtype) for _ in range(3)]
                given = lr, momentum
                yield call(*three, *given), _as_pytorch(*three, *given)
    turned = [whole(4, 3).T for _ in range(3)]  # not contiguous
    yield call(*turned, 0.5, 0.5), _as_pytorch(*turned, 0.5, 0.5)
    halves = [whole(5).half() for _ in range(3)]
    yield call(*halves, 0.5, 0.5), _as_pytorch(*halves, 0.5, 0.5)


def _as_pytorch(
    weight: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    lr: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """What torch.optim.SGD makes of them, with that velocity behind it."""
    parameter = nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([parameter], lr=lr, momentum=momentum)
    if momentum == 0:  # then it keeps none
        velocity = torch.zeros_like(velocity)
    optimizer.state[parameter]["momentum_buffer"] = velocity.clone()
    parameter.grad = gradient.clone()
    optimizer.step()
    kept = (
        optimizer.state[parameter]["momentum_buffer"] if momentum else gradient
    )
    return parameter.detach(), kept


def SGD() -> Cases:
    """list(weights): a generator such as net.parameters() is empty after one
    walk, and step() walks again and again.

    Each weight has a velocity of its own, 0 at the start.

    Weight decay: weight_decay * weight is added to the gradient.

    Nesterov calls sgd_step again, with the old weight and the new velocity.
    The velocity that is kept is that of the first call.

    Change the weights in place, with copy_, in no_grad: the network has them.

    A weight whose grad is None stays as it is.
    """
    yield call([ONE.clone()], lr=0.1), _paper
    decayed = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.3}
    for settings in (
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "weight_decay": 0.3},
        decayed,
        decayed | {"nesterov": True},
        {"lr": 0.0, "momentum": 0.9},
    ):
        for dtype in (torch.float32, torch.float64):
            for shapes in (((3, 4), (4,)), ((),), ((0, 2), (1,))):
                weights = [torch.randn(shape, dtype=dtype) for shape in shapes]
                weights = [nn.Parameter(weight) for weight in weights]
                look = partial(_walks_as_pytorch, weights, settings)
                yield call((w for w in weights), **settings), look
        look = partial(_some_without_gradient, two := _two(), settings)
        yield call(two, **settings), look
    net = network(0)
    yield call(net.parameters(), lr=0.1, momentum=0.5), partial(_forgets, net)


def _two() -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(3)) for _ in range(2)]


def _paper(optimizer: Any) -> None:
    (weight,) = optimizer.weights
    for expected in (0.8, 0.64):
        weight.grad = 2 * weight
        optimizer.step()
        assert_close(weight, expected * ONE)


def _walks_as_pytorch(
    weights: list[nn.Parameter], settings: dict[str, Any], optimizer: Any
) -> None:
    """Ten steps with the same random gradients; each weight, after each."""
    theirs = [nn.Parameter(weight.detach().clone()) for weight in weights]
    other = torch.optim.SGD(theirs, **settings)
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
    weights: list[nn.Parameter], settings: dict[str, Any], optimizer: Any
) -> None:
    first, second = weights
    stays = second.detach().clone()
    before, first.grad = first.detach().clone(), torch.ones(3)
    optimizer.step()
    assert torch.equal(second, stays), "a weight without gradient has moved"
    decayed = 1 + settings.get("weight_decay", 0) * before
    again = 1 + settings.get("nesterov", 0) * settings.get("momentum", 0)
    assert_close(first.detach(), before - settings["lr"] * again * decayed)


def _forgets(net: nn.Module, optimizer: Any) -> None:
    """After zero_grad a step goes by the new gradients alone."""
    found = []
    for _ in range(2):
        optimizer.zero_grad()
        net(torch.ones(1, 64)).sum().backward()
        found.append([p.grad.clone() for p in net.parameters()])
    assert_close(*found, atol=0, rtol=0)
    other = torch.optim.SGD(copies := _copies(net), lr=0.1, momentum=0.5)
    optimizer.step()
    other.step()
    assert_close([*net.parameters()], copies)


def _copies(net: nn.Module) -> list[nn.Parameter]:
    copies = [nn.Parameter(p.detach().clone()) for p in net.parameters()]
    for copy, parameter in zip(copies, net.parameters(), strict=True):
        copy.grad = parameter.grad.clone()
    return copies


def learn() -> Cases:
    """In each turn: the loss, zero_grad, backward, step. Which comes first?

    zero_grad may stand anywhere but between backward() and step().

    Keep loss.item(), not loss: a tensor would keep its whole graph.
    """
    for count in (1, 0, 2, 20):
        net, batches = network(1), _noise(count)
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        yield call(net, optimizer, batches), _losses(batches)
    net, batches = network(1), _noise(5)
    yield (
        call(net, BY_HAND(net.parameters(), lr=0.1), batches),
        _losses(batches, momentum=0),
    )


def _noise(count: int) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(8, 64), torch.randint(10, (8,))) for _ in range(count)]


def _losses(
    batches: list[tuple[Tensor, Tensor]], momentum: float = 0.9
) -> Callable[[Tensor], None]:
    """Those of a loop by torch.autograd.grad, which adds up nothing."""

    def look(losses: Tensor) -> None:
        net = network(1)
        weights, expected = [*net.parameters()], []
        velocities = [torch.zeros_like(weight) for weight in weights]
        for images, labels in batches:
            loss = F.cross_entropy(net(images), labels)
            gradients = torch.autograd.grad(loss, weights)
            expected.append(loss.item())
            with torch.no_grad():
                for w, v, g in zip(weights, velocities, gradients, strict=True):
                    v.mul_(momentum).add_(g)
                    w.sub_(0.1 * v)
        assert not losses.requires_grad, "a loss still holds its graph"
        assert_close(losses, torch.tensor(expected), atol=1e-4, rtol=1e-4)

    return look
