"""What schedule-demo and its cases try learning rates on."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from inspect import signature
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    StepLR,
)
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.datasets.embedded import digits
from shared.practice.descent import LAST, Batch, network
from shared.seeds import SEEDS, over_seeds, spread, spread_table

Rate = Callable[[int], float]  # of the step
Pair = tuple[Rate, Any]  # our schedule, and a scheduler of PyTorch
Ours = tuple[Callable[..., float], ...]  # the four that are on paper
Run = tuple[nn.Module, torch.optim.SGD, list[Batch]]
PAPER = 2, 4, 10, 4  # the second setting of each, in the case on paper


def one_weight(lr: float) -> torch.optim.SGD:
    """An optimizer of one weight, for who only looks at its rate."""
    return torch.optim.SGD([torch.ones(1, requires_grad=True)], lr)


def rates_of(scheduler: Any, steps: int = 50) -> Tensor:
    """The rates (steps,) that a scheduler's optimizer uses."""
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return torch.tensor(rates, dtype=torch.float64)


def beside(ours: Ours, lr: float, *settings: int) -> dict[str, Pair]:
    """Each of our schedules, and a scheduler of PyTorch with its settings."""
    one, two, three, four = (one_weight(lr) for _ in range(4))
    size, wave, cycle, few = settings
    theirs = (
        StepLR(one, size),
        CosineAnnealingLR(two, wave),
        OneCycleLR(three, lr, cycle, cycle_momentum=False),
        LinearLR(four, total_iters=few),
    )
    pairs = {}
    for rate, second, scheduler in zip(ours, settings, theirs, strict=True):
        name = [*signature(rate).parameters][2]  # after step and lr
        set_alike = partial(rate, lr=lr, **{name: second})
        pairs[f"{rate.__name__}, {name} {second}"] = set_alike, scheduler
    return pairs


def show_table(ours: Ours, lr: float, steps: list[int]) -> None:
    """The rates of some steps: a row for each of our schedules."""
    rows = [
        (name, *(f"{rate(step):.4g}" for step in steps))
        for name, (rate, _) in beside(ours, lr, *PAPER).items()
    ]
    console.table(["rate at step", *map(str, steps)], rows)


def compare(ours: Ours, scheduler: Callable[..., Any], lr: float) -> None:
    """10 steps of the table, and 50 steps of 20 random settings each.

    scheduler is ours, too: it is built from an optimizer and a schedule.
    """
    paper = beside(ours, lr, *PAPER)
    names = [type(theirs).__name__ for _, theirs in paper.values()]
    console.say(f"PyTorch, with these defaults: {', '.join(names)}.")
    pair = both(scheduler, [*paper.values()], 10)
    console.agrees("the table, steps 0 to 9", *pair, 1e-9 * max(1, lr))
    chance, drawn = random.Random(0), []
    for _ in range(20):
        size, wave, few = (chance.randint(1, 60) for _ in range(3))
        cycle = chance.randint(50, 80)  # OneCycleLR refuses to go beyond it
        some = beside(ours, chance.uniform(0.01, 2), size, wave, cycle, few)
        drawn += some.values()
    pair = both(scheduler, drawn, 50)
    console.agrees("20 random settings of each, 50 steps", *pair, 1e-9)


def both(
    scheduler: Callable[..., Any], pairs: list[Pair], steps: int
) -> tuple[Tensor, Tensor]:
    """Rates (pairs, steps) by our schedules and scheduler, and PyTorch's."""
    ours = [scheduler(one_weight(lr=9), rate) for rate, _ in pairs]
    theirs = [scheduler for _, scheduler in pairs]
    tables = ([rates_of(s, steps) for s in some] for some in (ours, theirs))
    one, other = map(torch.stack, tables)
    return one, other


loaded = cache(digits)  # five seeds and many schedules learn from them


def shuffled(seed: int, epochs: int) -> list[Batch]:
    """23 batches of 64 an epoch, in an order of the seed's."""
    train, _ = loaded()
    images, labels = train.images.flatten(1) / 255, train.labels
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        some = order.split(64)[:LAST]
        batches += [(images[part], labels[part]) for part in some]
    return batches


def five(epochs: int) -> list[Run]:
    """Five seeds' networks, each with SGD (0.5, momentum 0.9) and batches."""
    runs = []
    for seed in SEEDS:
        net = network(seed)
        optimizer = torch.optim.SGD(net.parameters(), 0.5, momentum=0.9)
        runs.append((net, optimizer, shuffled(seed, epochs)))
    return runs


@torch.no_grad()
def new_loss(net: nn.Module) -> float:
    """The loss of the 297 digits that no network learns from."""
    _, new = loaded()
    outputs = net(new.images.flatten(1) / 255)
    return F.cross_entropy(outputs, new.labels).item()


def new_losses(runs: list[Run]) -> str:
    """Of the networks of five(): the median, smallest and largest."""
    losses = torch.tensor([new_loss(net) for net, *_ in runs])
    return f"loss of new digits: {spread(losses, '.2f')}"


