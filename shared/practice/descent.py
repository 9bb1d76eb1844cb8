"""What sgd-demo and its cases walk down on."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from shared import console, figures
from shared.datasets.embedded import digits
from shared.seeds import over_seeds, shares_right

Batch = tuple[Tensor, Tensor]  # images (N, 64) in [0, 1], labels (N,)
LAST = 23  # batches in an epoch
ENDS = {"last loss": 1, "% right": 2, "dead": 3}
RESULTS = [f"result/{name}" for name in ("highest_loss", "last_loss", "right")]


def walk(
    make: Callable[[list[Tensor]], Any],
    steepness: Tensor,
    start: Tensor,
    steps: int = 50,
) -> Tensor:
    """The way (steps + 1, n) of weights (n,) from start, by an optimizer.

    make builds it. The loss is the sum of steepness (n,) * weight².
    """
    weight = start.clone().requires_grad_()
    optimizer, path = make([weight]), [start]
    for _ in range(steps):
        loss = (steepness * weight**2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


def network(seed: int) -> nn.Sequential:
    """(N, 64) to (N, 10), from the seed's start."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def digit_batches(epochs: int) -> tuple[list[Batch], Batch]:
    """23 batches of 64 an epoch, always the same; 297 new digits."""
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits())
    parts = (tensor[: 23 * 64].split(64) for tensor in train)
    return [*zip(*parts, strict=True)] * epochs, test


def trained(
    learn: Callable[..., Tensor], kind: Callable[..., Any]
) -> dict[str, Tensor]:
    """In each of the four ways, the parameters of network 0 after 50 steps."""
    batches, _ = digit_batches(epochs=3)
    found = {}
    for way, some in ways(0.1, 0.9, decay=0.01).items():
        net = network(seed=0)
        learn(net, kind(net.parameters(), **some), batches[:50])
        for name, weights in net.state_dict().items():
            found[f"{way}, {name}"] = weights
    return found


class Training(NamedTuple):
    """The training of one network: settings, its losses (N,), results."""

    settings: dict[str, float]
    losses: Tensor
    results: dict[str, float]


def try_rates(
    learn: Callable[..., Tensor],
    rates: list[float],
    momentum: float,
    data: tuple[list[Batch], Batch],
) -> tuple[dict[str, Tensor], dict[str, Training]]:
    """For each rate: highest and last loss, % right, dead numbers (5, 4).

    And, of the first of the five, its training.
    """
    batches, test = data
    firsts = {}

    def measure(name: str, seed: int) -> Tensor:
        settings = {"lr": float(name[3:]), "momentum": momentum}
        net = network(seed)
        optimizer = torch.optim.SGD(net.parameters(), **settings)
        losses = learn(net, optimizer, batches)
        right = 100 * shares_right([net], test)
        last = losses[-LAST:].mean()
        ends = torch.stack([losses.max(), last, *right, dead(net, batches)])
        named = zip(RESULTS, ends.tolist()[:3], strict=True)
        firsts.setdefault(name, Training(settings, losses, dict(named)))
        return ends

    return over_seeds(measure, [f"lr {rate:g}" for rate in rates]), firsts


def log_rates(folder: str, trainings: dict[str, Training]) -> None:
    """Give each a run in folder: its curve, and its row in HPARAMS."""
    for name, (settings, losses, results) in trainings.items():
        with SummaryWriter(f"{folder}/{name}") as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("loss/train", loss, step)
            # without run_name it opens one more run, named by the time
            writer.add_hparams(settings, results, run_name=".")


def curves_figure(trainings: dict[str, Training]) -> Figure:
    """Their losses over the steps."""
    curves = {name: training.losses for name, training in trainings.items()}
    steps = torch.arange(len(next(iter(curves.values()))))
    figure = figures.curves_figure(steps, curves, "step", "loss", "log")
    figure.suptitle("The loss of each batch (seed 0); 2.30 is guessing")
    return figure


@torch.no_grad()
def dead(net: nn.Sequential, batches: list[Batch]) -> Tensor:
    """How many of the hidden numbers are 0 for each image."""
    images = torch.cat([images for images, _ in batches[:LAST]])
    return (net[:2](images) == 0).all(0).sum().float()


def ways(
    lr: float, momentum: float, decay: float | None = None
) -> dict[str, dict]:
    """The settings of four optimizers, under PyTorch's names.

    Without decay they are three.
    """
    plain = {"lr": lr, "momentum": 0.0}
    heavy = plain | {"momentum": momentum}
    found = {
        "plain SGD": plain,
        "momentum": heavy,
        "Nesterov": heavy | {"nesterov": momentum > 0},  # PyTorch wants > 0
    }
    if decay is not None:
        found["weight decay"] = plain | {"weight_decay": decay}
    return found


def walks(
    kind: Callable[..., Any], settings: dict[str, dict], *walking: Any
) -> dict[str, Tensor]:
    """For each of the settings, the walk of an optimizer of this kind."""
    return {
        name: walk(partial(kind, **some), *walking)
        for name, some in settings.items()
    }


def valley(kind: Callable[..., Any], settings: dict[str, dict]) -> Figure:
    """Print and draw 50 steps down 0.1 * x² + 9 * y², from (-9, 1)."""
    steepness, start = torch.tensor([[0.1, 9], [-9, 1]]).double()
    paths = walks(kind, settings, steepness, start)
    return figures.show_valley(steepness, paths)


def show_steps(paths: dict[str, Tensor], shown: list[int]) -> None:
    """A table of one weight after some of the steps of its walks (S, 1)."""
    rows = [
        (name, *(f"{path[step].item():.4g}" for step in shown))
        for name, path in paths.items()
    ]
    console.table(["w after step", *map(str, shown)], rows)
