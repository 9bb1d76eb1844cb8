"""Downhill, step by step: SGD by hand.

A gradient says how the loss grows with a weight: a step goes against it.
Stochastic gradient descent (SGD) takes the gradient of one batch, drawn by
chance, in place of that of all images. Plain SGD has momentum 0. With more,
the velocity, 0 at the start, keeps a share of what it was:
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
Rate = typer.Option("--lr", min=0.001, max=2, callback=options.finite)


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
    """No zero_grad(): grad adds up all gradients, as momentum 1 does, and 0.9
    adds those sums up again. (--momentum 1, in the row of lr 0.1: 83%.)"""
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
    """The optimizer holds a layer that is gone. The new one never moves. Had it
    held all of the old net, layer 0 would learn: 89%, a mistake that hides."""
    for net in (nets := [network(seed) for seed in SEEDS]):
        optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
        net[2] = nn.Linear(32, 10)  # we want a new last layer, and train it
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def right_layer(batches: list[Batch], test: Batch) -> str:
    """build the optimizer last. (Layer 0 isn't in it, stays random: no 96%.)"""
    for net in (nets := [network(seed) for seed in SEEDS]):
        net[2] = nn.Linear(32, 10)
        optimizer = torch.optim.SGD(net[2].parameters(), 0.1, momentum=0.9)
        learn(net, optimizer, batches)
    return "right: " + spread(shares_right(nets, test), ".0%")


def wrong_total(net: nn.Module, batches: list[Batch]) -> str:
    """A sum of losses keeps each batch's graph in memory: 100 * (2 of each of 2
    Linear, 1 ReLU, 2 of cross-entropy, 1 sum), and 4 leaves, the parameters."""
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
        f"Step 1, plain SGD and momentum: 1 - {lr:g} * 2 = {w:.4g}. Step 2, "
        f"momentum: the velocity is {momentum:g} * 2 + 2 * {w:.4g} = {v:.4g}, "
        f"and {w:.4g} - {lr:g} * {v:.4g} = {w - lr * v:.4g}. Nesterov "
        "(nesterov=True) uses the new velocity, 2, at once: "
        f"{momentum:g} * 2 + 2 = {again:.4g}, 1 - {lr:g} * {again:.4g} = "
        f"{1 - lr * again:.4g}. Weight decay 0.5 makes the gradient 2 + 0.5 * "
        f"1: 1 - {lr:g} * 2.5 = {1 - lr * 2.5:.4g}. At lr 0.1 momentum 0.9 "
        "swings past 0; plain SGD ends nearer."
    )
    pair = (walks(k, settings, one, one, 2) for k in (SGD, torch.optim.SGD))
    console.agrees("2 steps in 4 ways = torch.optim.SGD", *pair, 1e-9)


def show_network() -> None:
    console.section("50 steps for digits: Linear(64, 32), ReLU, Linear(32, 10)")
    console.code(SGD.step, learn)
    pair = (descent.trained(learn, k) for k in (SGD, torch.optim.SGD))
    console.agrees("4 ways, 2,410 parameters each", *pair, 1e-5)
    console.say(
        "The table's 4 ways, with lr 0.1, momentum 0.9, weight decay 0.01; "
        "2,410 = 64 * 32 + 32 + 32 * 10 + 10. train-cifar has the same loop."
    )


def show_rates(run: str, lr: float, momentum: float, data: tuple) -> Figure:
    console.section(f"Measured: five learning rates, momentum {momentum:g}")
    rates = [lr * 10**k for k in range(-2, 3)]
    console.ask(f"What does a rate of {rates[0]:g} do? And {rates[-1]:g}?")
    ends, firsts = descent.try_rates(learn, rates, momentum, data)
    spread_table(descent.ENDS, ends, ".3g")
    console.say(
        "115 steps: the same 23 batches, five times. Last loss: the mean of "
        "the last 23. % right: of 297 new digits. Guessing: 10%, and 2.30 = "
        "ln 10. Near or above that at the end: too small a rate (in "
        "TensorBoard, a flat curve), or too large a one (it jumps). Dead: of "
        "32 numbers after ReLU, those at 0 for all 1,472 digits of the "
        "batches; 0 or 1 before training. No gradient passes them. If all are "
        "dead, only the last biases get one. --momentum 0 finds 95% at lr 1."
    )
    descent.log_rates(run, firsts)
    return descent.curves_figure(firsts)


def show_valley(lr: float, momentum: float) -> Figure:
    console.section("A valley: loss 0.1 * x² + 9 * y², 17.1 at x = -9, y = 1")
    console.ask("Whose loss is smallest after 50 steps? Will all fall?")
    figure = descent.valley(SGD, ways(lr, momentum))
    border = (1 + momentum) / 9
    console.say(
        "Plain SGD multiplies y by 1 - 18 * lr a step, x by 1 - 0.2 * lr: at "
        "lr 0.1, by -0.8 and 0.98. There momentum 0.9 shrinks the swings of "
        "both by √0.9 = 0.95 a step: x sooner, y later. y diverges beyond lr "
        f"0.111 (plain SGD), {border:.3f} (momentum {momentum:g}), "
        f"{border / (1 + 2 * momentum):.3f} (Nesterov). At --lr 0.05, "
        "Nesterov is ahead."
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
            "Exercise: plain SGD multiplies w (loss w²) by 1 - 2 * lr, and "
            "diverges beyond lr 1. Beyond which --lr does momentum 0.9? 0.5? "
            "Find a rule. Try it with 0.2: after step 50, w is beyond 1 or -1 "
            "with 1% more, between them with 1% less."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
