"""Measure the same thing with several seeds: one run may be luck."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from shared.console import progress


def over_seeds(
    measure: Callable[[str, int], Tensor], names: list[str], seeds: range
) -> dict[str, Tensor]:
    """Call measure(name, seed) for every name and seed: for each name its values (seeds, ...)."""
    values = {name: [] for name in names}
    with progress("runs") as bar:
        for name, seed in bar.track(list(product(names, seeds)), description="measuring"):
            values[name].append(measure(name, seed))
    return {name: torch.stack(measured) for name, measured in values.items()}


def spread(values: Tensor, form: str) -> str:
    """The median, and in brackets from the smallest to the largest, each in the format form."""
    return f"{values.quantile(0.5):{form}} ({values.min():{form}} to {values.max():{form}})"
