"""Cases for lessons/train_mnist.py."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from shared.models import MnistNet
from shared.practice.cases import Cases, call

NOT_ASKED = {
    "move": "stage_1 calls it, and its cases see what it does",
    "mlp": "a test compares it with shared/models.py",
    "cnn": "a test compares it with shared/models.py",
    "train": "it is run by the lesson; fit is its heart",
}
SIZES = ((64, 10), (1, 3), (65, 10), (130, 2))  # images, classes


def network() -> Cases:
    """x @ w1.T + b1 is a linear layer; clamp(min=0) is ReLU.

    There is no ReLU after the last layer.
    """
    for count, classes in ((1, 2), (5, 10), (0, 3)):
        net = MnistNet("mlp", classes)
        rows = torch.randn(count, 784)
        yield call(list(net.parameters()), rows), net(rows)


def _numbers(count: int, classes: int) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 784), torch.arange(count) % classes


def _updated(net: nn.Module, rows: Tensor, labels: Tensor) -> list[Tensor]:
    """What SGD with lr 0.1 makes of a copy, in batches of 64."""
    net = copy.deepcopy(net)
    optimizer = SGD(net.parameters(), 0.1)
    for x, y in zip(rows.split(64), labels.split(64), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return list(net.parameters())


def _stage(given: Callable[..., tuple]) -> Cases:
    """Cases for a stage that is called with what given makes."""
    for count, classes in SIZES:
        net, (rows, labels) = MnistNet("mlp", classes), _numbers(count, classes)
        expected = _updated(net, rows, labels)
        yield call(*given(net, rows, labels)), expected


def _cut(rows: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(rows.split(64), labels.split(64), strict=True))


def stage_1() -> Cases:
    """Softmax: e to the power of each logit, divided by the sum of its row.

    The loss is the mean of -ln of the shares that the labels get.

    Then loss.backward(), and move for the weights. Return the weights.
    """
    yield from _stage(lambda n, x, y: (list(n.parameters()), _cut(x, y), 0.1))


def stage_2() -> Cases:
    """F.cross_entropy takes the logits as they are, and the labels."""
    yield from _stage(lambda n, x, y: (list(n.parameters()), _cut(x, y), 0.1))


def stage_3() -> Cases:
    """zero_grad, backward, step: the optimizer moves the weights.

    Return list(model.parameters()).
    """
    yield from _stage(lambda n, x, y: (n, _cut(x, y), SGD(n.parameters(), 0.1)))


def stage_4() -> Cases:
    """A DataLoader of the dataset gives batches, as a list of them would.

    It need not be shuffled here.
    """
    yield from _stage(
        lambda n, x, y: (n, TensorDataset(x, y), SGD(n.parameters(), 0.1))
    )


def fit() -> Cases:
    """An epoch: train mode, a round through loaders[0], then evaluate.

    Return the val loss of the last epoch.
    """
    for count, classes in SIZES:
        net, numbers = MnistNet("mlp", classes), _numbers(count, classes)
        dataset = TensorDataset(*numbers)
        loaders = DataLoader(dataset, 64), DataLoader(dataset, 48)
        for epochs in (1, 2):
            ours, theirs = copy.deepcopy(net), copy.deepcopy(net)
            for _ in range(epochs):
                weights = _updated(theirs, *numbers)
                torch.nn.utils.vector_to_parameters(
                    torch.nn.utils.parameters_to_vector(weights).detach(),
                    theirs.parameters(),
                )
            with torch.no_grad():
                loss = F.cross_entropy(theirs(numbers[0]), numbers[1]).item()
            optimizer = SGD(ours.parameters(), 0.1)
            yield call(ours, optimizer, loaders, epochs), _near(loss)


def _near(wanted: float) -> Callable[[float], None]:
    def look(loss: float) -> None:
        assert math.isclose(loss, wanted, rel_tol=1e-5), f"{loss} != {wanted}"

    return look


def evaluate() -> Cases:
    """model.eval() first: dropout would else throw the dice.

    A batch's mean loss, times how many images it has, is their sum: add these
    up, and divide at the end by the number of all images.

    The class with the largest logit is the prediction: argmax(1).
    """
    for count in (1, 7, 130):
        rows, labels = torch.randn(count, 12), torch.randint(0, 4, (count,))
        model = nn.Sequential(nn.Dropout(), nn.Linear(12, 4))
        logits = model[1](rows).detach()
        loss = F.cross_entropy(logits, labels).item()
        loader = DataLoader(TensorDataset(rows, labels), 64)
        yield call(model, loader), (loss, logits.argmax(1))


def cosine() -> Cases:
    """At the start lr, in the middle half of it, at the end 0."""
    yield call(0, 0.001, 100), 0.001
    yield call(50, 0.5, 100), 0.25
    for step, lr, total in ((25, 1.0, 100), (7, 0.3, 9), (9, 0.3, 9)):
        share = step / total
        yield call(step, lr, total), lr * math.cos(math.pi * share / 2) ** 2


def nearest_mean() -> Cases:
    """rows[labels == label].mean(0) is the mean picture of a class.

    torch.cdist(new_rows, means) holds all distances; argmin(1) is a place.

    That place is no label yet, where a class has no picture: labels.unique().
    """
    corner = torch.tensor([[0.0, 0], [2, 0], [10, 10]])
    new = torch.tensor([[1.0, 1], [9, 9], [4, 4]])
    yield call(corner, torch.tensor([3, 3, 5]), new), torch.tensor([3, 5, 3])
    for count in (2, 30):
        centres = 100 * torch.randn(4, 784)
        labels = torch.arange(count) % 4
        rows = centres[labels] + torch.randn(count, 784)
        found = labels.unique()
        yield call(rows, 2 * labels, centres[found]), 2 * found
