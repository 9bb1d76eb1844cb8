"""Measure the same thing with several seeds: one run may be luck."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from shared.console import progress


def over_seeds(
    measure: Callable[[str, int], Tensor], names: list[str], seeds: range
) -> dict[str, Tensor]:
    """Call measure(name, seed) for every name and seed.

    Returns for each name its values (seeds, ...).
    """
    values = {name: [] for name in names}
    with progress("runs") as bar:
        runs = list(product(names, seeds))
        for name, seed in bar.track(runs, description="measuring"):
            values[name].append(measure(name, seed))
    return {name: torch.stack(measured) for name, measured in values.items()}


def spread(values: Tensor, form: str) -> str:
    """The median, and in brackets from the smallest to the largest.

    Each number is in the format form.
    """
    median, low, high = values.quantile(0.5), values.min(), values.max()
    return f"{median:{form}} ({low:{form}} to {high:{form}})"
