"""Steps measured by the usual gradient: Adam and AdamW by hand.

SGD's step grows with the gradient. Adam divides by the gradient's usual
size. For each weight it keeps two moments, which begin at 0:
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient²
That start makes them too small. So, at step n, mean = first / (1 - 0.9ⁿ)
and square = second / (1 - 0.999ⁿ): the means of gradients and of squares.
    weight = weight - lr * mean / (√square + eps)
√square is the usual size; eps, 0.00000001, avoids a division by 0.

    python cli.py adam-demo --step
"""

from collections.abc import Iterable
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor

from shared import console, options
from shared.board import board
from shared.practice import moments
from shared.practice.moments import Draw, learn, network
from shared.seeds import say_leaders, spread, spread_table

WORDS = {
    "moment": "a mean; old gradients fade in it (first), or squares (second)",
    "Adam": "an optimizer; divides the first moment by the root of the second",
    "AdamW": "Adam; its weight decay changes the weight, not the gradient",
}
Rate = typer.Option(
    "--lr", min=0.001, max=10, callback=options.finite, help="On paper."
)
Budget = typer.Option(min=1, max=50, help="Of 23 steps each, for the race.")
Moments = tuple[Tensor, Tensor, int]  # first, second, steps so far
RATES = [0.003, 0.01, 0.03, 0.1, 0.3, 1]  # of the race


# ---- By hand ----------------------------------------------------------------
def adam_step(
    weight: Tensor, gradient: Tensor, moments: Moments, lr: float, eps: float
) -> tuple[Tensor, Moments]:
    first, second, n = moments
    n = n + 1
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    mean = first / (1 - 0.9**n)  # without the start at 0
    square = second / (1 - 0.999**n)
    return weight - lr * mean / (square.sqrt() + eps), (first, second, n)


