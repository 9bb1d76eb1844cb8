"""Cases for lessons/conv_demo.py."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from lessons.conv_demo import IMAGE, KERNEL
from shared.practice.cases import Cases, call, whole


def conv2d() -> Cases:
    """First lay the zeros round the image. How many stops fit in a column?

    The first stop is at row 0, the last at row (rows - kh); every stride-th
    row between them is one. range(0, rows - kh + 1, stride) has them all.

    Two loops, over the rows and over the columns of the output. out[i, j] is
    the sum of patch * weight, where the patch is what lies under the kernel.
    """
    yield call(IMAGE, KERNEL), Tensor([[10, 12, 12], [18, 16, 16], [13, 9, 3]])
    yield call(IMAGE, KERNEL, stride=2), Tensor([[10, 12], [13, 3]])
    rows = [[1, 3, 4, 10, 8], [5, 10, 12, 12, 6], [7, 18, 16, 16, 8]]
    rows += [[11, 13, 9, 3, 4], [14, 13, 9, 7, 4]]
    yield call(IMAGE, KERNEL, padding=1), Tensor(rows)
    yield call(torch.ones(3, 3), torch.ones(3, 3)), Tensor([[9]])
    for stride, padding in product((1, 2, 3, 5), (0, 1, 2)):
        steps = {"stride": stride, "padding": padding}
        for dtype in (torch.float32, torch.float64):
            image, kernel = whole(5, 6).to(dtype), whole(3, 2).to(dtype)
            expected = F.conv2d(image[None], kernel[None, None], **steps)[0]
            yield call(image, kernel, **steps), expected
        image, weight = whole(3, 5, 4), whole(3, 2, 3)  # three channels
        expected = F.conv2d(image, weight[None], **steps)[0]
        yield call(image, weight, **steps), expected
    image, kernel = whole(6, 5).T, whole(2, 3).T  # neither is contiguous
    yield call(image, kernel), F.conv2d(image[None], kernel[None, None])[0]
    image, kernel = torch.randn(7, 5).half(), torch.randn(3, 3).half()
    half = F.conv2d(image[None].float(), kernel[None, None].float())[0].half()
    yield call(image, kernel), lambda out: _near(out, half)


def _near(out: Tensor, expected: Tensor) -> None:
    """In half precision a sum of nine numbers is off in its last digits."""
    torch.testing.assert_close(out, expected, rtol=1e-2, atol=1e-2)


def learn_kernel() -> Cases:
    """The layer's output is (1, rows, columns), as wanted is: subtract them.

    The gradient has the shape of layer.weight, (1, 1, 3, 3). Against it the
    loss falls, so subtract: 0.4 times the gradient is a good step.

    Return the nine numbers without what autograd remembers of them: detach.
    """
    image = torch.randn(1, 40, 40)
    for kernel in (KERNEL, torch.eye(3), torch.randn(3, 3)):
        wanted = F.conv2d(image, kernel.reshape(1, 1, 3, 3))
        yield call(image, wanted, 50), kernel
        yield call(image, wanted, 1), _closer(image, wanted)


def _closer(image: Tensor, wanted: Tensor) -> Callable[[Tensor], None]:
    """One step must have come closer than a kernel of zeros."""

    def look(kernel: Tensor) -> None:
        assert not kernel.requires_grad, "it still remembers its gradients"
        out = F.conv2d(image, kernel.reshape(1, 1, 3, 3))
        assert F.mse_loss(out, wanted) < wanted.square().mean()

    return look
