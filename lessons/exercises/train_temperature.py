"""Cases for lessons/train_temperature.py."""

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.datasets.temperatures import Days
from shared.practice.cases import Cases, call, whole

NOT_ASKED = {"train": "it is run by the lesson, and is PyTorch's own loop"}
SHAPES = [(1, 1, 1), (5, 3, 4), (1, 14, 128), (70, 14, 128), (0, 3, 2)]


def standardise() -> Cases:
    """Subtract the mean of the known rows, divide by their std.

    std(0, correction=0) divides by N, as StandardScaler does.

    A column that is the same in all known rows: divide by 1, not by 0.
    """
    yield (
        call(Tensor([[1], [3], [5]]), Tensor([[1], [3]])),
        Tensor([-1, 1, 3])[:, None],
    )
    year = torch.tensor([[2016.0, 1], [2016, 3]])
    yield call(year, year), Tensor([[0, -1], [0, 1]])
    same = torch.full((5, 1), 45.6, dtype=torch.float64)
    yield call(same + 1, same), torch.ones(5, 1, dtype=torch.float64)
    for dtype in (torch.float32, torch.float64):
        values = (10 * torch.randn(9, 4, dtype=dtype) + 50).T.contiguous().T
        known = values[:6]
        std = known.std(0, correction=0)
        yield call(values, known), (values - known.mean(0)) / std


def _weights(inputs: int, hidden: int, dtype: torch.dtype) -> list[Tensor]:
    shapes = (inputs, hidden), (hidden,), (hidden, 1), (1,)
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def _layers(weights: list[Tensor]) -> nn.Sequential:
    """PyTorch's own network with these weights."""
    w1, b1, w2, b2 = weights
    net = nn.Sequential(nn.Linear(*w1.shape), nn.ReLU(), nn.Linear(*w2.shape))
    numbers = dict(zip(net.state_dict(), (w1.T, b1, w2.T, b2), strict=True))
    net.to(w1.dtype).load_state_dict(numbers)
    return net


def network() -> Cases:
    """inputs @ w1 + b1 are the sums of the hidden numbers, (N, H).

    ReLU is clamp(min=0); the second layer has w2 and b2.
    """
    one = [Tensor([[2]]), Tensor([1]), Tensor([[3]]), Tensor([4])]
    yield call(Tensor([[1]]), one), Tensor([[13]])
    yield call(Tensor([[-1]]), one), Tensor([[4]])
    for count, inputs, hidden in SHAPES:
        for dtype in (torch.float32, torch.float64):
            weights = _weights(inputs, hidden, dtype)
            days = torch.randn(inputs, count, dtype=dtype).T
            yield call(days, weights), _layers(weights)(days).detach()


def _by_autograd(
    inputs: Tensor, targets: Tensor, weights: list[Tensor]
) -> list[Tensor]:
    net = _layers(weights)
    F.mse_loss(net(inputs), targets).backward()
    w1, b1, w2, b2 = (parameter.grad for parameter in net.parameters())
    return [w1.T, b1, w2.T, b2]


def gradients() -> Cases:
    """Backwards: of errors², the derivative is 2 * errors, over N.

    From the outputs back through w2: d_outputs @ w2.T, 0 where ReLU gave 0.

    Of a weight: inputs.T @ d_sums. Of a bias: the sum over the days.
    """
    weights = [whole(1, 2) + 0.5, whole(2) + 0.25, whole(2, 1), whole(1)]
    days = Tensor([[1], [2]]), Tensor([[3], [5]])
    yield call(*days, weights), _by_autograd(*days, weights)
    for count, inputs, hidden in SHAPES[:-1]:
        for dtype in (torch.float32, torch.float64):
            weights = _weights(inputs, hidden, dtype)
            days = [torch.randn(count, n, dtype=dtype) for n in (inputs, 1)]
            yield call(*days, weights), _by_autograd(*days, weights)


def _is(expected: list[list[Tensor]]) -> Callable[[Iterator], None]:
    def look(result: Iterator) -> None:
        for ours, theirs in zip(islice(result, 3), expected, strict=True):
            torch.testing.assert_close(ours, theirs)

    return look


def descend() -> Cases:
    """Each step: weight - LR * gradient, for each of the four.

    yield the new weights after each step.
    """
    for count, inputs, hidden in SHAPES[:-1]:
        weights = _weights(inputs, hidden, torch.float64)
        days = [torch.randn(count, n, dtype=torch.float64) for n in (inputs, 1)]
        parts = [weight.clone().requires_grad_() for weight in weights]
        optimizer = torch.optim.SGD(parts, lr=0.001)
        expected = []
        for _ in range(3):
            found = _by_autograd(*days, [part.detach() for part in parts])
            for part, gradient in zip(parts, found, strict=True):
                part.grad = gradient
            optimizer.step()
            expected.append([part.detach().clone() for part in parts])
        yield call(*days, weights), _is(expected)


def evaluate() -> Cases:
    """The loss is the mean of the squares, in standard units.

    The MAE is the mean of the absolute errors, times days.std.
    """
    for count in (1, 7, 70):
        inputs, labels = torch.randn(count, 3), torch.randn(count, 1)
        days = Days(inputs, labels, "chance", mean=50.0, std=10.0)
        model = nn.Linear(3, 1)
        outputs = model(inputs).detach()
        loss = F.mse_loss(outputs, labels).item()
        error = 10 * F.l1_loss(outputs, labels).item()
        yield call(model, days), (loss, error)