class Adam:
    lr, eps, weight_decay = 0.001, 1e-8, 0.0  # or as settings say

    def __init__(self, weights: Iterable[Tensor], **settings: float) -> None:
        self.weights = list(weights)
        zeros = [torch.zeros_like(weight) for weight in self.weights]
        self.moments = [(zero, zero, 0) for zero in zeros]
        vars(self).update(settings)  # self.lr = ..., and so on

    def zero_grad(self) -> None:
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()  # a step is no part of the graph
    def step(self) -> None:
        for i, weight in enumerate(self.weights):
            if weight.grad is not None:  # None: the loss does without it
                moments, rates = self.moments[i], (self.lr, self.eps)
                pair = self.decayed(weight)
                new, self.moments[i] = adam_step(*pair, moments, *rates)
                weight.copy_(new)

    def decayed(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """For adam_step. Adam's decay joins the gradient, as SGD's does."""
        return weight, weight.grad + self.weight_decay * weight


class AdamW(Adam):
    weight_decay = 0.01  # PyTorch's default, too; Adam's is 0

    def decayed(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return weight - self.lr * self.weight_decay * weight, weight.grad


# ---- Mistakes ---------------------------------------------------------------
def wrong_half(draws: list[Draw]) -> list[float]:
    """eps became 0: half() makes float16, and its smallest number above 0 is
    0.00000006. At a pixel that is black in the batch the gradient is 0, and 0 /
    (0 + 0) is nan, not a number. A gradient of 0.005 makes second 0.001 *
    0.005², rounded to 0, and 0.005 / 0 is infinite. (Here: three losses.)"""
    net, (batches, _) = network(0).half(), draws[0]
    halves = [(images.half(), labels) for images, labels in batches]
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    return learn(net, adam, halves)[:3].tolist()


def right_half(draws: list[Draw]) -> list[float]:
    """leave weights, and so gradients and moments, in float32. (eps=1e-7 fails,
    too: second is still 0, and 0.01 * 0.005 / 0.00000012 about 420.)"""
    net, (batches, _) = network(0), draws[0]
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    return learn(net, adam, batches)[:3].tolist()


def wrong_epoch(draws: list[Draw]) -> str:
    """Each epoch began with new moments. A new Adam's first step is about lr
    wherever the gradient is well above eps. In the last epoch it moved a fifth
    to a third of the weights by more than 0.09; with the old moments, none."""
    highest = []  # loss in the last of five epochs
    for net, epochs in moments.with_networks(draws):
        for batches in epochs:
            adam = torch.optim.Adam(net.parameters(), lr=0.1)
            losses = learn(net, adam, batches)
        highest.append(losses.max())
    return spread(torch.stack(highest), ".2f")


def right_epoch(draws: list[Draw]) -> str:
    """build the optimizer once. (At lr 0.01 the two spreads overlap.)"""
    highest = []
    for net, epochs in moments.with_networks(draws):
        adam = torch.optim.Adam(net.parameters(), lr=0.1)
        for batches in epochs:
            losses = learn(net, adam, batches)
        highest.append(losses.max())
    return spread(torch.stack(highest), ".2f")


# ---- The lesson -------------------------------------------------------------
def show_paper_case(lr: float) -> None:
    console.section("On paper: a weight of 1, its gradients 0.5, then -0.5")
    console.code(adam_step)
    console.ask("Where is the weight after the first step? After the second?")
    columns, rows, weight = moments.two_steps(adam_step, lr)
    console.table(columns, rows)
    console.say(
        "n = 1: mean is 0.05 / (1 - 0.9) = 0.5, square 0.00025 / (1 - 0.999) = "
        "0.25. Its root is 0.5, so the step is lr * 0.5 / 0.5 = lr: 1 - "
        f"{lr:g} = {1 - lr:.5g}. n = 2: first is 0.9 * 0.05 - 0.1 * 0.5 = "
        "-0.005, divided by 1 - 0.9² = 0.19. The root is still 0.5: "
        f"{1 - lr:.5g} + {lr:g} * 0.026316 / 0.5 = {weight:.5g}. Opposed "
        "gradients make a small step."
    )
    theirs = moments.two_steps_by_pytorch(lr)
    console.agrees("2 steps = torch.optim.Adam", weight, theirs, 1e-9)


def show_first_steps(lr: float) -> None:
    console.section("One step from weight 1, and weight decay in two places")
    console.code(Adam.decayed, AdamW)
    console.ask("Where is it after a gradient of 0? 0.5? 500? With decay 0.5?")
    ours = moments.first_steps(Adam, AdamW, lr)
    rows = zip(moments.FIRST, *ours.values(), strict=True)
    console.table(["gradient", *ours], ([f"{x:.5g}" for x in r] for r in rows))
    console.say(
        "By 0.5 as by 500, Adam's first step is lr. So its decay is lost "
        "there: it makes 0.5 + 0.5 * 1 = 1 of 0.5. Where the gradient is 0, "
        "decay is all of it, and the step is lr. (Decay 0.000001: nearly.) "
        "AdamW's decay isn't divided by anything: "
        f"1 - {lr:g} * 0.5 * 1 = {1 - lr * 0.5:.5g}. Then comes Adam's step."
    )
    theirs = moments.first_steps(torch.optim.Adam, torch.optim.AdamW, lr)
    console.agrees("this table = torch.optim", ours, theirs, 1e-9)
    moments.agree_for_50_steps(Adam, AdamW)  # with those of torch.optim


def show_usual() -> Figure:
    console.section("50 steps for digits: Linear(64, 32), ReLU, Linear(32, 10)")
    console.ask("Which of the 64 pixels have small gradients? Who moves them?")
    columns = moments.pixels(Adam)
    console.table(["pixels by √square", *columns], moments.pixel_rows(columns))
    console.say(
        "Means over the weights of 16 pixels, by the rates that are best for "
        "115 steps. Few images have ink at the left or right edge, so "
        "gradients are small there. From row to row SGD's moves grow to "
        "0.14 / 0.004 = 35 times, Adam's to 0.23 / 0.16 = 1.4. (Three pixels "
        "are black in all images: gradient 0, no move. White: the largest of "
        "its picture.)"
    )
    return moments.pixels_figure(columns)


def show_race(epochs: int) -> Figure:
    console.section(f"Measured: % of 297 new digits, after {23 * epochs} steps")
    console.ask("Which of the three wins?")
    raced = moments.races(RATES, epochs)  # digits, and units
    names = {name: place for place, name in enumerate(moments.KINDS)}
    spread_table(names, moments.by_rate(RATES, raced["digits"]), ".1f")
    console.say(
        "10 % is guessing; momentum is SGD with 0.9. Don't compare along a "
        "row: each needs a rate of its own. The loss of the last epoch chose "
        f"it, not the new digits: {moments.chosen(RATES, raced)}. (SGD at lr "
        "3, after 115 steps: 9.4 %.)"
    )
    columns, right = {"digits": 0, "units": 1}, moments.at_best(raced)
    spread_table(columns, right, ".1f")
    console.say(
        "units: the same digits, each pixel times a factor of its own, from "
        "0.1 to 10. Its weights' gradients have that factor, too (chain rule); "
        "Adam divides it away. (115 steps, three other draws: Adam leads, too.)"
    )
    say_leaders('"Adam is best"', columns, right)
    return moments.rates_figure(RATES, raced)


def run(
    lr: Annotated[float, Rate] = 0.1,
    epochs: Annotated[int, Budget] = 5,
    logdir: options.LogDir = options.LOGS,
) -> None:
    """Write Adam and AdamW; race them against plain SGD."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case(lr)
    show_first_steps(lr)
    with board("adam-demo", logdir, "IMAGES: usual, rates") as writer:
        writer.add_figure("usual", show_usual())
        writer.add_figure("rates", show_race(epochs))
        console.mistakes(__name__, draws=moments.digit_draws(epochs=5))
        console.remember(
            "optimizer = torch.optim.AdamW(model.parameters(), lr=0.03)",
            "The loop stays SGD's: zero_grad(), loss.backward(), step().",
            "Try several lr: 0.001, the default, gets 86.5 % here, 0.03 97.0.",
        )
        console.say(
            "Exercise: what rule is Adam with betas=(0.0, 0.0), not 0.9 and "
            "0.999? Check: w = torch.ones(1, requires_grad=True), adam = "
            "torch.optim.Adam([w], 0.1, betas=(0.0, 0.0)). For each g of "
            "torch.randn(50, 1): w.grad = g; adam.step(). Your rule, with the "
            "same g, from 1, must end less than 0.0001 away."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
