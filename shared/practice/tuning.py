"""What pretrained-demo adapts: small networks that tell digits apart."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.datasets.embedded import digits
from shared.seeds import (
    SEEDS,
    over_seeds,
    say_ahead,
    shares_right,
    spread,
    spread_table,
)

COUNTS = 20, 80, 320
COLUMNS = {f"{count} digits": i for i, count in enumerate(COUNTS)}
OLD = 1000  # of 1,500 training digits; the others are those of the new task


def normalise(pixels: Tensor) -> Tensor:
    """Subtract the mean of the old digits, and divide by their std."""
    return (pixels - 0.31) / 0.38


def network(seed: int) -> nn.Sequential:
    """Random numbers: three layers as backbone, and a head for 0 to 9."""
    torch.manual_seed(seed)
    hidden = nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(64, 10))


def pretrained_nets() -> list[nn.Sequential]:
    """Linear, batch norm, ReLU, and a head for 0 to 9, one for each seed."""
    images, labels = _rows(0)
    some = images[:OLD], labels[:OLD]
    return [learn(network(seed), *some) for seed in SEEDS]


def new_task(count: int = 500) -> tuple[Tensor, Tensor]:
    """Digits (count, 64) unlike those, and whether each is odd (1) or even."""
    images, labels = (part[OLD : OLD + count] for part in _rows(0))
    return images, labels % 2


def unseen_digits() -> tuple[Tensor, Tensor]:
    """297 of them (297, 64), in [0, 1], and which they are."""
    return _rows(1)


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


def measured(
    ways: list[str],
    nets: list[nn.Module],
    adapt: Callable[[nn.Module, str], None],
) -> dict[str, Tensor]:
    """Adapt the nets in three ways, the first from random numbers.

    Prints and returns (seeds, columns): % of the unseen digits read right.
    """

    def percents(way: str, seed: int) -> list[float]:
        start = network(seed + 100) if way == ways[0] else nets[seed]
        torch.manual_seed(seed)
        adapt(net := deepcopy(start), way)
        return [percent_right(deepcopy(net), count) for count in COUNTS]

    right = over_seeds(percents, ways)
    console.say("So many % of 297 unseen digits are read right:")
    spread_table(COLUMNS, right, ".0f")
    say_ahead(COLUMNS, {way: right[way] for way in ways[:2]})
    return right


def percent_right(net: nn.Module, count: int) -> float:
    """Learn the new task from so many digits: % of the unseen read right."""
    learn(net, *new_task(count))
    images, labels = unseen_digits()
    unseen = normalise(images), labels % 2
    return 100 * shares_right([net.eval()], unseen).item()


@cache
def _rows(part: int) -> tuple[Tensor, Tensor]:
    images = digits()[part]
    return images.images.flatten(1) / 255, images.labels
