"""Pairs of a mistake and its mend, measured: wrong_<name> and right_<name>.

Each takes a seed and those of some given values that its signature names, and
returns a number. The first sentence of a docstring is what a table says of it.
"""

import inspect
import sys
from collections.abc import Callable
from typing import Any

import torch
import typer
from torch import Tensor

from shared import console
from shared.console.code import code_without_docstring
from shared.seeds import SEEDS, over_seeds, spread

KINDS = {"wrong": "✗", "right": "✓"}
Units = dict[str, str]  # of some names; the others are in %


def names_of(module: str) -> list[str]:
    """The pairs of a module, as they stand: names_of(__name__)."""
    found, start = vars(sys.modules[module]), "wrong_"
    return [n.removeprefix(start) for n in found if n.startswith(start)]


def one_of(module: str) -> Callable[[str | None], str | None]:
    """An option's callback: a name of the module's, or none."""

    def check(name: str | None) -> str | None:
        names = names_of(module)
        if name is not None and name not in names:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(names)}.")
        return name

    return check


def pair(module: str, name: str) -> list[Callable[..., Any]]:
    return [vars(sys.modules[module])[f"{kind}_{name}"] for kind in KINDS]


def measure(module: str, names: list[str], **given: Any) -> dict[str, Tensor]:
    """For each name what its pair returned (seeds, 2), wrong and right."""

    def both(name: str, seed: int) -> list[Tensor]:
        return [_called(f, seed, given) for f in pair(module, name)]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of tensors this small two make it no faster
    try:
        return over_seeds(
            lambda *one: torch.tensor([float(n) for n in both(*one)]), names
        )
    finally:
        torch.set_num_threads(threads)


def _called(function: Callable[..., Any], seed: int, given: dict) -> Any:
    asked = inspect.signature(function).parameters
    return function(seed, **{n: given[n] for n in asked if n in given})


def told(function: Callable[..., Any]) -> tuple[str, str]:
    """The first sentence of a docstring, and the others."""
    text = " ".join((inspect.getdoc(function) or "").split())
    title, _, why = text.partition(". ")
    return title.rstrip("."), why


def in_words(values: Tensor, unit: str) -> str:
    return f"{spread(values, '.2f' if unit == 'MSE' else '.0f')} {unit}"


def show_table(module: str, measured: dict[str, Tensor], units: Units) -> None:
    """Two rows for each pair: what is wrong, what mends it, what each gave."""
    rows = []
    for name, values in measured.items():
        functions = pair(module, name)
        for place, mark in enumerate(KINDS.values()):
            said = f"{mark} {told(functions[place])[0]}"
            gave = in_words(values[:, place], units.get(name, "%"))
            rows.append((name if place == 0 else "", said, gave))
    console.table(["name", "✗ mistake, ✓ mend", "what comes of it"], rows)
    console.say(f"The median of {len(SEEDS)} seeds (smallest to largest).")


def show_pair(
    module: str,
    measured: dict[str, Tensor],
    units: Units,
    common: list[Callable[..., Any]],
    about: dict[str, str],
) -> None:
    """The one pair that was measured: its code, and what each seed gave.

    Of common, what the pair calls is shown first; about explains given values.
    """
    ((name, values),) = measured.items()
    names, functions = names_of(module), pair(module, name)
    number = f"Mistake {names.index(name) + 1} of {len(names)}: {name}"
    console.section(number)
    source = "".join(map(inspect.getsource, functions))
    console.code(*(f for f in common if f"{f.__name__}(" in source))
    for given, text in about.items():
        if f"{given}: " in source:
            console.say(text)
    unit = units.get(name, "%")
    for function, kind, column in zip(functions, KINDS, values.T, strict=True):
        title, why = told(function)
        if kind == "right":
            console.say(f"Instead: {title}. {why}".strip())
        code_without_docstring(function)
        console.ask("What will it give?")
        form = ".2f" if unit == "MSE" else ".0f"
        each = ", ".join(f"{value:{form}}" for value in column.tolist())
        console.say(f"{KINDS[kind]} {in_words(column, unit)}; by seed {each}")
        if kind == "wrong":
            console.say(f"{title}. {why}".strip())
    what = "Accuracy" if unit == "%" else unit
    console.say(
        f"{what}: the median of {len(SEEDS)} seeds (smallest to largest)."
    )
