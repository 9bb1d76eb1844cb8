"""How long a copy to a GPU takes: measured where there is one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from shared import console

Stopwatch = Callable[..., list[float]]
NUMBERS = 16 * 2**20  # float32: 64 MB


def say_copies(
    on: torch.device, stopwatch: Stopwatch, wait: Callable[[], Any]
) -> None:
    """Time copies from the CPU, and between GPUs; without CUDA say so."""
    if on.type != "cuda":
        console.say(
            f"Not measured, as {on} is no CUDA device: copies from pinned "
            "memory. There images.pin_memory().to(device, non_blocking=True) "
            "returns before the copy is done. DataLoader(..., pin_memory=True) "
            "pins each batch."
        )
        return
    copies_table(on, stopwatch, wait)
    console.say(
        "Each copies 64 MB; the median of nine. Not waited for, the copy is "
        "still under way. On the way back, .to('cpu', non_blocking=True), "
        "synchronise before you read: the numbers may not be there yet."
    )


def copies_table(
    on: torch.device, stopwatch: Stopwatch, wait: Callable[[], Any]
) -> None:
    """Medians in ms, of copies in pageable and in pinned memory."""
    plain = torch.rand(NUMBERS)
    pinned = plain.pin_memory()
    ways = {
        "to(device)": (partial(plain.to, on), wait),
        "pinned": (partial(pinned.to, on), wait),
        "pinned, non_blocking": (_sending(pinned, on), wait),
        "pinned, non_blocking, not waited for": (
            _sending(pinned, on),
            lambda: None,
        ),
    }
    if torch.cuda.device_count() > 1:
        others = [i for i in range(torch.cuda.device_count()) if i != on.index]
        other = torch.device("cuda", others[-1])
        ways[f"{on} to {other}"] = (
            partial(plain.to(on).to, other),
            partial(_wait_for_both, wait, other),
        )
    rows = []
    for name, (copy, waiting) in ways.items():
        middle = sorted(stopwatch(copy, waiting))[4]
        rows.append((name, f"{1000 * middle:.3f}"))
    console.table(["copy", "ms"], rows)


def _sending(pinned: Tensor, on: torch.device) -> Callable[[], Tensor]:
    return partial(pinned.to, on, non_blocking=True)


def _wait_for_both(wait: Callable[[], Any], other: torch.device) -> None:
    wait()
    torch.cuda.synchronize(other)
