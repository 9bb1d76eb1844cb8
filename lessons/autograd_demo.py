"""Autograd by hand.

Change an input of a calculation a little, and its output changes, too. The
output's change / the input's comes to the gradient, as both get tiny.
PyTorch notes each operation, such as + or *, on tensors that require grad.
Then it walks back through its notes, once, from the output to all inputs.
The output's own gradient is 1. From each result to its parents, the values
it was made from, it multiplies; where two paths meet, it adds up:
    gradient of a parent = gradient of the result * local gradient
    (local gradient: the result's change / the parent's, in this operation)

    python cli.py autograd-demo --step
"""

from decimal import Decimal
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
    "gradient": "the output's change / an input's, as the change gets tiny",
    "autograd": "the part of PyTorch that keeps the notes and walks back",
    "graph": "these notes: which value was made from which, and how",
    "leaf": "a value of the graph that no operation made, such as an input",
    "requires_grad": "True makes autograd note what is made from a tensor",
    "backward": "the walk from the output to the leaves; adds to their grad",
    "chain rule": "multiply along a path through the graph, add up all paths",
    "detach": "take a value's numbers only, without the graph behind it",
}
Whole = Annotated[int, typer.Option(min=-99, max=99, help="In (a * b + c)².")]
Rate = typer.Option("--lr", min=0.01, max=1, help="A step is lr * gradient.")
CASE = "p = a * b; s = p + c; y = s * s"  # y = (a * b + c)²
LOOK = "IMAGES: graph, developing, downhill"


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
    contrast = torch.tensor(0.0, requires_grad=True)
    brightness = torch.tensor(0.0, requires_grad=True)
    path = []
    for _ in range(steps + 1):
        loss = ((contrast * negative + brightness - photo) ** 2).mean()
        path.append([contrast.item(), brightness.item(), loss.item()])
        loss.backward()
        for number in (contrast, brightness):
            with torch.no_grad():  # else PyTorch refuses to overwrite a leaf
                number -= lr * number.grad
            number.grad = None  # backward() adds to what is there
    return torch.tensor(path)  # (steps + 1, 3)


# ---- Mistakes ---------------------------------------------------------------
def wrong_twice() -> Tensor:
    """The two gradients, 4 and 4, were added up. backward() adds to grad, and
    so does Value's. (Shape () has no dimension: it is a single number.)"""
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
    console.section("A case small enough for paper")
    console.say(f"y = (a * b + c)² at a = {a}, b = {b}, c = {c}:")
    *_, p, s, y = programs.run(CASE, (a, b, c)).values()
    console.say(f"p = a * b = {p}, s = p + c = {s}, y = s * s = {y}")
    console.ask("a grows by 0.001. How many times as much does y change?")
    small, tiny = Decimal("0.001"), Decimal("0.0001")  # exact, as on paper
    *_, tenth = programs.run(CASE, (a + tiny, b, c)).values()
    *_, p, s, more = programs.run(CASE, (a + small, b, c)).values()
    console.say(
        f"If a grows by {small}: p = {p:f}, s = {s:f}, y = {more:f}. Change "
        f"of y / change of a: {more - y:f} / {small} = {(more - y) / small:f}. "
        f"By {tiny}: {(tenth - y) / tiny:f}. As the change gets tiny this "
        f"comes to {2 * b * (a * b + c)}, a's gradient. b and c would need "
        "runs of their own. Class Value finds all three in one walk back:"
    )


def show_walk(a: int, b: int, c: int) -> dict[str, Value]:
    console.code(Value.__init__, Value.__add__, Value.__mul__, Value.relu)
    console.say(
        "Local gradients: p = a * b changes b times as much as a, and a times "
        "as much as b. A sum changes as much as each parent, 1 times. relu() "
        "does so above 0; below, its result stays 0, whatever its parent does."
    )
    console.ask("s stands twice in y = s * s. What is the gradient of s?")
    console.code(Value.backward)
    graph = programs.run(CASE, map(Value, (a, b, c)))
    graph["y"].backward()
    console.console.print(graph_tree(CASE, graph))
    console.say(
        "Each product is the gradient of the line it hangs on * a local "
        "gradient. Two paths lead from y to s: two products are added up."
    )
    programs.check(Value, [(CASE, [a, b, c])])
    return graph


def show_negative(photo: Tensor, lr: float) -> dict[str, Figure]:
    console.say(
        "photo is 20 x 20 grey pixels, from 0 (black) to 1 (white); negative "
        "is 1 - photo. Which contrast and brightness turn contrast * negative "
        "+ brightness into photo? You see it: -1 and 1. develop() begins at 0 "
        "and 0, all black, and makes one number small, the loss: the mean over "
        "the pixels of (contrast * negative + brightness - photo)². Each step "
        f"takes lr * gradient off both. lr, the learning rate, is {lr:g}."
    )
    console.code(develop)
    console.ask("Contrast has to come to -1. Does step 1 move it up or down?")
    negative, grad = 1 - photo, (2 * -photo * (1 - photo)).mean()
    path = develop(negative, photo, lr, steps=100)
    figures = show_developing(negative, path)
    console.say(
        "The loss begins at the mean of photo². On black each pixel is off by "
        "-photo, and contrast's gradient is the mean of 2 * -photo * negative "
        f"(2 as in s * s), {grad:.3f}. Step 1 moves contrast to 0 - {lr:g} * "
        f"{grad:.3f} = {-lr * grad:.3f}: up, away from -1! A gradient tells "
        "what a small change does at its own place: on black, brighter is "
        "better. With --lr 1 the steps are too large. train-cifar moves a "
        "network's 145,578 numbers, with one walk back a step."
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
    console.section("100 random calculations; here are two")
    programs.check(Value, programs.some(100), show=2)
    console.say(
        "Whole numbers are exact: 0 is what to expect. The second line moved "
        "each input by 0.0001, up and down: six runs of the calculation for "
        "three gradients, where the walk back needs one."
    )
    console.section("What it is for: find the numbers that make a loss small")
    photo = F.avg_pool2d(photograph("china")[:, 20:180, 120:280], 8).mean(0)
    figures = {"graph": graph_figure(CASE, graph)} | show_negative(photo, lr)
    console.mistakes(__name__)
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
    with board("autograd-demo", logdir, LOOK) as writer:
        for name, figure in figures.items():
            writer.add_figure(name, figure)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
