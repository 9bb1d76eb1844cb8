"""Cases for lessons/device_demo.py."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._pytree import tree_map_only

from shared.practice.cases import Cases, call, whole

NOT_ASKED = {"synchronise": "a case would need a GPU"}


def move() -> Cases:
    """Begin with a tensor alone: its .to(device) is what comes out.

    Of a dictionary, move each value; the names stay. Of a list or a tuple, move
    each part, and make a list or a tuple of them again.

    Whatever else comes in goes out as it is. What came in is not changed.
    """
    images, labels = whole(2, 3) + 5, torch.tensor([1, 2])
    nests = (
        images,
        [labels, images],
        {"names": ["a", "b"], "size": 3, "images": images},
        {"none": None, "nest": {"pair": (labels, [images, images.T])}},
        (images.double(), images.half(), images[:, ::2]),
        {"empty": {}, "a": [], "b": (), "last": torch.zeros(0, 3)},
        "no tensor",
    )
    devices = ["cpu", torch.device("meta")]
    if torch.cuda.is_available():
        devices.append("cuda:0")
    for device in devices:
        for nest in nests:
            yield call(nest, device), _as_mapped(nest, device)


def _as_mapped(nest: Any, device: torch.device | str) -> Callable[[Any], None]:
    """PyTorch's own walk through a nest; of meta there are no numbers."""
    moved = tree_map_only(Tensor, lambda t: t.to(device), nest)

    def look(found: Any) -> None:
        assert _plan(found) == _plan(moved), f"{_plan(found)}"
        if device != torch.device("meta"):
            assert_close(_numbers(found), _numbers(moved), rtol=0, atol=0)
        assert all(t.device.type == "cpu" for t in _numbers(nest))

    return look


def _plan(nest: Any) -> Any:
    """The same nest with each tensor's dtype, shape and device in its place."""
    return tree_map_only(
        Tensor, lambda t: ("tensor", t.dtype, tuple(t.shape), t.device), nest
    )


def _numbers(nest: Any) -> list[Tensor]:
    found: list[Tensor] = []
    tree_map_only(Tensor, found.append, nest)
    return found


def stopwatch() -> Cases:
    """Call work() once before the first measurement, and leave that out.

    Before you read the clock, wait(): what was ordered before must be done.

    After work() wait() again, and only then read the clock once more.
    """
    for times in (1, 2, 9):
        work, wait, look = _watched(times)
        yield call(work, wait, times), look
    work, wait, look = _watched(9)
    yield call(work, wait), look  # nine unless it is said


def _watched(times: int) -> tuple[Callable, Callable, Callable]:
    """A work and a wait that note when they begin and end."""
    notes: list[tuple[str, float, float]] = []

    def noting(name: str) -> Callable[[], None]:
        def act() -> None:
            start = time.perf_counter()
            while time.perf_counter() - start < 1e-5:
                pass
            notes.append((name, start, time.perf_counter()))

        return act

    def look(seconds: list[float]) -> None:
        """Each second count lies between what must and what may be in it."""
        notes.append(("end", time.perf_counter(), 0.0))
        names = " ".join(name for name, *_ in notes if name != "end")
        counted = " ".join(["wait work wait"] * times)
        allowed = f"work {counted}", f"work wait {counted}"
        assert names in allowed, f"called: {names}"
        assert len(seconds) == times
        rounds = notes[names.split().index("wait", 1) :]
        if names == allowed[1]:
            rounds = notes[2:]
        for i, found in enumerate(seconds):
            before, work, wait, after = rounds[3 * i : 3 * i + 4]
            assert wait[2] - work[1] <= found <= after[1] - before[2]

    return noting("work"), noting("wait"), look


def median() -> Cases:
    """Sort first. Of five values, which index has the one in the middle?

    Of four, the indices 1 and 2 share the middle: take their mean.
    """
    yield call([7.0]), 7.0
    yield call([3.0, 1.0, 2.0]), 2.0
    yield call([3.0, 1.0, 2.0, 100.0]), 2.5
    for count in (2, 9, 10, 101):
        values = torch.randn(count, dtype=torch.double)
        yield call(values.tolist()), values.quantile(0.5).item()


def to_bfloat16() -> Cases:
    """torch.frexp(x) gives m and e: x = m * 2**e, m from 0.5 to 1.

    Eight binary digits of m are the whole part of 256 * m, after rounding.

    torch.ldexp(m, e) is m * 2**e. You multiplied by 256, which is 2**8.
    """
    yield call(torch.tensor([1.01])), torch.tensor([1.0078125])
    yield call(torch.tensor([257.0, 259.0])), torch.tensor([256.0, 260.0])
    yield call(torch.tensor([-1.01, 0, 3e38])), _kept([-1.01, 0, 3e38])
    limits = [float("inf"), -float("inf"), float("nan"), 3.4e38, 2.0**-126]
    yield call(torch.tensor(limits)), _kept(limits)
    yield call(torch.zeros(0)), torch.zeros(0)
    for shape in ((1000,), (3, 4, 5)):
        for size in (1e-30, 1.0, 1e30):
            x = size * torch.randn(shape)
            yield call(x), x.bfloat16().float()
    turned = torch.randn(5, 7).T
    yield call(turned), turned.bfloat16().float()


def _kept(values: list[float]) -> Tensor:
    return torch.tensor(values).bfloat16().float()
