"""Random little calculations, to try what somebody wrote for gradients.

A program is lines of Python from a, b and c to y, such as "d = a * c; y =
d.relu()". It runs with whatever has +, * and relu(): with tensors, and with
objects of one's own.
"""

import random
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from shared import console

Case = tuple[str, list[float]]  # a program, and its a, b and c


def at_random(seed: int, steps: int) -> Case:
    """A program, and whole numbers from -3 to 3 for its a, b and c.

    With these no relu() stands at its corner, 0. Every line has a part in y,
    and so has every input: autograd would leave None, not 0, to another.
    """
    rng = random.Random(seed)
    program = ""
    while not {*"abc"} <= {*re.findall(r"\b[abc]\b", program)}:
        program = _lines(rng, steps)
    while True:
        inputs = [float(rng.randint(-3, 3)) for _ in "abc"]
        if not run(program, map(_Plain, inputs))["y"].corners:
            return program, inputs


def _lines(rng: random.Random, steps: int) -> str:
    names, lines = [*"abc"], []
    for name in [*"defghijklmnop"[: steps - 1], "y"]:
        other, last = rng.choice(names), names[-1]
        made = [f"{other} + {last}", f"{other} * {last}"] * 2
        lines.append(f"{name} = {rng.choice([*made, f'{last}.relu()'])}")
        names.append(name)
    return "; ".join(lines)


def some(count: int) -> list[Case]:
    """Random programs of three steps, then of four and more, up to seven.

    The first of them, number 64, is good for paper.
    """
    return [at_random(64 + n, 3 + 5 * n // count) for n in range(count)]


def run(program: str, inputs: Iterable[Any]) -> dict[str, Any]:
    """Everything that a program has by name at its end, a, b and c first."""
    names = dict(zip("abc", inputs, strict=True))
    exec(program, {}, names)
    return names


def leaf(number: float) -> Tensor:
    return torch.tensor(number, dtype=torch.float64, requires_grad=True)


def walk(case: Case, kind: Callable[[float], Any]) -> list[float]:
    """The gradients of a, b and c that y.backward() leaves.

    kind makes a leaf of a number: leaf, or a class of one's own.
    """
    program, inputs = case
    leaves = [kind(number) for number in inputs]
    run(program, leaves)["y"].backward()
    return [float(leaf.grad) for leaf in leaves]


def nudge(case: Case, change: float = 1e-5) -> list[float]:
    """Change of y / change of input, for a, b and c: six runs of a program.

    Each is moved up and down from where it is, and the bend of y evens out.
    """
    program, inputs = case

    def y(place: int, by: float) -> float:
        moved = [n + by * (i == place) for i, n in enumerate(inputs)]
        return run(program, map(_Plain, moved))["y"]

    return [(y(i, change) - y(i, -change)) / (2 * change) for i in range(3)]


def check(
    kind: Callable[[float], Any], cases: list[Case], show: int = 0
) -> None:
    """Compare the gradients of a class with autograd's; of many, by nudging.

    The first cases, as many as show says, are printed with their gradients.
    """
    ours, theirs, near = (
        torch.tensor([find(case) for case in cases], dtype=torch.float64)
        for find in (partial(walk, kind=kind), partial(walk, kind=leaf), nudge)
    )
    rows = [
        (program, *map(int, inputs), *(f"{grad + 0:.0f}" for grad in grads))
        for (program, inputs), grads in zip(cases, ours.tolist(), strict=True)
    ]
    if show:
        columns = [*"abc", "a.grad", "b.grad", "c.grad"]
        console.table(["calculation", *columns], rows[:show])
    what = f"{ours.numel()} gradients"
    console.agrees(f"{what} = autograd's", ours, theirs, 0)
    if len(cases) > 1:
        how = "by changes of 0.00001, rounded to 0.01"
        console.agrees(f"{what} = {how}", ours, near.round(decimals=2), 0)


class _Plain(float):
    """A number with relu(), which counts the corners that it came by."""

    corners = 0

    def _made(self, number: float, *others: "_Plain") -> "_Plain":
        made = _Plain(number)
        made.corners = self.corners + sum(other.corners for other in others)
        return made

    def __add__(self, other: "_Plain") -> "_Plain":
        return self._made(float(self) + float(other), other)

    def __mul__(self, other: "_Plain") -> "_Plain":
        return self._made(float(self) * float(other), other)

    def relu(self) -> "_Plain":
        made = self._made(max(float(self), 0.0))
        made.corners += self == 0
        return made
