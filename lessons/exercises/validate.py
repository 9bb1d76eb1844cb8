"""Cases for lessons/validate.py."""

import torch
from torch import Tensor, nn

from shared.practice.cases import Cases, call


def confidences() -> Cases:
    """e to the power of each logit, divided by the sum of these powers.

    A logit of 1000 is too large for exp. Subtract the highest from all first:
    that divides every power by the same number, and changes no share.
    """
    shares = Tensor([0.2369, 0.0871, 0.6439, 0.0321])
    yield call(Tensor([1, 0, 2, -1])), lambda out: _near(out, shares)
    yield call(torch.zeros(4)), torch.full((4,), 0.25)
    yield call(Tensor([7])), torch.ones(1)
    yield call(Tensor([1000, 1000, 0])), Tensor([0.5, 0.5, 0])
    yield call(Tensor([-1000, -1001])), Tensor([0, -1]).softmax(0)
    for dtype in (torch.float32, torch.float64, torch.float16):
        logits = (3 * torch.randn(10)).to(dtype)
        yield call(logits), logits.softmax(0)
    columns = torch.randn(5, 3)
    yield call(columns[:, 1]), columns[:, 1].softmax(0)  # not contiguous


def _near(out: Tensor, expected: Tensor) -> None:
    """Four decimals stand on the screen."""
    torch.testing.assert_close(out, expected, rtol=0, atol=5e-5)


def top3() -> Cases:
    """argmax says where the highest logit is. Where is the next?

    On a copy, make the highest -inf, and ask again. The logits that you were
    given must stay as they are: clone().
    """
    yield call(Tensor([1, 0, 2, -1])), torch.tensor([2, 0, 1])
    yield call(Tensor([-3, -1, -2])), torch.tensor([1, 2, 0])
    yield call(Tensor([5, 6])), torch.tensor([1, 0])  # only two classes
    yield call(Tensor([5])), lambda out: _only(out, 0)
    for dtype in (torch.float32, torch.float64, torch.float16):
        logits = torch.randperm(100).to(dtype)
        yield call(logits), logits.topk(3).indices
    columns = torch.randn(9, 2)
    yield call(columns[:, 1]), columns[:, 1].topk(3).indices
    twice = Tensor([4, 0, 3, 9])
    for _ in range(2):  # the second time it is as it was
        yield call(twice), torch.tensor([3, 0, 2])


def _only(out: Tensor, expected: int) -> None:
    assert out.tolist() == [expected], out


def confusion() -> Cases:
    """A table of zeros: a row for each class, and a column for each, int64.

    Each picture adds 1, in the row of its label, in the column of its answer.
    """
    labels, answers = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 2]])
    six = torch.tensor([[1, 1, 0], [1, 2, 0], [0, 0, 1]])
    yield call(labels, answers, 3), six
    yield call(answers, labels, 3), six.T
    none = torch.zeros(0, dtype=torch.int64)
    empty = torch.zeros(2, 2, dtype=torch.int64)
    yield call(none, none, 2), lambda out: _same(out, empty)
    one = torch.tensor([1])
    yield call(one, 0 * one, 2), torch.tensor([[0, 0], [1, 0]])
    for classes, count in ((2, 50), (10, 7), (10, 300)):
        pairs = torch.randint(0, classes, (count, 2))
        places = classes * pairs[:, 0] + pairs[:, 1]
        counts = places.bincount(minlength=classes**2)
        yield call(*pairs.T, classes), counts.view(classes, classes)


def _same(out: Tensor, expected: Tensor) -> None:
    assert torch.equal(out, expected), out


def predict() -> Cases:
    """model.eval() first: in train mode, dropout would throw the dice.

    images.split(500) gives the batches. The network's device may be another
    than theirs: next(model.parameters()).device.

    No gradient is wanted, so @torch.no_grad(). torch.cat joins the logits.
    """
    for count in (1, 7, 1001):
        images = torch.randn(count, 3, 2, 2)
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(12, 4))
        logits = model[2](images.flatten(1)).detach()
        yield call(model, images), logits
    for dtype in (torch.float64, torch.uint8):
        images = torch.randint(0, 9, (3, 2, 2, 3)).permute(0, 3, 1, 2)
        model = nn.Sequential(nn.Conv2d(3, 4, 2).double(), nn.Flatten())
        layer = model[0]
        cast = nn.Sequential(Double(), *model)
        logits = layer(images.double()).flatten(1).detach()
        yield call(cast, images.to(dtype)), logits


class Double(nn.Module):
    """Whatever comes in, in float64."""

    def forward(self, images: Tensor) -> Tensor:
        return images.double()
