"""Cases for lessons/norm_demo.py."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lessons.norm_demo import COLUMN
from shared.practice.cases import Cases, call, whole
from shared.practice.norms import states

NAMES = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def BatchNorm() -> Cases:
    """Weight and bias are parameters, the three others are buffers.

    (N, C, H, W) has C columns of N * H * W numbers. movedim(1, -1) puts the
    channels last: then mean, weight and the others fit without a reshape.

    In train mode the mean and the variance are the batch's own; this variance
    is divided by n, correction=0. In eval mode they are the running ones.

    A running statistic keeps 1 - momentum of itself, and momentum of the new
    one goes in. Its variance is divided by n - 1, and no gradient goes into it.

    A batch of one number a column is all mean: refuse it in train mode.
    """
    yield call(1), _paper
    yield call(3), _named
    for shape in ((2, 3), (32, 3), (2, 3, 4, 5), (1, 3, 2, 2), (8, 3, 1, 1)):
        batches = [3 * torch.randn(shape) + 2 for _ in range(20)]
        yield call(3), partial(_as_pytorch, batches)
        yield call(3, momentum=0.3), partial(_as_pytorch, batches)
        yield call(3), partial(_gradients, batches[0])
        doubled = [batch.double() for batch in batches]
        yield call(3), partial(_as_pytorch, doubled)
        halves = [batch.half() for batch in batches]  # PyTorch rounds once
        yield call(3), partial(_as_pytorch, halves, off=2e-2)
    constant = whole(16, 3)
    constant[:, 1] = 2
    yield call(3), partial(_as_pytorch, [constant, torch.zeros(4, 3)])
    yield call(3), partial(_as_pytorch, [whole(3, 7).T, whole(3, 5).T])
    turned = whole(6, 5, 4, 3).permute(0, 3, 2, 1)  # not contiguous
    yield call(3), partial(_as_pytorch, [turned])
    for one in (whole(1, 3), torch.zeros(0, 3), whole(1, 3, 1, 1)):
        yield call(3), partial(_in_eval_mode, one)
    for one in (whole(1, 3), whole(1, 3, 1, 1)):
        yield call(3), partial(_refused, one)


def _theirs(norm: nn.Module, like: Tensor) -> nn.Module:
    """PyTorch's, with the same numbers, momentum and dtype."""
    kind = nn.BatchNorm1d if like.dim() == 2 else nn.BatchNorm2d
    theirs = kind(len(norm.weight), momentum=norm.momentum)
    theirs.load_state_dict(norm.state_dict())
    return theirs.to(like.dtype)


def _paper(norm: nn.Module) -> None:
    found = states(norm, [COLUMN])
    out = Tensor([[-1.3416], [-0.4472], [0.4472], [1.3416]])
    assert_close(found["train 0"], out, atol=1e-4, rtol=0)
    statistics = norm.running_mean.item(), norm.running_var.item()
    assert_close(statistics, (0.25, 1.0667), atol=1e-4, rtol=0)


def _named(norm: nn.Module) -> None:
    assert sorted(norm.state_dict()) == sorted(NAMES)
    parameters = [name for name, _ in norm.named_parameters()]
    assert sorted(parameters) == ["bias", "weight"], parameters
    assert norm.num_batches_tracked.dtype == torch.int64


def _as_pytorch(
    batches: list[Tensor], norm: nn.Module, off: float = 1e-5
) -> None:
    """With random weight and bias, in both modes, after every batch."""
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    norm.to(batches[0].dtype)
    theirs = _theirs(norm, batches[0])
    kept = [batch.clone() for batch in batches]
    ours, expected = states(norm, batches), states(theirs, batches)
    assert_close(ours, expected, atol=off, rtol=max(off, 1e-4))
    assert_close(batches, kept, atol=0, rtol=0)  # none was written over


def _gradients(batch: Tensor, norm: nn.Module) -> None:
    """Those of weight, bias and input, in both modes."""
    theirs, back = _theirs(norm, batch), torch.randn(batch.shape)
    for mode in (True, False):
        found = []
        for layer in (norm.train(mode), theirs.train(mode)):
            x = batch.clone().requires_grad_()
            wanted = x, layer.weight, layer.bias
            found.append(torch.autograd.grad(layer(x), wanted, back))
        assert_close(*found, atol=1e-4, rtol=1e-4)
    assert not norm.running_mean.requires_grad
    assert not norm.running_var.requires_grad


def _in_eval_mode(one: Tensor, norm: nn.Module) -> None:
    """One image, or none: the running statistics are there, and stay."""
    states(norm, [3 * torch.randn(16, 3) + 2])
    before = {n: t.clone() for n, t in norm.state_dict().items()}
    theirs = _theirs(norm, one).eval()
    assert_close(norm.eval()(one), theirs(one))
    assert_close(dict(norm.state_dict()), before, atol=0, rtol=0)


def _refused(one: Tensor, norm: nn.Module) -> None:
    try:
        norm.train()(one)
    except (AssertionError, ValueError):
        return
    raise AssertionError("in train mode a number alone has no variance")


def dropout() -> Cases:
    """In eval mode, training=False, x comes out as it is.

    torch.empty_like(x).bernoulli_(1 - p) is 1 with chance 1 - p, else 0.

    What stays is divided by 1 - p: on average a number keeps its size.
    """
    yield call(COLUMN, training=False), COLUMN
    yield call(COLUMN, p=0.0), COLUMN
    yield call(COLUMN), _dropped(COLUMN, 0.5)
    wide = torch.rand(100, 100) + 1
    for p, dtype in product(
        (0.1, 0.5, 0.9), (torch.float32, torch.float64, torch.float16)
    ):
        x = wide.to(dtype)
        yield call(x, p=p), _dropped(x, p)
        yield call(x, p=p, training=False), x
    yield call(wide.T, p=0.2), _dropped(wide.T, 0.2)  # not contiguous
    yield call(torch.zeros(0)), torch.zeros(0)


def _dropped(x: Tensor, p: float) -> Callable[[Any], None]:
    """Zeros, as many as chance allows; the rest is x / (1 - p)."""

    def look(out: Tensor) -> None:
        assert out.shape == x.shape and out.dtype == x.dtype
        stays = out != 0
        assert_close(out[stays], (x / (1 - p))[stays], atol=1e-2, rtol=1e-3)
        if x.numel() > 1000:
            share = 1 - stays.double().mean().item()
            told = f"of {x.numel()} numbers {share:.0%} are 0 with p = {p}"
            assert abs(share - p) < 6 * (p * (1 - p) / x.numel()) ** 0.5, told

    return look
