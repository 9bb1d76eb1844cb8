"""Cases for lessons/train_text.py."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from shared.practice.cases import Cases, call


def _is(expected: Any) -> Callable[[Any], None]:
    """A look at what isn't a tensor."""

    def look(result: Any) -> None:
        assert result == expected, f"{result!r} is not {expected!r}"

    return look


def lstm_cell() -> Cases:
    """w_x @ x + b_x + w_h @ h + b_h holds i, f, g and o, one after another.

    Sigmoid makes i, f and o shares from 0 to 1; g goes through tanh.

    The new c is f times the old one plus i times g. h is o times tanh of c.
    """
    paper = [torch.tensor(n) for n in ([0.0, 2, 2, 0], [0.0, 0, 0, 1])]
    weights = [w.view(4, 1) for w in paper] + [torch.zeros(4)] * 2
    zero, c = torch.zeros(1), 0.5 * torch.tensor([2.0]).tanh()
    yield call(torch.ones(1), zero, zero, weights), (0.5 * c.tanh(), c)
    for size, hidden, dtype in (
        (1, 1, torch.float32),
        (3, 5, torch.float32),
        (7, 2, torch.float64),
    ):
        lstm = nn.LSTMCell(size, hidden, dtype=dtype)
        weights = [w.detach() for w in lstm.parameters()]
        x, h, c = (torch.randn(n, dtype=dtype) for n in (size, hidden, hidden))
        yield call(x, h, c, weights), tuple(n.detach() for n in lstm(x, (h, c)))


def tokenize() -> Cases:
    """Lower case first, but for humps: DataFrame is data and frame.

    A sign is a token of its own; letters and digits in a row are one.

    Chinese has no spaces between its words: each character is a token.
    """
    yield call("The cat sat."), _is(["the", "cat", "sat", "."])
    yield call("Don't stop!"), _is(["don", "'", "t", "stop", "!"])
    yield call("a DataFrame"), _is(["a", "data", "frame"])
    yield call("set_xlim2"), _is(["set", "_", "xlim2"])
    yield call("我爱PyTorch。"), _is(["我", "爱", "py", "torch", "。"])
    yield call(" \t\n"), _is([])
    yield call("caf\u0065\u0301 É"), _is(["café", "é"])


def build_vocabulary() -> Cases:
    """Count the tokens of all texts; leave out what occurs once.

    The most frequent gets number 2, for 0 is padding and 1 is unknown.

    Of equally frequent ones, the first in the alphabet comes first.

    size counts padding and unknown, too.
    """
    two = [["b", "a", "b"], ["c", "a", "b"]]
    yield call(two, 50), {"b": 2, "a": 3}
    yield call([*two, ["c"]], 50), {"b": 2, "a": 3, "c": 4}
    yield call([*two, ["c"]], 4), {"b": 2, "a": 3}
    yield call(two, 2), {}
    yield call([["x"], []], 50), {}
    yield call([], 50), {}


def pad() -> Cases:
    """torch.zeros with dtype=torch.int64, as wide as the longest row.

    Copy each row to the beginning of its line.
    """
    yield call([[5, 6, 7], [8]]), torch.tensor([[5, 6, 7], [8, 0, 0]])
    yield call([[5]]), torch.tensor([[5]])
    for lengths in ((1, 9, 4), (3, 3), (2, 60, 1, 1)):
        rows = [torch.randint(1, 99, (n,)) for n in lengths]
        padded = pad_sequence(rows, batch_first=True)
        yield call([row.tolist() for row in rows]), padded


def max_over_time() -> Cases:
    """Where tokens is 0 there is padding: -inf there, and it never wins.

    The mask (N, T) needs a third dimension, and then the maximum of dim 1.
    """
    outputs = torch.tensor([[[-1.0, 2], [-3, 4], [0, 9]]])
    yield call(outputs, torch.tensor([[5, 6, 0]])), torch.tensor([[-1.0, 4]])
    yield call(outputs, torch.tensor([[5, 6, 7]])), torch.tensor([[0.0, 9]])
    for n, t, h in ((1, 1, 1), (3, 7, 4), (2, 20, 5)):
        outputs, lengths = torch.randn(n, t, h), torch.randint(1, t + 1, (n,))
        tokens = (torch.arange(t) < lengths[:, None]).long()
        rows = zip(outputs, lengths.tolist(), strict=True)
        most = torch.stack([row[:length].amax(0) for row, length in rows])
        yield call(outputs, tokens), most
