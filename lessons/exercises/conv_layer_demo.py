"""Cases for lessons/conv_layer_demo.py."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lessons.conv_layer_demo import IMAGE, KERNEL
from shared.practice.cases import Cases, call, whole


def conv2d() -> Cases:
    """From its first row to its last, a kernel of kh rows with dilation d spans
    d * (kh - 1) + 1 rows. So the stops are range(0, rows - span + 1, stride).

    The patch at a stop: every d-th row from top on, up to top + span, which is
    slice(top, top + span, d); the same for the columns.

    out[:, o, i, j] is for all images at once: (patch * weight[o]), added up
    over every dimension but the first.
    """
    paper = IMAGE[None, None], KERNEL[None, None]
    yield call(*paper, 1, 0, 2), Tensor([[[[7]]]])
    plain = [[[[10, 12, 12], [18, 16, 16], [13, 9, 3]]]]
    yield call(*paper, 1, 0, 1), Tensor(plain)
    yield call(*paper, 1, 1, 3), F.conv2d(*paper, padding=1, dilation=3)
    for steps in product((1, 2, 5), (0, 1, 2), (1, 2, 3)):  # 5: more than kh
        for dtype in (torch.float32, torch.float64):
            images, weight = whole(2, 3, 5, 8).to(dtype), whole(4, 3, 2, 3)
            weight = weight.to(dtype)
            yield (
                call(images, weight, *steps),
                F.conv2d(images, weight, None, *steps),
            )
    for shape in ((0, 2, 5, 5), (1, 2, 1, 1)):  # no image, one pixel
        images, weight = whole(*shape), whole(3, 2, 3, 3)
        yield (
            call(images, weight, 1, 2, 2),
            F.conv2d(images, weight, None, 1, 2, 2),
        )
    images, weight = whole(1, 2, 1, 1), whole(3, 2, 1, 1)  # a kernel of 1 x 1
    yield call(images, weight, 3, 0, 4), F.conv2d(images, weight)
    images, weight = whole(6, 5, 2, 3).permute(3, 2, 0, 1), whole(3, 2, 4, 2)
    weight = weight.transpose(0, 1).transpose(2, 3)[:, :2]  # not contiguous
    yield call(images, weight, 1, 1, 2), F.conv2d(images, weight, None, 1, 1, 2)
    images, weight = (
        torch.randn(1, 2, 6, 6).half(),
        torch.randn(2, 2, 3, 3).half(),
    )
    exact = F.conv2d(images.float(), weight.float(), dilation=2).half()
    yield call(images, weight, 1, 0, 2), lambda out: _near(out, exact)


def _near(out: Tensor, exact: Tensor) -> None:
    """In half precision a sum of 18 numbers is off in its last digits."""
    torch.testing.assert_close(out, exact, rtol=1e-2, atol=1e-2)


def Conv2d() -> Cases:
    """A filter reads in_channels // groups channels: that is the second size of
    self.weight. self.bias has a number for each filter.

    Tensors become parameters of a module when they are an nn.Parameter. Each
    number is drawn from -1 / sqrt(n) to 1 / sqrt(n), n numbers in a filter.

    chunk(groups, dim=1) cuts the images' channels into equal parts, chunk(
    groups) the filters. Part g of the filters reads part g of the channels.
    """
    yield call(3, 6, 3), _like(nn.Conv2d(3, 6, 3))
    yield call(2, 2, 3, groups=2), _like(nn.Conv2d(2, 2, 3, groups=2))
    yield call(4, 4, 1, groups=4), _like(nn.Conv2d(4, 4, 1, groups=4))
    for groups, steps in product((1, 2, 3), product((1, 4), (0, 2), (1, 2))):
        options = dict(
            zip(("stride", "padding", "dilation"), steps, strict=True)
        )
        options["groups"] = groups
        sizes = groups * 2, groups * 3, 3
        yield call(*sizes, **options), _like(nn.Conv2d(*sizes, **options))


def _like(theirs: nn.Conv2d) -> Callable[[nn.Module], None]:
    """It must do as theirs does with the same weight and bias."""

    def look(ours: nn.Module) -> None:
        state = {name: p.shape for name, p in ours.named_parameters()}
        wanted = {name: p.shape for name, p in theirs.named_parameters()}
        assert state == wanted, f"its parameters are {state}"
        edge = theirs.weight[0].numel() ** -0.5
        for parameter in ours.parameters():
            assert 0 < parameter.abs().max() <= edge, "it starts out too large"
        ours.load_state_dict(theirs.state_dict())
        square = torch.randn(2, theirs.in_channels, 6, 7)
        for images in (square, square[:0], square.transpose(2, 3)[..., ::1]):
            torch.testing.assert_close(ours(images), theirs(images))
        ours(square).square().sum().backward()
        theirs(square).square().sum().backward()
        for name, parameter in theirs.named_parameters():
            grad = ours.get_parameter(name).grad
            torch.testing.assert_close(
                grad, parameter.grad, rtol=1e-4, atol=1e-4
            )
        theirs.zero_grad()

    return look


def as_grey() -> Cases:
    """From each map subtract its least number; then divide it by its largest.

    maps.amin((1, 2), keepdim=True) has the shape (C, 1, 1): one least number
    for each map, which broadcasting stretches over it.

    In a flat map, all numbers equal, the largest is then 0. clamp(min=1e-6)
    makes it a little more, so that the map becomes 0 and not nan.
    """
    maps = Tensor([[[1, 3], [5, 2]], [[0, -4], [4, 0]]])
    grey = Tensor([[[0, 0.5], [1, 0.25]], [[0.5, 0], [1, 0.5]]])
    yield call(maps), grey
    yield call(torch.full((2, 3, 4), 7.0)), torch.zeros(2, 3, 4)
    for dtype in (torch.float32, torch.float64):
        maps = whole(3, 5, 4).to(dtype)
        wanted = [(m - m.min()) / (m.max() - m.min()) for m in maps]
        yield call(maps), torch.stack(wanted)
