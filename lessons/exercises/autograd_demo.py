"""Cases for lessons/autograd_demo.py."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.autograd_demo import CASE
from shared.practice import programs
from shared.practice.cases import Cases, call


def Value() -> Cases:
    """Keep the number, a grad of 0.0, and the pairs that were handed over.

    a + b hands over (a, 1.0) and (b, 1.0): a sum changes as much as a does.
    What is the local gradient of a in a * b? And in relu, above 0 and below?

    backward starts with 1.0 at self. Each value passes on what has arrived at
    it, times the local gradient, to each of its parents, where it is added.

    A value must not pass on before all that uses it has. Visit the parents
    first and append self last; then walk through that order backwards.

    The sums of one walk are not those of the next: keep what arrives in a
    dictionary, and add it to grad, which keeps what it had.
    """
    yield call(3.0), _holds
    yield call(3.0), partial(_gradients, "y = a", (3.0,), (1.0,))
    yield call(3.0), partial(_gradients, "y = a + b", (3.0, 4.0), (1.0, 1.0))
    yield call(3.0), partial(_gradients, "y = a * b", (3.0, 4.0), (4.0, 3.0))
    yield call(3.0), partial(_gradients, "y = a + a", (3.0,), (2.0,))
    yield call(3.0), partial(_gradients, "y = a * a", (3.0,), (6.0,))
    for number, grad in ((3.0, 1.0), (-3.0, 0.0), (0.0, 0.0)):
        yield (
            call(number),
            partial(_gradients, "y = a.relu()", (number,), (grad,)),
        )
    yield call(2.0), partial(_gradients, CASE, (2, -3, 10), (-24, 16, 8))
    late = "d = a + a; e = d * b; y = d + e"  # d must wait for e
    yield call(2.0), partial(_gradients, late, (2.0, 3.0), (8.0, 4.0))
    doubled = "; ".join(["d = a + a", *["d = d + d"] * 39, "y = d"])
    yield call(1.0), partial(_gradients, doubled, (1.0,), (2.0**40,))
    yield call(3.0), _adds_up
    for seed in range(30):
        program, inputs = programs.at_random(seed, steps=3 + seed % 5)
        found = programs.walk((program, inputs), programs.leaf)
        yield call(1.0), partial(_gradients, program, inputs, found)


def _holds(value: Any) -> None:
    assert (value.number, value.grad) == (3.0, 0.0)


def _gradients(program: str, inputs: Any, wanted: Any, value: Any) -> None:
    """Run a program with leaves of the class of value, and walk back."""
    leaves = dict(zip("abc", map(type(value), inputs), strict=False))
    names = dict(leaves)
    exec(program, {}, names)
    number = names["y"].number
    names["y"].backward()
    plain = dict(
        zip("abc", map(programs.leaf, map(float, inputs)), strict=False)
    )
    exec(program, {}, plain)
    assert number == plain["y"].item(), f"{program}: y is {number}"
    for (name, leaf), grad in zip(leaves.items(), wanted, strict=True):
        told = f"{program}: the grad of {name} is {leaf.grad}, not {grad}"
        assert leaf.grad == grad, told
        assert leaf.number == plain[name].item(), f"{name} has changed"


def _adds_up(value: Any) -> None:
    """Two walks through one graph, and one through another, add up in a."""
    kind = type(value)
    a, unused = kind(3.0), kind(5.0)
    square = a * a
    fourth = square * square
    for _ in range(2):
        fourth.backward()
    assert a.grad == 2 * 108, f"two walks of 108 each left {a.grad}"
    (a + a).backward()
    assert a.grad == 2 * 108 + 2
    assert unused.grad == 0


def develop() -> Cases:
    """First compute the loss. Write it down, behind the two numbers.

    loss.backward() leaves a grad for each number. Take lr times its own off
    each, under torch.no_grad().

    Empty grad before the next walk. steps steps make steps + 1 rows.
    """
    black, white = torch.zeros(1, 1), torch.ones(1, 1)
    first = [[0.0, 0.0, 1.0], [0.0, 0.5, 0.25], [0.0, 0.75, 0.0625]]
    yield call(black, white, 0.25, 2), Tensor(first)
    yield call(white, white, 0.25, 0), Tensor([[0.0, 0.0, 1.0]])
    for shape in ((2, 3), (20, 20), (1, 7)):
        for lr in (0.0, 0.1, 0.3, 0.9):
            negative, photo = torch.rand(shape), torch.rand(shape)
            found = _with_sgd(negative, photo, lr, 5)
            yield call(negative, photo, lr, 5), partial(_near, found)
    negative = torch.rand(4, 3).T  # not contiguous
    found = _with_sgd(negative, 1 - negative, 0.3, 60)
    yield call(negative, 1 - negative, 0.3, 60), partial(_near, found)
    double = torch.rand(3, 3, dtype=torch.float64)
    found = _with_sgd(double, 1 - double, 0.3, 5)
    yield call(double, 1 - double, 0.3, 5), partial(_near, found)
    half = torch.rand(3, 3).half()
    found = _with_sgd(half, 1 - half, 0.3, 5)
    yield call(half, 1 - half, 0.3, 5), partial(_near, found, off=1e-2)


def _with_sgd(negative: Tensor, photo: Tensor, lr: float, steps: int) -> Tensor:
    numbers = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([numbers], lr)
    rows = []
    for _ in range(steps + 1):
        made = numbers[0] * negative + numbers[1]
        loss = F.mse_loss(made, photo)
        rows.append([*numbers.tolist(), loss.item()])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.tensor(rows)


def _near(expected: Tensor, path: Tensor, off: float = 1e-4) -> None:
    torch.testing.assert_close(path, expected, rtol=off, atol=off / 10)
