"""Cases for lessons/linear_demo.py."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.linear_demo import BIAS, IMAGES, WEIGHT
from shared.practice.cases import Cases, call, whole

ANY = ((), (1,), (4,), (0,), (2, 3), (2, 0, 3), (2, 1, 2, 2))


def flatten() -> Cases:
    """The shape first: sizes before start_dim stay, the others are multiplied.

    itertools.product(range(2), range(3)) goes through (0, 0), (0, 1), (0, 2),
    (1, 0), ...: in that order the numbers stand in the row.

    out[..., place] is the number at that place of each row that stays. An
    index made of parts is a tuple: x[(..., *index)].
    """
    rows = Tensor([[1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 0, 2, 1, 0, 3, 0]])
    yield call(IMAGES, start_dim=1), rows
    yield call(IMAGES), rows.view(16)
    for start_dim in (0, 1, 2, 3, -1, -2):
        x = whole(2, 3, 4, 2)
        yield call(x, start_dim=start_dim), torch.flatten(x, start_dim)
    for shape in ((1,), (5,), (3, 1), (1, 1, 1, 1), (0, 3, 4, 4), (2, 0, 3)):
        x = torch.randn(shape)
        yield call(x), x.flatten()
        yield call(x, start_dim=-1), x.flatten(-1)
    no_images = torch.zeros(0, 3, 4, 4)
    yield call(no_images, start_dim=1), no_images.flatten(1)
    yield call(torch.tensor(7.0)), torch.tensor([7.0])  # no dimension
    for dtype in (torch.float64, torch.float16, torch.uint8):
        x = whole(2, 2, 3).abs().to(dtype)
        yield call(x, start_dim=1), x.flatten(1)
    from_file = whole(2, 3, 4, 3).permute(0, 3, 1, 2)  # not contiguous
    yield call(from_file, start_dim=1), from_file.flatten(1)


def linear_loops() -> Cases:
    """One output is bias[j] plus all x[n, i] * weight[j, i], added up.

    Three loops: over the images n, the outputs j, the inputs i.
    """
    yield from _layers((1,), (4,), (0,))


def linear_sums() -> Cases:
    """All products at once need a shape (images, outputs, inputs).

    x[..., None, :] has a dimension of size 1 before its last; weight is
    stretched over the others. Then add up over the last dimension.

    With None there, x may have other dimensions than one before its last.
    """
    yield from _layers(*ANY)


def linear_product() -> Cases:
    """Each row of x meets each column of the other side of @.

    weight has a row for each output. weight.T has a column for each.
    """
    yield from _layers(*ANY)


def _layers(*befores: tuple[int, ...]) -> Iterator:
    """F.linear on edges, and x with these sizes before its last dimension."""
    rows = IMAGES.flatten(1)
    yield call(rows, WEIGHT, BIAS), Tensor([[-6, 16], [9, 7]])
    one = Tensor([[3]])
    yield call(one, Tensor([[2]]), Tensor([1])), Tensor([[7]])
    for before in befores:
        inputs, outputs = torch.randint(1, 6, (2,)).tolist()
        for dtype in (torch.float32, torch.float64):
            layer = whole(outputs, inputs).to(dtype), whole(outputs).to(dtype)
            x = whole(*before, inputs).to(dtype)
            yield call(x, *layer), F.linear(x, *layer)
    layer = torch.randn(3, 5), torch.randn(3)
    for x in (torch.randn(5, 4).T, torch.randn(4, 10)[:, ::2]):
        yield call(x, *layer), F.linear(x, *layer)
    x, weight = torch.randn(2, 5), torch.randn(5, 3).T  # weight is a view
    yield call(x, weight, layer[1]), F.linear(x, weight, layer[1])
    halves = [t.half() for t in (torch.randn(4, 5), *layer)]
    yield call(*halves), _near(F.linear(*(t.float() for t in halves)))


def _near(expected: Tensor) -> Callable[[Tensor], None]:
    """Half precision keeps three digits, and who rounds when is left open."""

    def look(out: Tensor) -> None:
        assert out.dtype == torch.float16, f"{out.dtype} is not float16"
        near = {"rtol": 1e-2, "atol": 2e-2}
        torch.testing.assert_close(out.float(), expected, **near)

    return look


def averages() -> Cases:
    """rows[labels == 3] are those of class 3. Take the mean over dimension 0.

    The bias takes half of the sum of the squares of each average off, so that
    the largest output belongs to the average with the smallest squared
    differences to the row.
    """
    labels = torch.arange(10)
    yield call(torch.eye(10), labels), (torch.eye(10), torch.full((10,), -0.5))
    yield (
        call(torch.zeros(10, 3), labels),
        (torch.zeros(10, 3), torch.zeros(10)),
    )
    for dtype in (torch.float32, torch.float64):
        rows = torch.rand(6, 40, dtype=dtype).T  # not contiguous
        labels = torch.arange(40)[torch.randperm(40)] % 10
        yield call(rows, labels), _nearest(rows, labels)


def _nearest(rows: Tensor, labels: Tensor) -> Callable[[tuple], None]:
    """Twice the outputs and the squared differences add up to x's squares."""

    def look(layer: tuple[Tensor, Tensor]) -> None:
        weight, bias = layer
        for j in range(10):
            mean = sum(rows[i] for i in range(40) if labels[i] == j) / 4
            torch.testing.assert_close(weight[j], mean)
            apart = ((rows - mean) ** 2).sum(1)
            twice = 2 * F.linear(rows, weight, bias)[:, j]
            torch.testing.assert_close(apart + twice, (rows**2).sum(1))

    return look
