"""What adam-demo and its cases take steps on."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from shared import console, figures
from shared.datasets.embedded import digits
from shared.practice.descent import LAST, Batch, network
from shared.seeds import SEEDS, over_seeds, shares_right

Draw = tuple[list[Batch], Batch]  # batches to learn from, and new digits
KINDS = {
    "SGD": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "Adam": torch.optim.Adam,
}
FIRST = torch.tensor([0, 0.5, 500]).double()  # gradients


def units(seed: int) -> Tensor:
    """A factor for each pixel (64,), by chance from 0.1 to 10."""
    chance = torch.Generator().manual_seed(seed)
    return 10 ** (2 * torch.rand(64, generator=chance) - 1)


def digit_draws(epochs: int, factors: Tensor | None = None) -> list[Draw]:
    """For each seed: 23 batches of 64 an epoch, shuffled, and 297 new digits.

    A pixel is from 0 to 1, or that times its factor (64,).
    """
    factors = torch.ones(64) if factors is None else factors
    train, test = (
        (s.images.flatten(1) / 255 * factors, s.labels) for s in digits()
    )
    draws = []
    for seed in SEEDS:
        chance = torch.Generator().manual_seed(seed)
        batches = []
        for _ in range(epochs):
            order = torch.randperm(len(train[0]), generator=chance)
            for some in order[: 64 * LAST].split(64):
                batches.append((train[0][some], train[1][some]))
        draws.append((batches, test))
    return draws


def learn(net: nn.Module, optimizer: Any, batches: list[Batch]) -> Tensor:
    """The loop that sgd-demo explains; each loss before its step."""
    losses = []
    for images, labels in batches:
        loss = nn.functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def two_steps(
    adam_step: Callable[..., Any], lr: float
) -> tuple[list[str], list[list[str]], Tensor]:
    """From a weight of 1, by the gradients 0.5, -0.5: a table, and the end."""
    columns = ["n", "gradient", "first", "second", "mean", "square", "weight"]
    weight, zero = torch.tensor([1.0, 0.0]).double()
    memory, rows = (zero, zero, 0), []
    for gradient in torch.tensor([0.5, -0.5]).double():
        weight, memory = adam_step(weight, gradient, memory, lr, 1e-8)
        first, second, n = memory
        mean, square = first / (1 - 0.9**n), second / (1 - 0.999**n)
        some = gradient, first, second, mean, square, weight
        rows.append([str(n), *(f"{number:.5g}" for number in some)])
    return columns, rows, weight


def two_steps_by_pytorch(lr: float) -> Tensor:
    """The same two steps, by torch.optim.Adam: the end."""
    weight = nn.Parameter(torch.ones(()).double())
    adam = torch.optim.Adam([weight], lr)
    for weight.grad in torch.tensor([0.5, -0.5]).double():
        adam.step()
    return weight.detach()


def first_steps(adam: Any, adam_w: Any, lr: float) -> dict[str, Tensor]:
    """Where weights of 1 are after one step, by gradients of FIRST."""
    ways = {
        "SGD": (torch.optim.SGD, 0.0),
        "Adam": (adam, 0.0),
        "Adam, decay 0.5": (adam, 0.5),
        "AdamW, decay 0.5": (adam_w, 0.5),
    }
    weights = {}
    for name, (kind, weight_decay) in ways.items():
        weight = nn.Parameter(torch.ones_like(FIRST))
        weight.grad = FIRST.clone()
        kind([weight], lr=lr, weight_decay=weight_decay).step()
        weights[name] = weight.detach()
    return weights


def trained(kind: Any) -> dict[str, Tensor]:
    """The state_dict of network 0 after 50 steps."""
    net, (batches, _) = network(0), digit_draws(epochs=3)[0]
    learn(net, kind(net.parameters(), lr=0.01, weight_decay=0.1), batches[:50])
    return net.state_dict()


def pixels(adam: Any) -> dict[str, Tensor]:
    """Of each pixel's 32 weights after 50 steps, in the mean (64,):

    The root of Adam's square; how far Adam has moved them; how far SGD has.
    """
    columns = {}
    for kind, lr in ((adam, 0.03), (torch.optim.SGD, 1.0)):
        net, (batches, _) = network(0), digit_draws(epochs=3)[0]
        optimizer, start = kind(net.parameters(), lr=lr), net[0].weight.clone()
        learn(net, optimizer, batches[:50])
        if kind is adam:
            _, second, n = optimizer.moments[0]  # of net[0].weight (32, 64)
            columns["√square"] = (second / (1 - 0.999**n)).sqrt().mean(0)
        move = (net[0].weight - start).detach().abs().mean(0)
        columns[f"moved by {kind.__name__}, lr {lr:g}"] = move
    return columns


def pixel_rows(columns: dict[str, Tensor]) -> list[list[str]]:
    """The means of the 16 pixels whose √square is least, and largest."""
    order = columns["√square"].argsort()
    ends = {"16 smallest": order[:16], "16 largest": order[-16:]}
    return [
        [name, *(f"{of[some].mean():.2g}" for of in columns.values())]
        for name, some in ends.items()
    ]


def pixels_figure(columns: dict[str, Tensor]) -> Figure:
    """Show what pixels() gives as pictures, here and as a figure."""
    shown = {
        name: (of / of.max()).view(8, 8).kron(torch.ones(4, 4))
        for name, of in columns.items()
    }
    console.pictures(shown, "usual", width=24)
    title = "A square for each pixel; white: the largest of its picture"
    return figures.pictures_figure(shown, title, 3)


def random_steps(kind: Any, **settings: Any) -> dict[str, Tensor]:
    """Twenty weights of random shapes in double precision after 50 steps.

    Their gradients are random, each time of another size; the first weight's is
    None every second time. The same for each kind of optimizer.
    """
    chance = torch.Generator().manual_seed(0)

    def random(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=chance, dtype=torch.float64)

    sizes = [torch.randint(1, 6, (i % 5,), generator=chance) for i in range(20)]
    weights = [nn.Parameter(random(tuple(size.tolist()))) for size in sizes]
    settings = {"lr": 0.1, "weight_decay": 0.1} | settings
    optimizer = kind((weight for weight in weights), **settings)
    for step in range(50):
        for weight in weights:
            weight.grad = random(weight.shape) * 10 ** random(())
        if step % 2:
            weights[0].grad = None
        optimizer.step()
    return {str(i): weight.detach() for i, weight in enumerate(weights)}


def agree_for_50_steps(adam: Any, adam_w: Any) -> None:
    """Say whether Adam and AdamW take the steps that PyTorch's take."""
    for what, walk, allowed in (
        ("20 random shapes", random_steps, 1e-9),
        ("a network", trained, 1e-4),
    ):
        pair = (
            {f"{i} {n}": w for i in (0, 1) for n, w in walk(kinds[i]).items()}
            for kinds in (
                (adam, adam_w),
                (torch.optim.Adam, torch.optim.AdamW),
            )
        )
        console.agrees(f"Both, 50 steps of {what}", *pair, allowed)


