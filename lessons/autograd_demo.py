"""Autograd by hand.

Change an input of a calculation a little, and its output changes, too. The
gradient is what the output's change / the input's comes to, as both get
tiny. PyTorch notes each operation, such as + or *, on tensors made with
requires_grad=True. backward() walks back through these notes, from the
output, whose own gradient is 1. From a result to each of its parents, the
values it was made from, it multiplies; where two paths meet, it adds up:
    gradient of a parent = gradient of the result * local gradient
    (the result's change / the parent's; all other parents stay the same)

    python cli.py autograd-demo --step
"""

from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.embedded import photograph
from shared.figures import show_developing
from shared.graphs import graph_figure, graph_tree
from shared.options import LOGS, LogDir
from shared.practice import programs

WORDS = {
    "gradient": "the output's change / an input's, as both get tiny",
    "autograd": "the part of PyTorch that keeps the notes and walks back",
    "graph": "autograd's notes: which value was made from which, and how",
    "leaf": "a value of the graph that no operation made, such as an input",
    "backward": "the walk back; adds the gradient of each leaf to its .grad",
    "chain rule": "multiply along a path through the graph, add up all paths",
    "detach": "take a value's numbers only, without the graph behind it",
}
Whole = Annotated[int, typer.Option(min=-99, max=99, help="In (a * b + c)².")]
Rate = typer.Option("--lr", min=0.01, max=1, help="A step is lr * gradient.")
CASE = "p = a * b; s = p + c; y = s * s"  # y = (a * b + c)²


# ---- By hand ----------------------------------------------------------------
class Value:
    """A number that remembers its parents, the Values it was made from."""

    def __init__(self, number: float, *parents: tuple["Value", float]) -> None:
        self.number, self.grad = number, 0.0
        self.parents = parents  # each with its local gradient; a leaf has none

    def __add__(self, other: "Value") -> "Value":
        return Value(self.number + other.number, (self, 1.0), (other, 1.0))

    def __mul__(self, other: "Value") -> "Value":
        number = self.number * other.number
        return Value(number, (self, other.number), (other, self.number))

    def relu(self) -> "Value":  # negative numbers become 0
        return Value(max(self.number, 0.0), (self, float(self.number > 0)))

    def visit(self, order: list["Value"]) -> list["Value"]:
        """Append self to order, behind all that it was made from."""
        if self not in order:
            for parent, _ in self.parents:
                parent.visit(order)
            order.append(self)
        return order

    def backward(self) -> None:
        """Add to the grad of each Value how fast self changes with it."""
        order = self.visit([])  # parents before results, self last
        arrived = dict.fromkeys(order, 0.0) | {self: 1.0}
        for value in reversed(order):  # all that arrives here has arrived
            value.grad += arrived[value]
            for parent, local in value.parents:
                arrived[parent] += arrived[value] * local  # chain rule


def develop(negative: Tensor, photo: Tensor, lr: float, steps: int) -> Tensor:
    """Contrast, brightness and loss, before and after each step."""
    numbers = torch.zeros(2, requires_grad=True)
    path = []
    for _ in range(steps + 1):
        contrast, brightness = numbers
        loss = ((contrast * negative + brightness - photo) ** 2).mean()
        path.append([*numbers.tolist(), loss.item()])
        loss.backward()
        with torch.no_grad():  # no notes; else PyTorch refuses the next line
            numbers -= lr * numbers.grad
        numbers.grad = None  # backward() adds to what is there
    return torch.tensor(path)  # (steps + 1, 3)


# ---- Mistakes ---------------------------------------------------------------
def wrong_row() -> Tensor:
    """A scalar is a single number, of shape (), without a dimension. The walk
    back begins at one, whose gradient is 1; w * w has two."""
    w = torch.tensor([2.0, 3.0], requires_grad=True)
    (w * w).backward()
    return w.grad


def right_row() -> Tensor:
    """add w * w up, or take its mean(). The sum's gradients are 2 * w."""
    w = torch.tensor([2.0, 3.0], requires_grad=True)
    (w * w).sum().backward()
    return w.grad


def wrong_twice() -> Tensor:
    """4 and 4 were added up. backward() adds to grad, and so does Value's."""
    a = torch.tensor(2.0, requires_grad=True)
    (a * a).backward()
    (a * a).backward()
    return a.grad


def right_twice() -> Tensor:
    """empty grad between two walks, as develop() does after each step."""
    a = torch.tensor(2.0, requires_grad=True)
    (a * a).backward()
    a.grad = None
    (a * a).backward()
    return a.grad


def wrong_square() -> Tensor:
    """It should be 4: two paths, 2 on each. item() takes the number only, as
    detach() does. No graph is behind it: one path is lost, with no error."""
    a = torch.tensor(2.0, requires_grad=True)
    (a * a.item()).backward()
    return a.grad


