"""Cases for lessons/schedule_demo.py."""

import random
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    StepLR,
)
from torch.testing import assert_close

from shared.practice.cases import Cases, call
from shared.practice.rates import one_weight, rates_of


def glide() -> Cases:
    """Share 0 gives start, for cos(0) is 1. Share 1 gives end: cos(pi) is -1.

    Half-way, at share 0.5, the cosine is 0: the mean of start and end.
    """
    yield call(2.0, 0.0, 0), 2.0
    yield call(2.0, 0.0, 1), 0.0
    yield call(3.0, 1.0, 0.5), 2.0
    yield call(0.0, 1.0, 1 / 3), 0.25  # cos(pi / 3) is 1/2
    yield call(1.0, 3.0, 2.0), 1.0  # beyond the end the wave comes back
    yield call(0.7, 0.7, 0.3), 0.7


def step_decay() -> Cases:
    """How often has size gone into step? Multiply by gamma as often.

    // divides and leaves the remainder out.
    """
    yield call(0, 0.5, 2), 0.5
    yield call(1, 0.5, 2), 0.5
    yield call(4, 0.5, 2), 0.005
    chance = random.Random(0)
    for size in (1, 2, 7, 50, 99):
        lr, gamma = chance.uniform(0.01, 2), chance.uniform(0.1, 1)
        rates = rates_of(StepLR(one_weight(lr), size, gamma)).tolist()
        for step, rate in enumerate(rates):
            yield call(step, lr, size, gamma=gamma), rate


def cosine() -> Cases:
    """It glides from lr to 0, and step / total is its share."""
    yield call(0, 0.5, 4), 0.5
    yield call(2, 0.5, 4), 0.25
    yield call(4, 0.5, 4), 0.0
    chance = random.Random(0)
    for total in (1, 3, 20, 49, 80):  # beyond its total it rises again
        lr = chance.uniform(0.01, 2)
        scheduler = CosineAnnealingLR(one_weight(lr), total)
        for step, rate in enumerate(rates_of(scheduler).tolist()):
            yield call(step, lr, total), rate


def one_cycle() -> Cases:
    """The largest rate is at rise * total - 1, often between two steps.

    Up to it the rate glides from lr / 25 to lr.

    From there to step total - 1 it glides from lr to lr / 250_000.

    Its share there: the steps since the top, of all that come after the top.
    """
    yield call(2, 0.5, 10), 0.5
    yield call(1, 0.5, 10), 0.26
    yield call(9, 0.5, 10), 0.000002
    chance = random.Random(0)
    for total in (1, 2, 7, 50, 64, 90):  # of few steps none may be rising
        lr, rise = chance.uniform(0.01, 2), chance.uniform(0.2, 0.8)
        settings: dict[str, Any] = {"pct_start": rise, "cycle_momentum": False}
        scheduler = OneCycleLR(one_weight(lr), lr, total, **settings)
        rates = rates_of(scheduler, min(total, 50))
        for step, rate in enumerate(rates.tolist()):
            yield call(step, lr, total, rise=rise), rate


def warm_up() -> Cases:
    """The share of lr grows in equal parts from start to 1, then stays 1.

    step / few is how far it has come: never farther than 1.
    """
    yield call(0, 3.0, 4), 1.0
    yield call(4, 3.0, 4), 3.0
    yield call(9, 3.0, 4), 3.0
    yield call(2, 1.0, 4, start=0.5), 0.75
    chance = random.Random(0)
    for few in (1, 3, 20, 49, 80):
        lr, start = chance.uniform(0.01, 2), chance.uniform(0.01, 1)
        scheduler = LinearLR(one_weight(lr), start, total_iters=few)
        for step, rate in enumerate(rates_of(scheduler).tolist()):
            yield call(step, lr, few, start=start), rate


def Scheduler() -> Cases:
    """It keeps the optimizer, rate (a function of the step), and a count.

    When it is built, the optimizer gets the rate of step 0.

    Each step() counts one on, and writes rate(count) into the "lr" of every one
    of optimizer.param_groups. last_lr is the rate that was written last.
    """
    for step_rates in ([0.5, 0.25, 0.125], [1.0, 0.0, 2.0, 0.0], [0.3]):
        rate, optimizer = step_rates.__getitem__, one_weight(9.0)
        look = partial(_writes, optimizer, step_rates)
        yield call(optimizer, rate), look
    groups = [{"params": [torch.ones(2)]}, {"params": [torch.ones(1)]}]
    optimizer = torch.optim.Adam(groups, lr=9.0)
    rates = [0.1, 0.2, 0.3]
    yield call(optimizer, rates.__getitem__), partial(_writes, optimizer, rates)


def _writes(optimizer: Any, rates: list[float], scheduler: Any) -> None:
    for step, rate in enumerate(rates):
        if step:
            optimizer.step()
            scheduler.step()
        assert_close(scheduler.last_lr, rate)
        for group in optimizer.param_groups:
            assert_close(group["lr"], rate)
