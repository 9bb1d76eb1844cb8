"""Cases for lessons/train_flowers.py."""

import torch
from torch import nn

from shared.practice.cases import Cases, call

NOT_ASKED = {
    "train": "it is run by the lesson; phase and begin_epoch are its heart",
    "outputs": "the model is called on each batch, in eval mode",
    "validate": "it is cross_entropy and argmax of the outputs",
    "turn": "it loads the best weights, and checks what was frozen",
    "begin_epoch": "it changes the model that it gets; the tests look at it",
}


def phase() -> Cases:
    """Two results: does only the head learn, and the learning rate.

    The first head_epochs epochs are the head's. The first epoch is 1.

    StepLR(optimizer, 10, 0.1) multiplies the rate by 0.1 after each 10 epochs.

    All layers learn at a tenth of lr, however far the head's rate has come.
    """
    yield call(1, 10, 0.01), (True, 0.01)
    yield call(11, 10, 0.01), (False, 0.001)
    yield call(1, 0, 0.5), (False, 0.05)
    head, lr = 35, 0.02
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.1)
    for epoch in range(1, head + 1):
        yield call(epoch, head, lr), (True, schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    yield call(head + 1, head, lr), (False, lr / 10)
    yield call(head + 99, head, lr), (False, lr / 10)


def nearest_mean() -> Cases:
    """The mean of the known rows of a class is a row, too.

    torch.cdist(new, means) has the distance of each new row to each mean.

    Classes may be missing among the labels: labels.unique() has those there
    are.
    """
    known = torch.tensor([[0.0, 0], [2, 0], [10, 0]])
    labels = torch.tensor([0, 0, 1])
    new = torch.tensor([[4.0, 0], [7, 0], [0, 1]])
    yield call(known, labels, new), torch.tensor([0, 1, 0])
    yield call(known, labels + 3, new), torch.tensor([3, 4, 3])
    yield call(known, labels, new[:0]), torch.tensor([], dtype=torch.int64)
    for size, classes in ((1, 2), (6, 3), (20, 5)):
        for dtype in (torch.float32, torch.float64):
            labels = torch.arange(4 * classes) % classes
            known = torch.randn(4 * classes, size, dtype=dtype)
            new = torch.randn(9, size, dtype=dtype)
            means = [known[k::classes].mean(0) for k in range(classes)]
            far = torch.stack([(new - mean).norm(dim=1) for mean in means])
            yield call(known, labels, new), far.argmin(0)
