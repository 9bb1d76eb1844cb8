"""Do two tensors agree? Which way is faster?"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.markup import escape

from .outline import once
from .screen import console, say

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = (
    "  (1e-06 is 0.000001. float32 keeps about seven digits, and whoever\n"
    "  calculates in another order rounds in other places.)"
)


def agrees(
    what: str,
    ours: Tensor | dict[str, Tensor],
    theirs: Tensor | dict[str, Tensor],
    allowed: float,
) -> float:
    """Print and return the largest difference of tensors of the same shapes.

    Raises AssertionError if it is more than allowed, or the shapes differ.
    """
    if not isinstance(ours, dict):
        ours, theirs = {"": ours}, {"": theirs}
    difference = 0.0
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        shapes = f"{tuple(one.shape)} is not {tuple(other.shape)}"
        assert one.shape == other.shape, f"{what}: {shapes}"
        off = (one.double() - other.double()).abs().max().item()
        assert off <= allowed, f"{what}: differs by {off}, allowed is {allowed}"
        difference = max(difference, off)
    found = f"{difference:.0e}, allowed {allowed:.0e}" if difference else "0"
    console.print(f"[green]✓[/] {what}: largest difference {found}")
    if difference:
        once(ROUNDING)
    return difference


def speeds(
    ways: dict[str, Callable[[], object]],
) -> dict[str, float]:
    """Time each of the ways on one thread, print and return the seconds.

    The last is compared with the first. Two digits: no more of them would be
    the same the next time.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with more, waking them up is what is timed
    try:
        seconds = {name: _seconds(way) for name, way in ways.items()}
    finally:
        torch.set_num_threads(threads)
    for name, taken in seconds.items():
        console.print(f"{_two_digits(1000 * taken):>7} ms  {escape(name)}")
    (first, slow), *_, (last, quick) = seconds.items()
    times = _two_digits(slow / quick)
    say(f"On one thread, {last} is about {times} times as fast as {first}.")
    return seconds


def _two_digits(value: float) -> str:
    """123456 becomes 120,000; 0.01234 becomes 0.012."""
    value = float(f"{value:.1e}")
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _seconds(way: Callable[[], object]) -> float:
    """The least disturbed of three measurements of at least 0.02 s."""
    timer = timeit.Timer(way)
    number = max(1, int(0.02 / timer.timeit(1)))
    return min(timer.repeat(3, number)) / number
