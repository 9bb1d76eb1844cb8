"""A case: a call of what someone wrote by hand, and what it must give.

The cases of a lesson stand in lessons/exercises, and judge the lesson's own
code as they judge a learner's.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Call(NamedTuple):
    args: tuple[Any, ...]
    options: dict[str, Any]


Cases = Iterator[tuple[Call, Any]]  # a call, and its result or a look at it


def call(*args: Any, **options: Any) -> Call:
    """The arguments of a call. Options go by name, so that a hint can too."""
    return Call(args, options)


def whole(*shape: int) -> Tensor:
    """Random whole numbers from -3 to 3: a case can be redone on paper."""
    return torch.randint(-3, 4, shape).float()


def judge(subject: Callable[..., Any], cases: Callable[[], Cases]) -> int:
    """Try a function or class on its cases, the same ones each time.

    Returns how many there were. Raises AssertionError at the first result that
    differs from what is expected in shape, in dtype, or by more than rounding.
    """
    torch.manual_seed(0)
    count = 0
    for (args, options), expected in cases():
        count += 1
        result = subject(*args, **options)
        if callable(expected):
            expected(result)
        else:
            torch.testing.assert_close(result, expected, equal_nan=True)
    return count