def race(
    learn: Callable[..., Tensor],
    schedules: Callable[[float, int], dict[str, Rate]],
    scheduler: Callable[..., Any],
    epochs: int,
    lr: float,
) -> dict[str, dict[str, Tensor]]:
    """What as many steps by each schedule make of five seeds' networks.

    In three races: for each schedule the losses (seeds, steps + 1) of each
    batch, and at last of new digits. What is no number is 999.
    """
    slow, fast, adam = lr / 5, lr, 0.4 * lr
    momentum = partial(torch.optim.SGD, momentum=0.9)
    entries = {
        f"SGD, lr {slow:g}": (momentum, slow),
        f"SGD, lr {fast:g}": (momentum, fast),
        f"Adam, lr {adam:g}": (torch.optim.Adam, adam),
    }

    def measure(title: str, name: str, seed: int) -> Tensor:
        kind, full = entries[title]
        net, batches = network(seed), shuffled(seed, epochs)
        optimizer = kind(net.parameters(), lr=full)
        rate = schedules(full, len(batches))[name]
        _, losses = learn(net, optimizer, batches, scheduler(optimizer, rate))
        losses = torch.tensor([*losses, new_loss(net)])
        return losses.nan_to_num(999, 999).clamp(max=999)

    names = [*schedules(1, LAST)]
    return {
        title: over_seeds(partial(measure, title), names) for title in entries
    }


def show_ends(races: dict[str, dict[str, Tensor]]) -> None:
    """Print the last losses of races (seeds, steps + 1), a column for each."""
    columns = {title: place for place, title in enumerate(races)}
    ends = {
        name: torch.stack([race[name][:, -1] for race in races.values()], 1)
        for name in next(iter(races.values()))
    }
    spread_table(columns, ends, ".2f")
    for title, place in columns.items():
        losses = {name: values[:, place] for name, values in ends.items()}
        say_beside_constant(title, losses)
    console.say(
        "2.30 is guessing. To beat: all 5 losses below all 5. The rest may be "
        "chance."
    )


def say_beside_constant(title: str, losses: dict[str, Tensor]) -> None:
    """Which schedules' losses (seeds,) are all below, or all above, constant's?

    Only that is said which holds for each of the seeds.
    """
    flat = losses["constant"]
    below = [name for name, v in losses.items() if v.max() < flat.min()]
    above = [name for name, v in losses.items() if v.min() > flat.max()]
    if below:
        beat = "beats" if len(below) == 1 else "beat"
        console.say(f"{title}: {', '.join(below)} {beat} constant.")
    if above:
        console.say(f"{title}: constant beats {', '.join(above)}.")
    if not below and not above:
        console.say(f"{title}: none beats constant, nor constant any of them.")


def draw(
    writer: SummaryWriter,
    schedules: dict[str, Rate],
    races: dict[str, dict[str, Tensor]],
) -> None:
    """A figure of the races, and a run for each schedule of the second.

    A run holds the rates, and the losses of the first seed.
    """
    writer.add_figure("race", race_figure(schedules, races))
    second = [*races.values()][-2]
    for name, rate in schedules.items():
        with SummaryWriter(f"{writer.log_dir}/{name}") as run:
            for step, loss in enumerate(second[name][0, :-1]):
                run.add_scalar("schedule/lr", rate(step), step)
                run.add_scalar("loss/train", loss, step)


def race_figure(
    schedules: dict[str, Rate], races: dict[str, dict[str, Tensor]]
) -> Figure:
    """Schedules, and the losses (seeds, steps + 1) of each in each race.

    The last of the losses is not a batch's, and left out.
    """
    figure = Figure(figsize=(12, 7.5), layout="constrained")
    figure.suptitle(
        "The rate of each step, and what it does to the loss of its batch\n"
        "(the median of five seeds, averaged over nine batches)"
    )
    places = figure.subplots(2, 2).flatten()
    axes, *others = places
    second = [*races][-2]
    axes.set(title=f"the schedules, for {second}", ylabel="rate")
    steps = range(next(iter(races.values()))["constant"].size(1) - 1)
    for place, (name, rate) in enumerate(schedules.items()):
        width = 5 * 0.75**place  # a thin curve shows what it lies upon
        curve = [rate(step) for step in steps]
        axes.plot(steps, curve, label=name, linewidth=width)
    axes.legend()  # the colours of all five
    for axes, (title, losses) in zip(others, races.items(), strict=False):
        axes.set(title=title, yscale="log")
        axes.set_ylabel("loss")
        for name, values in losses.items():
            curve = smooth(values[:, :-1].median(0).values)
            axes.plot(steps, curve.numpy(), label=name)
    for axes in places:
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    return figure


def smooth(curve: Tensor, window: int = 9) -> Tensor:
    """Each number's mean with those around it, (N,) to (N,)."""
    sides = F.pad(curve[None, None], (window // 2,) * 2, mode="replicate")
    return sides.unfold(2, window, 1).mean(3)[0, 0]


@contextmanager
def warnings_on_screen() -> Iterator[None]:
    """Print the start of what PyTorch warns of, each once, as it happens."""

    def show(message: Warning | str, kind: type, *_: Any) -> None:
        first = str(message).split(". ")[0]
        console.say(f"{kind.__name__}: {first}. …")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield
