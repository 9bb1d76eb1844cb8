"""Cases for lessons/dataloader_demo.py."""

from collections.abc import Callable, Iterable
from itertools import product

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from lessons.dataloader_demo import TEN
from shared.practice.cases import Cases, call, whole

Batch = tuple[Tensor, Tensor]
NOT_ASKED = {"learn": "its step is autograd-demo's; it only uses a loader"}


def collate() -> Cases:
    """Sort the pairs into all images and all labels: zip(*items) does that.

    torch.stack lays tensors of one shape on each other, along a new first
    dimension. The labels are numbers: torch.tensor makes one tensor of them.
    """
    rows = Tensor([[0, 0], [1, 10], [2, 20]]).long()
    yield call(TEN[:3]), (rows, torch.tensor([0, 1, 2]))
    yield call(TEN[4:5]), (torch.tensor([[4, 40]]), torch.tensor([4]))
    yield call(TEN[2:0:-1]), (rows[[2, 1]], torch.tensor([2, 1]))
    dtypes = torch.uint8, torch.float16, torch.float32, torch.float64
    for dtype, shape in product(dtypes, ((3, 4, 5), (1,), ())):
        items = [(whole(*shape).abs().to(dtype), 7 * i) for i in range(6)]
        yield call(items), tuple(default_collate(items))
    tensors = [(whole(3, 4).T, torch.tensor(label)) for label in (5, 0, 9)]
    yield call(tensors), tuple(default_collate(tensors))


def batches() -> Cases:
    """Without a generator the order is 0, 1, 2, ...: torch.arange.

    With one, draw the workers' number first: an empty int64 tensor's
    random_(generator=generator). Then torch.randperm makes the order.

    Slice batch_size indices at a time, get their items, and collate them. The
    last slice may be short.
    """
    yield call(TEN, 4), _same(DataLoader(TEN, 4))
    yield call(TEN, 5), _same(DataLoader(TEN, 5))  # nothing is left over
    yield call(TEN, 11), _same(DataLoader(TEN, 11))  # fewer than a batch
    yield call([], 4), _same([])
    for seed in range(6):
        yield _shuffled(TEN, 4, seed)
        length, batch_size = torch.randint(1, 30, (2,)).tolist()
        items = [(torch.randn(2, 3), label) for label in range(length)]
        yield _shuffled(items, batch_size, seed)
        yield call(items, batch_size), _same(DataLoader(items, batch_size))


def _shuffled(
    items: list[tuple[Tensor, int]], size: int, seed: int
) -> tuple[object, object]:
    theirs = torch.Generator().manual_seed(seed)
    expected = [*DataLoader(items, size, shuffle=True, generator=theirs)]
    ours = torch.Generator().manual_seed(seed)
    return call(items, size, generator=ours), _same(expected)


def _same(expected: Iterable[Batch]) -> Callable[[Iterable[Batch]], None]:
    """The same batches, one after the other, images and labels."""
    batches = [tuple(batch) for batch in expected]

    def look(found: Iterable[Batch]) -> None:
        made = [tuple(batch) for batch in found]
        sizes = [len(labels) for _, labels in made]
        wanted = [len(labels) for _, labels in batches]
        assert sizes == wanted, f"batches of {sizes}, not of {wanted}"
        torch.testing.assert_close(made, batches)

    return look
