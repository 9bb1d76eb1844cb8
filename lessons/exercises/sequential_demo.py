"""Cases for lessons/sequential_demo.py."""

from collections.abc import Callable
from itertools import pairwise, product

import torch
from torch import Tensor, nn

from lessons.sequential_demo import BIAS, WEIGHT
from shared.practice.cases import Cases, call, whole

NOT_ASKED = {
    "NamedNet": "the screen shows it whole; the exercise changes it",
    "cifar_net": "the screen shows it whole; the exercise changes it",
}


def Sequential() -> Cases:
    """Begin __init__ with super().__init__(): nothing can be kept before it.

    self.add_module("0", layer) keeps a layer under a name that self.0 can't.

    forward hands x from layer to layer, and returns what the last one gives.

    A layer may stand in the row twice. self.children() leaves out its second
    place: keep the tuple layers as well, and let forward go through that.

    Without any layer the output is the input.
    """
    linear = nn.Linear(2, 1)
    linear.load_state_dict({"weight": WEIGHT, "bias": BIAS[0]})
    yield (
        call(nn.ReLU(), linear),
        _like(nn.Sequential(nn.ReLU(), linear), torch.tensor([[-2.0, 5]])),
    )
    for widths in ((3,), (3, 5), (2, 7, 1), (4,) * 13):
        row = []
        for a, b in pairwise(widths):
            row += [nn.Linear(a, b), nn.Tanh()]
        yield call(*row), _like(nn.Sequential(*row), whole(5, widths[0]))
    twice, act = nn.Linear(3, 3), nn.LeakyReLU()
    row = [twice, act, twice, act]
    yield call(*row), _like(nn.Sequential(*row), torch.randn(4, 3))
    inner = nn.Sequential(nn.Linear(3, 3).double(), nn.ReLU())
    row = [inner, nn.Linear(3, 2).double()]
    batch = torch.randn(3, 4, dtype=torch.float64).T  # not contiguous
    yield call(*row), _like(nn.Sequential(*row), batch)
    row = [nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4).eval()]
    yield call(*row), _like(nn.Sequential(*row), torch.randn(0, 3, 2, 2))


def _like(pytorchs: nn.Module, x: Tensor) -> Callable[[nn.Module], None]:
    """The same output, and the same names for the same parameters."""

    def look(net: nn.Module) -> None:
        assert isinstance(net, nn.Module), "it is no nn.Module"
        torch.testing.assert_close(net(x), pytorchs(x))
        names, wanted = list(net.state_dict()), list(pytorchs.state_dict())
        assert names == wanted, f"its names are {names}, not {wanted}"
        pairs = zip(net.parameters(), pytorchs.parameters(), strict=True)
        assert all(one is other for one, other in pairs)

    return look


def size_after() -> Cases:
    """With zeros laid on both sides, a side has size + 2 * padding pixels.

    The first stop covers kernel of them; every further stop needs stride more.
    // rounds down, and the first stop counts, too.
    """
    yield call(32, 5, 1, 2), 32
    yield call(32, 2, 2, 0), 16
    yield call(7, 2, 2, 0), 3
    for size, kernel, stride, padding in product(
        (5, 6, 11, 28), (1, 2, 3, 5), (1, 2, 3, 7), (0, 1, 2)
    ):
        layer = nn.Conv1d(1, 1, kernel, stride, padding)
        expected = layer(torch.zeros(1, 1, size)).size(2)
        yield call(size, kernel, stride, padding), expected
        if 2 * padding <= kernel:  # more MaxPool1d refuses
            layer = nn.MaxPool1d(kernel, stride, padding)
            expected = layer(torch.zeros(1, 1, size)).size(2)
            yield call(size, kernel, stride, padding), expected


def dry_run() -> Cases:
    """torch.zeros(1, 3, size, size) is one picture, with nothing on it.

    What the layers make of it has the shape (1, how many numbers).

    Nobody needs the gradients of zeros: with torch.no_grad() saves their work.
    """
    flatten = nn.Flatten()
    yield call(flatten, 2), 12
    yield call(nn.Sequential(nn.MaxPool2d(2), flatten), 9), 48
    for size, channels, kernel in product((7, 8, 32), (1, 5), (1, 3, 5)):
        conv = nn.Conv2d(3, channels, kernel)
        side = size - kernel + 1
        row = [conv, nn.ReLU(), flatten]
        yield call(nn.Sequential(*row), size), channels * side * side
        row.append(nn.LazyLinear(6))
        yield call(nn.Sequential(*row), size), 6
