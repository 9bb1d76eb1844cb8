"""Downhill, step by step: SGD by hand.

A gradient says how the loss changes with a weight. A step moves each weight
against its velocity: that is 0 at the start, and then a share (momentum) of
what it was, plus the new gradient. Stochastic gradient descent draws its
batches by chance; a batch's gradient stands in for that of all images.
    velocity = momentum * velocity + gradient
    weight = weight - lr * velocity

    python cli.py sgd-demo --step
"""

from collections.abc import Iterable
from typing import Annotated, Any

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console, options
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
    "diverge": "to get away from the goal, further and further",
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
        vars(self).update(settings)  # lr=0.1 becomes self.lr, and so on

    def zero_grad(self) -> None:
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()  # a step is no part of the graph
    def step(self) -> None:
        v, rates = self.velocities, (self.lr, self.momentum)
        for i, weight in enumerate(self.weights):
            if weight.grad is not None:  # None: no part of the loss
                gradient = weight.grad + self.weight_decay * weight
                new, v[i] = sgd_step(weight, gradient, v[i], *rates)
                if self.nesterov:  # again, with the new velocity
                    new, _ = sgd_step(weight, gradient, v[i], *rates)
                weight.copy_(new)  # in place: the network holds it


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
    """No zero_grad(). grad adds up all gradients: a velocity of momentum 1,
    and 0.9 on top. Run --momentum 1 to see that one alone."""
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
    """The optimizer holds a layer that is gone. The new one never moves. With
    net.parameters() the first layer learns: 90%, and the mistake hides."""
    for net in (nets := [network(seed) for seed in SEEDS]):
        optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
        net[2] = nn.Linear(32, 10)  # we want a new last layer, and train it
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def right_layer(batches: list[Batch], test: Batch) -> str:
    """build the optimizer last. (Layer 0 isn't in it, and stays as drawn.)"""
    for net in (nets := [network(seed) for seed in SEEDS]):
        net[2] = nn.Linear(32, 10)
        optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def wrong_total(net: nn.Module, batches: list[Batch]) -> str:
    """A sum of losses holds their graphs. 100 * 8 operations: 2 of each Linear,
    ReLU, 2 of cross-entropy, and the +; then 4 leaves, the parameters."""
    total = sum(F.cross_entropy(net(x), y) for x, y in batches[:100])
    return f"operations in the graph of total: {operations(total)}"


def right_total(net: nn.Module, batches: list[Batch]) -> str:
    """add up numbers. item() leaves the graph behind, and it is freed."""
    total = sum(F.cross_entropy(net(x), y).item() for x, y in batches[:100])
    return f"operations in the graph of total: {operations(total)}"


# ---- The lesson -------------------------------------------------------------
def show_paper_case(lr: float, momentum: float) -> None:
    console.section("On paper: one weight w, its loss w², its gradient 2 * w")
    console.code(sgd_step)
    console.ask(f"From 1, lr {lr:g}: w after 1 step? With momentum, after 2?")
    settings, one = ways(lr, momentum, decay=0.5), torch.ones(1).double()
    descent.show_steps(walks(SGD, settings, one, one), [0, 1, 2, 3, 4, 50])
    w, again = 1 - lr * 2, momentum * 2 + 2
    v = momentum * 2 + 2 * w
    console.say(
        f"Plain SGD and momentum: 1 - {lr:g} * 2 = {w:.4g}. Momentum, step 2: "
        f"the velocity is {momentum:g} * 2 + 2 * {w:.4g} = {v:.4g}, and "
        f"{w:.4g} - {lr:g} * {v:.4g} = {w - lr * v:.4g}. It can run past 0. "
        "Nesterov (nesterov=True) uses the new velocity, 2, at once: "
        f"{momentum:g} * 2 + 2 = {again:.4g}, 1 - {lr:g} * {again:.4g} = "
        f"{1 - lr * again:.4g}. Weight decay 0.5 makes the gradient 2 + 0.5 * "
        f"1: 1 - {lr:g} * 2.5 = {1 - lr * 2.5:.4g}. It keeps weights small; "
        "here, the loss wants 0, too."
    )
    pair = (walks(k, settings, one, one, 2) for k in (SGD, torch.optim.SGD))
    console.agrees("2 steps in 4 ways = torch.optim.SGD", *pair, 1e-9)


def show_network() -> None:
    console.section("50 steps for digits: Linear(64, 32), ReLU, Linear(32, 10)")
    console.code(SGD.step, learn)
    pair = (descent.trained(learn, k) for k in (SGD, torch.optim.SGD))
    console.agrees("4 ways, 2,410 parameters each", *pair, 1e-5)
    console.say(
        "They are the table's, with lr 0.1, momentum 0.9, weight decay 0.01; "
        "2,410 = 64 * 32 + 32 + 32 * 10 + 10. train-cifar has the same loop."
    )


def show_rates(run: str, lr: float, momentum: float, data: tuple) -> Figure:
    console.section(f"Measured: five learning rates, momentum {momentum:g}")
    rates = [lr * 10**k for k in range(-2, 3)]
    console.ask(f"What does a rate of {rates[0]:g} do? And {rates[-1]:g}?")
    ends, firsts = descent.try_rates(learn, rates, momentum, data)
    spread_table(descent.ENDS, ends, ".3g")
    few, many = (ends[f"lr {r:g}"][:, 3].sum() for r in (lr, rates[-1]))
    console.say(
        "115 steps, five times the same 23 batches; last loss: the mean of the "
        "last 23; right: of 297 new digits. Guessing: 10% right, and the loss "
        "2.30 = ln 10. A rate is too small if the loss hardly falls below, too "
        "large if it jumps above. A jump can leave a number after ReLU at 0 "
        "for every digit. Its gradient is then 0, too: no way back. So are "
        f"{few:.0f} of 5 * 32 after lr {lr:g}, {many:.0f} after lr "
        f"{rates[-1]:g}."
    )
    descent.log_rates(run, firsts)
    return descent.curves_figure(firsts)


def show_valley(lr: float, momentum: float) -> Figure:
    console.section("A valley: loss = 0.1 * x² + 9 * y², from x = -9, y = 1")
    console.ask("Whose loss is smallest after 50 steps? Will all fall?")
    figure = descent.valley(SGD, ways(lr, momentum))
    border = (1 + momentum) / 9
    console.say(
        "Plain SGD multiplies y by 1 - 18 * lr, x by 1 - 0.2 * lr: what y can "
        "bear is small for x. With momentum x's gradients add up, and y's "
        "change sign and cancel. y diverges beyond lr 0.111 (plain SGD), "
        f"{border:.3f} (momentum {momentum:g}), "
        f"{border / (1 + 2 * momentum):.3f} (Nesterov). At lr 0.05, momentum "
        "0.9, Nesterov is ahead. At momentum 0 all three are the same."
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
            "Exercise: beyond lr 1, plain SGD multiplies w (loss w²) by less "
            "than -1. Beyond which --lr does momentum 0.9 diverge? 0.5? Find a "
            "rule; try it with 0.2, in column 50, with 1% more and 1% less."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
