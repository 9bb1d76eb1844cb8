"""Downhill, step by step: SGD by hand.

A weight's gradient says how the loss changes with it. A step moves each
weight against it; the velocity keeps some of the gradients before:
    velocity = momentum * velocity + gradient
    weight = weight - lr * velocity
A batch's gradient stands in for that of all images. As a rule batches are
drawn by chance, in other words stochastic: stochastic gradient descent.

    python cli.py sgd-demo --step
"""

from collections.abc import Iterable
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from shared import console, figures, options
from shared.board import board
from shared.graphs import operations
from shared.practice import descent
from shared.practice.descent import Batch, network, walks, ways
from shared.seeds import SEEDS, shares_right, spread, spread_table

WORDS = {
    "optimizer": "it holds the weights, and moves them by their gradients",
    "step": "one move of all the weights, by the gradients of one batch",
    "learning rate": "lr: a step changes a weight by -lr * velocity",
    "momentum": "the share of the velocity that is kept for the next step",
    "weight decay": "a pull to 0: weight_decay * weight joins the gradient",
    "diverge": "to get away from the goal, further with each step",
}
Rate = typer.Option("--lr", min=0.001, max=10, callback=options.finite)


# ---- By hand ----------------------------------------------------------------
def sgd_step(
    weight: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    lr: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """The velocity is a gradient that remembers those before it."""
    velocity = momentum * velocity + gradient
    return weight - lr * velocity, velocity  # against the velocity


class SGD:
    momentum, weight_decay, nesterov = 0.0, 0.0, False  # or as settings say

    def __init__(self, weights: Iterable[Tensor], **settings: float) -> None:
        self.weights = list(weights)
        self.velocities = [torch.zeros_like(w) for w in self.weights]
        vars(self).update(settings)  # self.lr and others

    def zero_grad(self) -> None:
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()  # a step is no part of the graph
    def step(self) -> None:
        v, rates = self.velocities, (self.lr, self.momentum)
        for i, weight in enumerate(self.weights):
            if weight.grad is not None:  # None: the loss does without it
                gradient = weight.grad + self.weight_decay * weight
                new, v[i] = sgd_step(weight, gradient, v[i], *rates)
                if self.nesterov:  # the same, with the new velocity
                    new, _ = sgd_step(weight, gradient, v[i], *rates)
                weight.copy_(new)


def learn(net: nn.Module, optimizer: Any, batches: list[Batch]) -> Tensor:
    losses = []
    for images, labels in batches:
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()  # forget the gradients of the last batch
        loss.backward()  # the gradient of each weight
        optimizer.step()  # sgd_step, for every weight
        losses.append(loss.item())  # the number, without its graph
    return torch.tensor(losses)  # each before its step


# ---- Mistakes ---------------------------------------------------------------
def wrong_loop(batches: list[Batch], test: Batch) -> str:
    """No zero_grad(). Each step goes by the sum of all gradients so far."""
    for net in (nets := [network(seed) for seed in SEEDS]):
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        for images, labels in batches:
            F.cross_entropy(net(images), labels).backward()
            optimizer.step()
    return "right: " + spread(shares_right(nets, test), ".0%")


def right_loop(batches: list[Batch], test: Batch) -> str:
    """zero_grad() in each turn, before backward(), as learn does."""
    for net in (nets := [network(seed) for seed in SEEDS]):
        optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def wrong_layer(batches: list[Batch], test: Batch) -> str:
    """The optimizer holds a layer that is gone. The new one never moves."""
    for net in (nets := [network(seed) for seed in SEEDS]):
        optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
        net[2] = nn.Linear(32, 10)  # we want a new last layer, and train it
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def right_layer(batches: list[Batch], test: Batch) -> str:
    """build the optimizer when the network is complete."""
    for net in (nets := [network(seed) for seed in SEEDS]):
        net[2] = nn.Linear(32, 10)
        optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def wrong_total(net: nn.Module, batches: list[Batch]) -> int:
    """total holds 100 graphs of 8 operations, and 4 leaves. Memory fills up
    with what each of them has kept for backward()."""
    total = sum(F.cross_entropy(net(x), y) for x, y in batches[:100])
    return operations(total)


def right_total(net: nn.Module, batches: list[Batch]) -> int:
    """add up numbers. item() leaves the graph behind, and it is freed."""
    total = sum(F.cross_entropy(net(x), y).item() for x, y in batches[:100])
    return operations(total)


# ---- The lesson -------------------------------------------------------------
def show_paper_case(lr: float, momentum: float) -> None:
    console.section("On paper: one weight w, its loss w², its gradient 2 * w")
    console.code(sgd_step)
    console.ask("From w = 1: where is it after one step? After two?")
    settings, one = ways(lr, momentum, decay=0.5), torch.ones(1).double()
    descent.show_steps(walks(SGD, settings, one, one), [0, 1, 2, 3, 4, 50])
    w, again = 1 - lr * 2, momentum * 2 + 2
    v = momentum * 2 + 2 * w
    console.say(
        f"SGD: 1 - {lr:g} * 2 = {w:.4g}. Momentum: the second velocity is "
        f"{momentum:g} * 2 + 2 * {w:.4g} = {v:.4g}, and {w:.4g} - {lr:g} * "
        f"{v:.4g} = {w - lr * v:.4g}. Nesterov puts the new velocity, 2, into "
        f"the formula again: {momentum:g} * 2 + 2 = {again:.4g}, 1 - {lr:g} * "
        f"{again:.4g} = {1 - lr * again:.4g}. With weight decay 0.5 the "
        f"gradient is 2 + 0.5 * 1, and 1 - {lr:g} * 2.5 = {1 - lr * 2.5:.4g}. "
        "SGD multiplies w by 1 - 2 * lr. It diverges with 1.1: 1, -1.2, 1.44."
    )
    pair = (walks(k, settings, one, one, 2) for k in (SGD, torch.optim.SGD))
    console.agrees("2 steps in 4 ways = torch.optim.SGD", *pair, 1e-9)


def show_network() -> None:
    console.section("50 steps for digits: Linear(64, 32), ReLU, Linear(32, 10)")
    console.code(SGD.step, learn)
    for name, some in ways(0.1, 0.9, decay=0.01).items():
        pair = (descent.trained(learn, k, some) for k in (SGD, torch.optim.SGD))
        console.agrees(f"{name}, all 2,410 parameters", *pair, 1e-5)


def log_run(run: str, settings: dict, losses: Tensor, results: dict) -> None:
    with SummaryWriter(run) as writer:
        for step, loss in enumerate(losses):
            writer.add_scalar("loss/train", loss, step)
        writer.add_hparams(settings, results, run_name=".")  # the same run


def show_rates(run: str, lr: float, momentum: float, data: tuple) -> Figure:
    console.section(f"Measured: five learning rates, momentum {momentum:g}")
    rates = [lr * 10**k for k in range(-2, 3)]
    console.ask(f"What does a rate of {rates[0]:g} do? And {rates[-1]:g}?")
    ends, firsts = descent.try_rates(learn, rates, momentum, data)
    spread_table(descent.ENDS, ends, ".3g")
    largest, dead = f"lr {rates[-1]:g}", ends[f"lr {rates[-1]:g}"][:, 3].sum()
    console.say(
        "115 steps; last loss: the mean of the last 23; right: of 297 new "
        "digits. 2.30 = ln 10 is guessing. A rate is too small if the loss "
        "hardly leaves it, too large if it jumps up. A jump can push numbers "
        "below 0 for all digits: ReLU makes them 0, and no gradient brings "
        f"them back. After {largest} this is so for {dead:.0f} of 5 * 32."
    )
    console.code(log_run)
    for name, first in firsts.items():
        log_run(f"{run}/{name}", *first)
    return descent.curves_figure(firsts)


def show_valley(lr: float, momentum: float) -> Figure:
    console.section("A valley: loss = 0.1 * x² + 9 * y², from x = -9, y = 1")
    console.ask("Whose loss is smallest after 50 steps? Will all fall?")
    steepness, start = torch.tensor([[0.1, 9], [-9, 1]]).double()
    paths = walks(SGD, ways(lr, momentum), steepness, start)
    figure = figures.show_valley(steepness, paths)
    console.say(
        "SGD multiplies y by 1 - 18 * lr in each step, x by 1 - 0.2 * lr: what "
        "y bears is small for x. Momentum adds up x's gradients, while y's "
        "change sign. They diverge from lr 0.112 on (SGD), 0.212 (momentum "
        "0.9), 0.076 (Nesterov, with 0.9)."
    )
    return figure


def run(
    lr: Annotated[float, Rate] = 0.1,
    momentum: options.Momentum = 0.9,
    logdir: options.LogDir = options.LOGS,
) -> None:
    """Step downhill by hand, as SGD and momentum do."""
    console.opening(__doc__)
    console.words(WORDS)
    batches, test = data = descent.digit_batches(epochs=5)
    show_paper_case(lr, momentum)
    show_network()
    with board("sgd-demo", logdir, "HPARAMS, SCALARS, IMAGES") as writer:
        rates = show_rates(writer.log_dir, lr, momentum, data)
        writer.add_figure("rates", rates)
        writer.add_figure("valley", show_valley(lr, momentum))
        console.mistakes(__name__, batches=batches, test=test, net=network(0))
        console.remember(
            "optimizer = torch.optim.SGD(model.parameters(), lr, momentum)",
            "loss = F.cross_entropy(model(images), labels)  # of a batch",
            "optimizer.zero_grad(); loss.backward(); optimizer.step()",
        )
        console.say(
            "Exercise: on w², SGD diverges beyond lr 1. Beyond which --lr does "
            "momentum 0.9? And another --momentum? Find a rule."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
