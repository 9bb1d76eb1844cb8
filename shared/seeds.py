"""Measure the same thing with several seeds: one run may be luck."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

from shared import console

SEEDS = range(5)


def over_seeds(
    measure: Callable[[str, int], Tensor | list[Tensor]],
    names: list[str],
    seeds: range = SEEDS,
) -> dict[str, Tensor]:
    """Call measure(name, seed) for every name and seed: a tensor or numbers.

    Returns for each name its values (seeds, ...).
    """
    values = {name: [] for name in names}
    with console.progress("runs") as bar:
        runs = list(product(names, seeds))
        for name, seed in bar.track(runs, description="measuring"):
            values[name].append(torch.as_tensor(measure(name, seed)))
    return {name: torch.stack(measured) for name, measured in values.items()}


def shares_right(
    nets: list[nn.Module], test: tuple[Tensor, Tensor], at_once: int = 1000
) -> Tensor:
    """For each network: the share of the images whose class it finds.

    test has the images (N, ...) and their labels (N,); at_once of them make a
    batch. Each network stays in the mode that it is in.
    """
    batches = test[0].split(at_once)
    with torch.no_grad():
        outputs = [torch.cat([net(some) for some in batches]) for net in nets]
    return (torch.stack(outputs).argmax(2) == test[1]).float().mean(1)


def spread(values: Tensor, form: str) -> str:
    """The median, and in brackets from the smallest to the largest.

    Each number is in the format form.
    """
    median, low, high = values.quantile(0.5), values.min(), values.max()
    return f"{median:{form}} ({low:{form}} to {high:{form}})"


def spread_table(
    columns: dict[str, int], measured: dict[str, Tensor], form: str
) -> None:
    """Print a row for each name: the spread of some of its values (seeds, ...).

    columns says which: the heading, and the place in the last dimension.
    """
    rows = [
        (name, *(spread(values[:, place], form) for place in columns.values()))
        for name, values in measured.items()
    ]
    console.table(["", *columns], rows)
    console.say(f"The median of {len(SEEDS)} seeds (smallest to largest).")


def say_ahead(columns: dict[str, int], measured: dict[str, Tensor]) -> None:
    """Of two names: in which columns are all of the second's values above?

    columns and measured are as in spread_table.
    """
    (one, lower), (other, upper) = measured.items()
    above = upper.min(0).values > lower.max(0).values
    ahead = [heading for heading, place in columns.items() if above[place]]
    rest = [heading for heading in columns if heading not in ahead]
    all_of = f'All {len(upper)} "{other}" are above all {len(lower)} "{one}" at'
    console.say(
        f"{all_of}: {', '.join(ahead) or 'none of these'}."
        + (f" Not at: {', '.join(rest)}." if ahead and rest else "")
    )


def say_leaders(
    claim: str, columns: dict[str, int], measured: dict[str, Tensor]
) -> None:
    """Say which names lead in each column, and so whether one wins all.

    That one does is what claim says: "claim 4", say.
    """
    leaders = {
        heading: within_reach({n: v[:, place] for n, v in measured.items()})
        for heading, place in columns.items()
    }
    for heading, names in leaders.items():
        console.say(f"{heading}: {', '.join(names)} lead.")
    alone = {tuple(names) for names in leaders.values()}
    if len(alone) == 1 and len(*alone) == 1:
        winner = alone.pop()[0]
        console.say(f"{winner} leads everywhere and alone: {claim} holds.")
    else:
        console.say(
            "To lead is to have the highest median, or a spread that overlaps "
            "with that one's: the order may be chance. None leads everywhere "
            f"and alone: {claim} fails."
        )


def within_reach(measured: dict[str, Tensor]) -> list[str]:
    """The name with the highest median, and all whose best reaches its worst.

    Which of them is ahead may be chance.
    """
    highest = max(measured, key=lambda name: measured[name].quantile(0.5))
    worst = measured[highest].min()
    return [name for name, values in measured.items() if values.max() >= worst]
