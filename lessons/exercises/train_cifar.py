"""Cases for lessons/train_cifar.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shared.datasets.image_set import ImageSet
from shared.practice.cases import Cases, call

NOT_ASKED = {"train": "it is run by the lesson; sgd_step is its heart"}


def sgd_step() -> Cases:
    """Two results: return the new weight, the new velocity.

    The velocity is the gradient, plus momentum times the velocity before.

    The weight moves against the velocity, lr times as far.
    """
    one, half = torch.tensor([1.0]), torch.tensor([0.5])
    yield call(one, half, 0 * one, 0.1, 0.0), (Tensor([0.95]), half)
    yield call(one, half, one, 0.1, 0.9), (Tensor([0.86]), Tensor([1.4]))
    for lr, momentum in ((0.01, 0.9), (0.5, 0.0), (0.1, 1.0), (0.0, 0.5)):
        weight = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr, momentum)
        velocity = torch.zeros_like(weight)
        for _ in range(3):
            weight.grad, before = torch.randn_like(weight), weight.detach()
            arguments = (before.clone(), weight.grad, velocity, lr, momentum)
            optimizer.step()
            velocity = momentum * velocity + weight.grad
            yield call(*arguments), (weight.detach().clone(), velocity)


def evaluate() -> Cases:
    """model.eval() first: dropout would else throw the dice.

    images.batches(500) gives pairs of images and labels; keep the logits.

    The class with the largest logit is the prediction: argmax(1).
    """
    for count in (1, 7, 501):
        pixels = torch.randint(0, 256, (count, 3, 2, 2), dtype=torch.uint8)
        labels = torch.randint(0, 4, (count,))
        images = ImageSet(pixels.float(), labels, [*"abcd"], "noise")
        model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(12, 4))
        logits = model[2](images.images.flatten(1)).detach()
        loss = F.cross_entropy(logits, labels).item()
        yield call(model, images), (loss, logits.argmax(1))