def with_networks(
    draws: list[Draw],
) -> Iterator[tuple[nn.Sequential, list[list[Batch]]]]:
    """Each seed's network, untrained, and its batches, epoch by epoch."""
    for seed, (batches, _) in enumerate(draws):
        starts = range(0, len(batches), LAST)
        yield network(seed), [batches[i : i + LAST] for i in starts]


def race(
    rates: list[float],
    draws: list[Draw],
) -> dict[str, Tensor]:
    """For each kind (seeds, rates, 2): % of the new digits right, last loss.

    The last loss is the mean of the last epoch's.
    """

    def measure(name: str, seed: int) -> Tensor:
        batches, test = draws[seed]
        found = []
        for lr in rates:
            net = network(seed)
            losses = learn(net, KINDS[name](net.parameters(), lr=lr), batches)
            right = 100 * shares_right([net], test)
            found.append(torch.cat([right, losses[-LAST:].mean()[None]]))
        return torch.stack(found)

    return over_seeds(measure, list(KINDS))


def races(rates: list[float], epochs: int) -> dict[str, dict[str, Tensor]]:
    """A race for digits, and one with each pixel in a unit of its own."""
    return {
        title: race(rates, digit_draws(epochs, factors))
        for title, factors in (("digits", None), ("units", units(0)))
    }


def chosen(rates: list[float], raced: dict[str, dict[str, Tensor]]) -> str:
    """In words: each kind's best rate in each race."""
    parts = []
    for title, results in raced.items():
        best = best_places(results).items()
        found = ", ".join(f"{name} {rates[place]:g}" for name, place in best)
        parts.append(f"for {title} {found}")
    return "; ".join(parts)


def by_rate(rates: list[float], raced: dict[str, Tensor]) -> dict[str, Tensor]:
    """For each rate the % right of each kind (seeds, kinds)."""
    right = torch.stack([values[:, :, 0] for values in raced.values()], 2)
    names = [f"lr {rate:g}" for rate in rates]
    return dict(zip(names, right.unbind(1), strict=True))


def at_best(
    raced: dict[str, dict[str, Tensor]],
) -> dict[str, Tensor]:
    """For each kind the % right at its best rate: (seeds, races)."""
    best = {title: best_places(results) for title, results in raced.items()}
    return {
        name: torch.stack(
            [raced[title][name][:, best[title][name], 0] for title in raced], 1
        )
        for name in next(iter(raced.values()))
    }


def best_places(raced: dict[str, Tensor]) -> dict[str, int]:
    """For each kind the place of the rate whose last losses are smallest.

    Their medians are compared. No new digits are looked at.
    """
    return {
        name: int(values[:, :, 1].nan_to_num(torch.inf).median(0)[0].argmin())
        for name, values in raced.items()
    }


def rates_figure(
    rates: list[float], raced: dict[str, dict[str, Tensor]]
) -> Figure:
    """A panel for each race: how many are right, over the rates."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    figure.suptitle("Median of five seeds; shaded: smallest to largest")
    row = figure.subplots(1, len(raced), sharey=True)
    for axes, (title, measured) in zip(row, raced.items(), strict=True):
        for name, values in measured.items():
            low, middle, high = values[:, :, 0].quantile(
                torch.tensor([0, 0.5, 1]), dim=0
            )
            (line,) = axes.plot(rates, middle, "o-", label=name)
            colour = line.get_color()
            axes.fill_between(rates, low, high, color=colour, alpha=0.2)
        axes.axhline(10, color="black", linewidth=1, linestyle=":")
        axes.set(title=title, xscale="log", xlabel="lr", ylim=(0, 100))
        axes.grid(alpha=0.3)
    row[0].set_ylabel("new digits right, in % (dotted: guessing)")
    row[1].legend(loc="lower left")
    return figure
