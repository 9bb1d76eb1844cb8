"""What pretrained-demo adapts: small networks that tell digits apart."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console, figures
from shared.datasets.embedded import digits
from shared.seeds import (
    SEEDS,
    over_seeds,
    say_ahead,
    shares_right,
    spread,
    spread_table,
)

TASKS = (20, 2), (320, 2), (80, 5)  # new digits, and classes of a new head
COLUMNS = {"20 odd/even": 0, "320 odd/even": 1, "80 of 5 to 9": 2}
OLD = 1000  # of 1,500 training digits; the others are those of the new task


def normalise(pixels: Tensor) -> Tensor:
    """Subtract the mean of the old digits, and divide by their std."""
    return (pixels - 0.31) / 0.38


def network(seed: int, classes: int = 10) -> nn.Sequential:
    """Random numbers: three layers as backbone, and a head for classes."""
    torch.manual_seed(seed)
    hidden = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(64, classes))


def pretrained_nets(classes: int = 10) -> list[nn.Sequential]:
    """One for each seed, which has learned the digits below classes."""
    images, labels = (part[:OLD] for part in _rows(0))
    some = images[labels < classes], labels[labels < classes]
    return [learn(network(seed, classes), *some) for seed in SEEDS]


def new_task(count: int = 500) -> tuple[Tensor, Tensor]:
    """Digits (count, 64) unlike those, and whether each is odd (1) or even."""
    images, labels = (part[OLD : OLD + count] for part in _rows(0))
    return images, labels % 2


def unseen_digits() -> tuple[Tensor, Tensor]:
    """297 of them (297, 64), in [0, 1], and which they are."""
    return _rows(1)


def given(nets: list[nn.Sequential]) -> dict[str, object]:
    """What the mistakes get: nets, 40 new digits, and unseen ones."""
    return {"nets": nets, "yours": new_task(40), "images": unseen_digits()[0]}


def learn(net: nn.Module, pixels: Tensor, labels: Tensor) -> nn.Module:
    """100 steps on at most 40 images each, in the mode that the net is in."""
    images = normalise(pixels)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(100):
        some = torch.randperm(len(images))[:40]
        optimizer.zero_grad()
        F.cross_entropy(net(images[some]), labels[some]).backward()
        optimizer.step()
    return net


def read_right(nets: list[nn.Module], images: Tensor) -> str:
    """In eval mode: the share of the unseen digits read right, its spread."""
    copies = [deepcopy(net).eval() for net in nets]
    return spread(shares_right(copies, (images, unseen_digits()[1])), ".0%")


def odd_by_digit(nets: list[nn.Module]) -> str:
    """How often is the digit that is read odd if the unseen one is?"""
    images, labels = unseen_digits()
    shares = []
    for net in nets:
        with torch.no_grad():
            digit = deepcopy(net).eval()(normalise(images)).argmax(1)
        shares.append((digit % 2 == labels % 2).float().mean())
    return spread(torch.stack(shares), ".0%")


def measured(
    ways: list[str],
    nets: list[nn.Module],
    adapt: Callable[[nn.Module, int, str], None],
) -> dict[str, Tensor]:
    """Adapt networks in three ways, the first from random numbers.

    nets know all digits, for odd or even; for 5 to 9 others learn 0 to 4 here.
    Prints and returns (seeds, columns): % of the unseen digits read right.
    """
    known = {2: nets, 5: pretrained_nets(5)}

    def percents(way: str, seed: int) -> list[float]:
        found = []
        for count, classes in TASKS:
            anew = way == ways[0]
            net = network(seed + 100) if anew else known[classes][seed]
            torch.manual_seed(seed)
            adapt(net := deepcopy(net), classes, way)
            found.append(percent_right(net, count, classes))
        return found

    right = over_seeds(percents, ways)
    console.say("So many % of the unseen digits are read right:")
    spread_table(COLUMNS, right, ".0f")
    for one, other in ((1, 2), (2, 0)):
        pair = {ways[place]: right[ways[place]] for place in (one, other)}
        say_ahead(COLUMNS, pair)
    return right


def figure(right: dict[str, Tensor]) -> Figure:
    """What measured returns, on a scale on which the dots stand apart."""
    drawn = figures.spread_figure(COLUMNS, right)
    for axes in drawn.axes:
        axes.set_xlim(75, 100)
    return drawn


def percent_right(net: nn.Module, count: int, classes: int) -> float:
    """Learn a task from so many digits: % of the unseen ones read right.

    With 2 classes the task is odd or even, with 5 it is 5 to 9.
    """
    if classes == 2:
        (images, labels), new = unseen_digits(), new_task(count)
        unseen = images, labels % 2
    else:
        unseen = _upper(1)
        new = tuple(part[:count] for part in _upper(0))
    learn(net, *new)
    test = normalise(unseen[0]), unseen[1]
    return 100 * shares_right([net.eval()], test).item()


def _upper(part: int) -> tuple[Tensor, Tensor]:
    images, labels = _rows(part)
    return images[labels > 4], labels[labels > 4] - 5


@cache
def _rows(part: int) -> tuple[Tensor, Tensor]:
    images = digits()[part]
    return images.images.flatten(1) / 255, images.labels
