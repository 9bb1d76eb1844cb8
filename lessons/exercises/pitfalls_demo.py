"""Cases for lessons/pitfalls_demo.py."""

import torch
from torch import Tensor, nn

from shared.practice.cases import Cases, call

NOT_ASKED = {
    "mlp": "linear-demo and sequential-demo build networks",
    "batches": "dataloader-demo is about it",
    "learn": "its loop is train-cifar's subject",
    "normalised": "transforms-demo is about it",
    "part": "one line",
    "Stack": "it stands there to be given a list",
}


def accuracy() -> Cases:
    """argmax(1) of the logits is the class that the network names.

    data[0].split(at_once) are the batches; join their logits with torch.cat.

    Change no mode: with batch norm in train mode it matters what stands beside
    an image, and one of the mistakes is about just that.
    """
    same, two = nn.Identity(), torch.tensor([0, 1])
    yield call(same, (torch.eye(2), two)), torch.tensor(100.0)
    yield call(same, (torch.eye(2), 1 - two)), torch.tensor(0.0)
    yield call(same, (torch.eye(2), 0 * two)), torch.tensor(50.0)
    for count, at_once in ((1, 1000), (7, 3), (8, 4), (30, 1)):
        images, labels = torch.randn(count, 5), torch.randint(3, (count,))
        net = nn.Linear(5, 3)
        right = (net(images).argmax(1) == labels).float().mean()
        yield call(net, (images, labels), at_once=at_once), 100 * right
    norm = nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    images, labels = torch.randn(8, 3), torch.randint(3, (8,))
    pairs = torch.cat([norm(some) for some in images.split(2)])
    right = (pairs.argmax(1) == labels).float().mean()
    yield call(norm, (images, labels), at_once=2), 100 * right


def nodes() -> Cases:
    """value.grad_fn is the last node; a number, or a leaf, has None there.

    node.next_functions holds pairs: a node before it, or None, and a number.

    Two ways may lead to one node. Count it once: keep a set of those found.
    """
    yield call(1.5), 0
    leaf = torch.tensor(2.0, requires_grad=True)
    yield call(leaf), 0
    yield call(torch.tensor(2.0) * 3), 0
    yield call(2 * leaf), 2  # the product, and one for the leaf
    yield call(leaf * leaf), 2
    yield call((leaf + 1) * (leaf + 2)), 4
    yield call((leaf + 1).detach()), 0
    for count in (1, 5, 3000):
        total: Tensor | float = 0.0
        for _ in range(count):
            total = total + leaf
        yield call(total), count + 1