def right_square() -> Tensor:
    """calculate with the tensor. item() and detach() are for what you print."""
    a = torch.tensor(2.0, requires_grad=True)
    (a * a).backward()
    return a.grad


# ---- The lesson -------------------------------------------------------------
def show_nudge(a: int, b: int, c: int) -> None:
    console.section(f"On paper: y = (a * b + c)² at a = {a}, b = {b}, c = {c}")
    y, more = (a * b + c) ** 2, ((a + 0.001) * b + c) ** 2
    console.say(f"{CASE}: p is {a * b}, s is {a * b + c}, y is {y}.")
    console.ask("a grows by 0.001. Does y grow or shrink, and by how much?")
    console.say(
        f"({a + 0.001:.3f} * {b} + {c})² = {more:.6f}. Change of y / change of "
        f"a: {more - y:.6f} / 0.001 = {(more - y) / 0.001:.3f}. The smaller "
        f"the change, the nearer this comes to {2 * b * (a * b + c)}, a's "
        "gradient. b and c would need runs of their own, and train-cifar's "
        "network 145,578. One run of class Value and one walk back find all:"
    )


def show_walk(a: int, b: int, c: int) -> dict[str, Value]:
    console.code(Value.__init__, Value.__add__, Value.__mul__, Value.relu)
    console.say(
        "If a grows by 0.001, a * b grows by b * 0.001: a's local gradient is "
        "b, and b's is a. In a sum both are 1. relu() has 1 above 0, else 0."
    )
    console.ask("s stands twice in y = s * s. What is the gradient of s?")
    console.code(Value.backward)
    graph = programs.run(CASE, map(Value, (a, b, c)))
    graph["y"].backward()
    console.console.print(graph_tree(CASE, graph))
    console.say(
        "Each product is the gradient of the line it branches off * a local "
        "gradient. Two paths lead from y to s, so two are added up. In PyTorch "
        "only leaves keep a gradient. Whole numbers are exact: expect 0."
    )
    programs.check(Value, [(CASE, [a, b, c])])
    return graph


def show_negative(photo: Tensor, lr: float) -> dict[str, Figure]:
    console.say(
        "photo is 20 x 20 grey pixels, from 0 (black) to 1 (white); negative "
        "is 1 - photo. Which contrast and brightness turn contrast * negative "
        "+ brightness into photo? -1 and 1: -1 * (1 - photo) + 1 is photo. "
        "develop() begins at 0 and 0, all black, and makes one number small, "
        "the loss: the mean over the pixels of (contrast * negative + "
        f"brightness - photo)². A step takes lr ({lr:g}) * gradient off both."
    )
    console.code(develop)
    console.ask("Contrast has to come to -1. Does step 1 move it up or down?")
    negative, grad = 1 - photo, (2 * -photo * (1 - photo)).mean()
    path = develop(negative, photo, lr, steps=100)
    figures = show_developing(negative, path)
    console.say(
        "On black each pixel is off by -photo. So contrast's gradient, the "
        f"mean of 2 * -photo * negative (2 as in s * s), is {grad:.3f}. Step 1 "
        f"moves contrast to 0 - {lr:g} * {grad:.3f} = {-lr * grad:.3f}: up, "
        "away from -1! A gradient tells only what a small change does at its "
        "own place. With --lr 1 the steps are too large."
    )
    console.agrees("contrast after step 1", path[1, 0], -lr * grad, 1e-6)
    return figures


def run(
    a: Whole = 2,
    b: Whole = -3,
    c: Whole = 10,
    lr: Annotated[float, Rate] = 0.3,
    logdir: LogDir = LOGS,
) -> None:
    """Find gradients by walking back, as autograd does."""
    console.opening(__doc__)
    console.words(WORDS)
    show_nudge(a, b, c)
    graph = show_walk(a, b, c)
    console.section("100 random calculations; here is one")
    programs.check(Value, programs.some(100), show=1)
    console.say("Changes only come near a gradient, so these were rounded.")
    console.section("What it is for: find the numbers that make a loss small")
    photo = F.avg_pool2d(photograph("china")[:, 20:180, 120:280], 8).mean(0)
    figures = {"graph": graph_figure(CASE, graph)} | show_negative(photo, lr)
    console.mistakes(__name__, RuntimeError)
    console.remember(
        "import torch; w = torch.tensor(2.0, requires_grad=True)  # a leaf",
        "loss = (w - 5) ** 2; loss.backward()  # w.grad is 2 * (2 - 5) = -6",
        "with torch.no_grad(): w -= 0.1 * w.grad; w.grad = None  # w is 2.6",
    )
    console.say(
        "Exercise: write div(x, y), the Value of x / y, in a file beside "
        "cli.py; from lessons.autograd_demo import Value. div(x, y).backward() "
        "at Value(12.0), Value(4.0) has to leave grads 0.25 and -0.75."
    )
    with board("autograd-demo", logdir, "IMAGES: all three") as writer:
        for name, figure in figures.items():
            writer.add_figure(name, figure)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
