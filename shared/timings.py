"""Times of matrix products: measured, as a table, and who is faster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from shared import console
from shared.device import bf16_in_hardware
from shared.figures import curves_figure

SIZES = (8, 64, 256, 512, 1024, 2048, 4096)
Seconds = dict[str, list[list[float]]]  # a way: at each size, several times
Median = Callable[[list[float]], float]
Stopwatch = Callable[..., list[float]]
CPU = torch.device("cpu")
COPIES, NO_WAIT = "with copies", ", no wait"


@contextmanager
def undisturbed(on: torch.device) -> Iterator[None]:
    """Let the CPU use one thread where it is timed alone.

    Beside a GPU it keeps all, as that is what a GPU has to beat.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if on == CPU else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def products(
    on: torch.device,
    size: int,
    stopwatch: Stopwatch,
    synchronise: Callable[[torch.device], Any],
) -> tuple[list[int], Seconds]:
    """Time the product of two (n, n) in each way, for each n up to size."""
    sizes = [*(n for n in SIZES if n < size), size]
    measured = {name: [] for name in _ways(on)}
    squares = {n: torch.rand(n, n) for n in sizes}
    for n in [n for n in sizes for _ in range(2)]:  # the first warms all up
        square = squares[n]
        for name, (device, dtype, waits) in _ways(on).items():
            wait = partial(synchronise, device) if waits else _no_wait
            moved = square.to(device, dtype)
            work = partial(torch.matmul, moved, moved)
            if name == COPIES:
                work = partial(_there_and_back, square, device)
            measured[name].append(stopwatch(work, wait))
            synchronise(device)
    return sizes, {name: times[1::2] for name, times in measured.items()}


def _no_wait() -> None:
    pass


def _ways(on: torch.device) -> dict[str, tuple[torch.device, Any, bool]]:
    """Where, in which dtype, and whether the clock waits.

    The two clocks stand side by side: what disturbs one disturbs the other.
    """
    ways = {"cpu": (CPU, torch.float32, True)}
    if on != CPU:
        ways[f"{on}"] = (on, torch.float32, True)
    ways[f"{on}{NO_WAIT}"] = (on, torch.float32, False)
    ways["cpu bfloat16"] = (CPU, torch.bfloat16, True)
    if on != CPU:
        if bf16_in_hardware(on.type):
            ways[f"{on} bfloat16"] = (on, torch.bfloat16, True)
        ways[COPIES] = (on, torch.float32, True)
    return ways


def _there_and_back(square: Tensor, on: torch.device) -> Tensor:
    moved = square.to(on)
    return (moved @ moved).cpu()


def timing_table(
    on: torch.device, sizes: list[int], measured: Seconds, median: Median
) -> None:
    """A row for each size n, a column for each way: medians in ms.

    Says what the columns are, and which way is faster than the first.
    """
    rows = [
        (n, *(f"{1000 * median(way[row]):.3f}" for way in measured.values()))
        for row, n in enumerate(sizes)
    ]
    console.table(["n", *measured], rows)
    _say_clocks(on, sizes, measured, median)
    say_faster(sizes, measured)
    if sizes[:2] == [8, 64]:
        _say_calls(*next(iter(measured.items())), median)


def _say_calls(name: str, way: list[list[float]], median: Median) -> None:
    """Say that at n = 8 the call costs more than the work, if it does."""
    ratio = median(way[1]) / median(way[0])
    if ratio < 50:  # a tenth of what the work grows by
        console.say(
            f"From n = 8 to 64 the work grows 512-fold, {name}'s time "
            f"{ratio:.1f}-fold: at n = 8 the call costs more than the work. "
            "Who is faster there can change from run to run."
        )


def _say_clocks(
    on: torch.device, sizes: list[int], measured: Seconds, median: Median
) -> None:
    """Say what the columns are, and what a clock sees that doesn't wait."""
    threads = torch.get_num_threads()
    cores = f"{threads} of its cores" if threads > 1 else "one of its cores"
    console.say(
        "The median, the middle one, of nine times in ms. All is float32 that "
        "doesn't say bfloat16. The CPU "
        f"used {cores}. {on}{NO_WAIT}: a clock that doesn't synchronise."
    )
    if on == CPU:
        console.say(
            "On the CPU there is nothing to wait for: the clocks differ by the "
            "call of wait() alone, and by chance. On a GPU the one that "
            "doesn't wait times the order. How much faster a GPU is, only a "
            "machine with one can say."
        )
        return
    square = torch.rand(64, 64)
    there = _there_and_back(square, on)
    console.agrees(f"{on} = cpu, at n = 64", there, square @ square, 1e-2)
    waited, not_waited = (
        1000 * median(measured[name][-1])
        for name in (f"{on}", f"{on}{NO_WAIT}")
    )
    console.say(
        f"At n = {sizes[-1]} that one says {not_waited:.3f} ms, and the work "
        f"takes {waited:.3f}. {COPIES}: from the CPU to {on}, and back."
    )


def say_faster(sizes: list[int], measured: Seconds) -> None:
    """Compare each way with the first: at which sizes is it faster, slower?

    A way is faster where the middle half of its times (of nine: five) lies
    wholly below the middle half of the other's.
    """
    (first, base), *others = measured.items()
    for name, way in others:
        if name.endswith(NO_WAIT):
            continue  # no time of the work
        pairs = list(zip(sizes, way, base, strict=True))
        faster = [n for n, one, other in pairs if _below(one, other)]
        slower = [n for n, one, other in pairs if _below(other, one)]
        found = f"faster at {_listed(faster)}, slower at {_listed(slower)}"
        if len(sizes) == 1:
            found = (
                "faster" if faster else "slower" if slower else "about as fast"
            )
        console.say(f"{name}: {found}.")
    console.say(
        f"Against {first}: where the middle five of nine times lie apart."
    )


def _below(one: list[float], other: list[float]) -> bool:
    return _middle(one)[-1] < _middle(other)[0]


def _middle(times: list[float]) -> list[float]:
    """The middle half: of nine times, the third to the seventh."""
    quarter = len(times) // 4
    return sorted(times)[quarter : len(times) - quarter]


def _listed(sizes: list[int]) -> str:
    return f"n = {', '.join(map(str, sizes))}" if sizes else "no n"


def timings_figure(
    sizes: list[int], measured: Seconds, median: Median
) -> Figure:
    """Medians in ms over the size, both axes in powers."""

    def medians(way: list[list[float]]) -> Tensor:
        return torch.tensor([1000 * median(times) for times in way])

    curves = {name: medians(way) for name, way in measured.items()}
    axis = "n: two matrices (n, n) are multiplied"
    figure = curves_figure(torch.tensor(sizes), curves, axis, "ms", "log")
    (axes,) = figure.axes
    axes.set_title("How long a matrix product takes (medians)")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.grid(alpha=0.3)
    for line in axes.lines:
        line.set_marker("o")
    return figure
