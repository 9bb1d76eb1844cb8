"""Learning rates that change: schedules by hand.

A large learning rate gets far, but jumps about near the goal; a small one
takes long. A schedule says which rate each step takes, counted from 0.
Some schedules follow half a cosine wave, from start to end:
    rate = end + (start - end) * (1 + cos(pi * share)) / 2
share is the part of the way that is done: 0 at the start, 1 at the end. A
scheduler writes the rate of each step into the optimizer.

    python cli.py schedule-demo --step
"""

import math
from functools import partial
from typing import Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

from shared import console, options
from shared.board import board
from shared.practice import rates
from shared.practice.rates import Rate, five, new_losses, one_weight

WORDS = {
    "schedule": "a rule that gives each step its learning rate",
    "warm-up": "the first steps, in which the rate grows from a small one",
}


# ---- By hand ----------------------------------------------------------------
def glide(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def step_decay(step: int, lr: float, size: int, gamma: float = 0.1) -> float:
    return lr * gamma ** (step // size)  # 7 // 3 is 2: whole times


def cosine(step: int, lr: float, total: int) -> float:
    return glide(lr, 0, step / total)


def one_cycle(step: int, lr: float, total: int, rise: float = 0.3) -> float:
    top = rise * total - 1  # lr itself is here, often between two steps
    if step <= top:
        return glide(lr / 25, lr, step / top)
    return glide(lr, lr / 250_000, (step - top) / (total - 1 - top))


def warm_up(step: int, lr: float, few: int, start: float = 1 / 3) -> float:
    return lr * (start + (1 - start) * min(step / few, 1))


class Scheduler:
    def __init__(self, optimizer: Optimizer, rate: Rate) -> None:
        self.optimizer, self.rate, self.count = optimizer, rate, -1
        self.step()

    def step(self) -> None:
        self.count += 1  # from -1: step 0 is __init__'s
        self.last_lr = self.rate(self.count)
        for group in self.optimizer.param_groups:
            group["lr"] = self.last_lr  # where the optimizer looks


# ---- Mistakes ---------------------------------------------------------------
def wrong_phase() -> str:
    """The second optimizer keeps 0.5, as with no scheduler. No warning."""
    for net, optimizer, batches in (runs := five(epochs=5)):
        scheduler = CosineAnnealingLR(optimizer, 115)
        learn(net, optimizer, batches[:23])
        optimizer = SGD(net.parameters(), 0.5, momentum=0.9)  # a new start
        used, _ = learn(net, optimizer, batches, scheduler)
    return f"last rate {used[-1]:.4f}, {new_losses(runs)}"


def right_phase() -> str:
    """build a new scheduler for each new optimizer."""
    for net, optimizer, batches in (runs := five(epochs=5)):
        learn(net, optimizer, batches[:23])
        optimizer = SGD(net.parameters(), 0.5, momentum=0.9)
        scheduler = CosineAnnealingLR(optimizer, 115)
        used, _ = learn(net, optimizer, batches, scheduler)
    return f"last rate {used[-1]:.4f}, {new_losses(runs)}"


def wrong_call() -> list[float]:
    """The loss was taken for the count: 2.3 // 1 is 2, and 0.5 is halved
    twice. 1.2 gives 0.25, 0.4 gives 0.5: as the loss falls, the rate rises."""
    scheduler = StepLR(one_weight(lr=0.5), step_size=1, gamma=0.5)
    scheduler.optimizer.step()  # one_weight's: SGD with a single weight
    scheduler.step(2.3)  # the loss of this epoch
    return scheduler.get_last_lr()


def right_call() -> list[float]:
    """step() alone. (ReduceLROnPlateau, another kind, wants the loss.)"""
    scheduler = StepLR(one_weight(lr=0.5), step_size=1, gamma=0.5)
    scheduler.optimizer.step()
    scheduler.step()
    return scheduler.get_last_lr()


def wrong_turn() -> str:
    """The first rate, 0.5, is never used: the epochs got 0.05, 0.005, 0.0005.
    If one-cycle, called each step, loses its first, right and wrong overlap."""
    for net, optimizer, batches in (runs := five(epochs=1)):
        scheduler = StepLR(optimizer, step_size=1)  # 0.5, 0.05, 0.005
        for _ in range(3):
            scheduler.step()
            learn(net, optimizer, batches)
    return new_losses(runs)


def right_turn() -> str:
    """first the optimizer's steps, then the scheduler's."""
    for net, optimizer, batches in (runs := five(epochs=1)):
        scheduler = StepLR(optimizer, step_size=1)
        for _ in range(3):
            learn(net, optimizer, batches)
            scheduler.step()
    return new_losses(runs)


def wrong_unit() -> str:
    """The 115 are calls, and there were 5. The rate was still rising."""
    for net, optimizer, batches in (runs := five(epochs=1)):
        scheduler = OneCycleLR(optimizer, 0.5, total_steps=115)
        for _ in range(5):
            used, _ = learn(net, optimizer, batches)
            scheduler.step()
    return f"last rate {used[-1]:.2g}, {new_losses(runs)}"


def right_unit() -> str:
    """call it after each batch: a scheduler counts its calls."""
    for net, optimizer, batches in (runs := five(epochs=1)):
        scheduler = OneCycleLR(optimizer, 0.5, total_steps=115)
        used, _ = learn(net, optimizer, 5 * batches, scheduler)
    return f"last rate {used[-1]:.2g}, {new_losses(runs)}"


# ---- The lesson -------------------------------------------------------------
def learn(
    net: nn.Module, optimizer: Any, batches: list, scheduler: Any = None
) -> Tensor:
    taken = []
    for images, labels in batches:
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        taken.append((optimizer.param_groups[0]["lr"], loss.item()))
        optimizer.step()
        if scheduler:
            scheduler.step()  # moves no weight: the next step's rate
    return torch.tensor(taken).T  # rates and losses: (2, N)


def schedules(lr: float, total: int) -> dict[str, Rate]:
    return {
        "constant": lambda step: lr,
        "step decay": partial(step_decay, lr=lr, size=total // 3 + 1),
        "cosine": partial(cosine, lr=lr, total=total),
        "one-cycle": partial(one_cycle, lr=lr, total=total),
        "warm-up": partial(warm_up, lr=lr, few=total // 5),
    }


def show_paper_case(lr: float) -> None:
    console.section(f"On paper: four schedules, lr {lr:g}")
    ours = step_decay, cosine, one_cycle, warm_up
    for function in (glide, *ours):
        console.code(function)
    console.ask("Cosine has come to 0 at step 4. What is its rate at step 9?")
    rates.show_table(ours, lr, [0, 1, 2, 4, 9])
    console.say(
        f"cosine at 1: the share is 1/4, cos(pi / 4) is 0.7071, and {lr:g} * "
        f"1.7071 / 2 = {cosine(1, lr, 4):.4g}. At 9 again: the wave rises till "
        "8, then falls. one_cycle: its top is at 0.3 * 10 - 1 = 2; at 1, half-"
        f"way up, ({lr / 25:.4g} + {lr:g}) / 2. warm_up at 1: (1/3 + 2/3 * 1/4)"
        f" * {lr:g} = {warm_up(1, lr, 4):.4g}."
    )
    console.code(Scheduler.step)
    rates.compare(ours, Scheduler, lr)


def show_races(lr: float, epochs: int) -> dict[str, dict[str, Tensor]]:
    console.section(f"Measured: {23 * epochs} steps, the loss of new digits")
    console.say(
        "Five networks with 32 ReLUs see 23 batches of 64 digits an epoch; 297 "
        "others are new. Step decay: a tenth after each third of the steps. "
        "Warm-up: over the first fifth. SGD has momentum 0.9. Below, five makes"
        " networks with SGD at 0.5; learn is sgd-demo's, with a scheduler."
    )
    console.ask("Is there a schedule that is best in all three columns?")
    races = rates.race(learn, schedules, Scheduler, epochs, lr)
    rates.show_ends(races)
    console.say(
        "No: with the defaults each is beaten in some column. 0.1 is small: "
        "lowered it gets less far. Adam's first steps at 0.2 leave most of 32 "
        "ReLUs at 0 for all images, and no fall wakes them. A warm-up, or "
        "one-cycle's, leaves fewer so."
    )
    return races


def run(
    lr: options.LearningRate = 0.5,
    epochs: options.Epochs = 5,
    logdir: options.LogDir = options.LOGS,
) -> None:
    """Let learning rates rise and fall, as schedulers do."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case(lr)
    with board("schedule-demo", logdir, "SCALARS, IMAGES: race") as writer:
        races = show_races(lr, epochs)
        rates.draw(writer, schedules(lr, total=23 * epochs), races)
        with rates.warnings_on_screen():
            console.mistakes(__name__)
        console.remember(
            "total = epochs * len(loader)  # calls; one more is an error",
            "scheduler = OneCycleLR(optimizer, max_lr=0.5, total_steps=total)",
            "optimizer.step(); scheduler.step()  # in this order, each batch",
        )
        console.say(
            "Exercise: write restarts(step, lr, total): cosine, begun anew "
            "every total steps (CosineAnnealingWarmRestarts). (4, 0.5, 4) "
            "gives 0.5, (7, 0.5, 4) gives 0.07322."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
