"""Steps measured by the usual gradient: Adam and AdamW by hand.

SGD's step grows with the gradient. Adam divides by the gradient's usual
size. For each weight it keeps two moments, which begin at 0:
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient²
That start keeps them too near 0. So, at step n, mean = first / (1 - 0.9ⁿ)
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
    "moment": "a sum of gradients (first) or squares (second); old ones fade",
    "Adam": "an optimizer; divides the first moment by the root of the second",
    "AdamW": "Adam; its weight decay changes the weight, not the gradient",
}
Rate = typer.Option(
    "--lr", min=0.001, max=10, callback=options.finite, help="On paper."
)
Budget = typer.Option(min=1, max=50, help="Of 23 steps each, for the race.")
Moments = tuple[Tensor, Tensor, int]  # first, second, steps so far
RATES = [0.01, 0.03, 0.1, 0.3, 1]  # of the race


# ---- By hand ----------------------------------------------------------------
def adam_step(
    weight: Tensor, gradient: Tensor, moments: Moments, lr: float, eps: float
) -> tuple[Tensor, Moments]:
    first, second, n = moments
    n = n + 1
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    mean = first / (1 - 0.9**n)  # what the start at 0 hid
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
                moments, settings = self.moments[i], (self.lr, self.eps)
                pair = self.decayed(weight)
                new, self.moments[i] = adam_step(*pair, moments, *settings)
                weight.copy_(new)

    def decayed(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and gradient for adam_step; decay joins in, as SGD's does."""
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
    0.005², rounded to 0, and 0.005 / 0 is infinite."""
    net, (batches, _) = network(0).half(), draws[0]
    halves = [(images.half(), labels) for images, labels in batches]
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    return learn(net, adam, halves)[:3].tolist()  # three losses


def right_half(draws: list[Draw]) -> list[float]:
    """leave weights, and so gradients and moments, in float32. (eps=1e-7 fails,
    too: second is still 0, and a step 0.01 * 0.005 / 0.00000012, about 420.)"""
    net, (batches, _) = network(0), draws[0]
    adam = torch.optim.Adam(net.parameters(), lr=0.01)
    return learn(net, adam, batches)[:3].tolist()


def wrong_epoch(draws: list[Draw]) -> str:
    """Each epoch's new moments make a first step of about lr, unless the
    gradient is tiny: in the last epoch a fifth to a third of the weights moved
    by more than 0.09; with the old ones, none. (At lr 0.01 spreads overlap.)"""
    highest = []  # loss in the last epoch, of each of five networks
    for net, epochs in moments.with_networks(draws):
        for batches in epochs:
            adam = torch.optim.Adam(net.parameters(), lr=0.1)
            losses = learn(net, adam, batches)
        highest.append(losses.max())
    return spread(torch.stack(highest), ".2f")


def right_epoch(draws: list[Draw]) -> str:
    """build the optimizer once; a restart loads its state_dict(), too."""
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
        "n = 1: mean is 0.05 / 0.1 = 0.5, square 0.00025 / 0.001 = 0.25, its "
        f"root 0.5, the step lr * 0.5 / 0.5 = lr: 1 - {lr:g} = {1 - lr:.5g}. "
        "n = 2: first is 0.9 * 0.05 - 0.1 * 0.5 = -0.005, mean -0.005 / (1 - "
        "0.9²), square 0.00049975 / (1 - 0.999²) = 0.25. So the two gradients "
        f"nearly cancel: {1 - lr:.5g} + {lr:g} * 0.026316 / 0.5 = {weight:.5g}."
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
        f"SGD goes to 1 - {lr:g} * 500 = {1 - lr * 500:.5g}. Adam's first step "
        "is lr by 0.5 as by 500. So its decay is lost there: it makes 0.5 + "
        "0.5 * 1 = 1 of 0.5. Where the gradient is 0, decay is all of it, and "
        "the step is lr. AdamW's decay isn't divided by anything: "
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
        "gradients are small there. From row to row √square grows to 75 "
        "times, SGD's moves to 0.14 / 0.004 = 35, Adam's to 0.23 / 0.16 = 1.4: "
        "1.2 without three pixels that are black in all images (gradient 0, no "
        "move). White: the largest of its picture."
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
        f"it, not the new digits: {moments.chosen(RATES, raced)}. (1 is the "
        "last of the table. SGD at 3, after 115 steps: 9.4 %.)"
    )
    columns, right = {"digits": 0, "units": 1}, moments.at_best(raced)
    spread_table(columns, right, ".1f")
    console.say(
        "units: the same digits, each pixel times a factor of its own, from "
        "0.1 to 10. Its weights' gradients have that factor, too (chain rule). "
        "Adam divides it out of its steps, but not out of weight * pixel: in "
        "115 steps it falls, too, and leads (by three other draws, too)."
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
            "Try several lr: 115 steps by 0.03 got 97.0 %, the default 86.5.",
        )
        console.say(
            "Exercise: betas are Adam's 0.9 and 0.999. Which rule is left by "
            "(0.0, 0.0)? Check: w = torch.ones(1, requires_grad=True), adam = "
            "torch.optim.Adam([w], 0.1, betas=(0.0, 0.0)). For each g of "
            "torch.randn(50, 1): w.grad = g; adam.step(). Your rule, with the "
            "same g, from 1, must end less than 0.0001 away."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
