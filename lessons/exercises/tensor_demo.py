"""Cases for lessons/tensor_demo.py."""

import torch
from torch import Tensor
from torchvision.transforms import functional as torchvision

from lessons.tensor_demo import NUMBERS
from shared.practice.cases import Cases, call, whole


def as_strided() -> Cases:
    """Begin with an empty table: torch.zeros(shape, dtype=storage.dtype).

    Two loops, over the rows i and over the columns j. What is at [i, j]?

    The number at offset + i * stride[0] + j * stride[1] of the storage.
    """
    table = torch.tensor([[0, 1, 2], [3, 4, 5]])
    yield call(NUMBERS, (2, 3), (3, 1), 0), table
    yield call(NUMBERS, (3, 2), (1, 3), 0), table.T
    yield call(NUMBERS, (2, 2), (3, 1), 1), table[:, 1:]
    yield call(NUMBERS, (2, 3), (3, 0), 2), table[:, 2:].expand(2, 3)
    yield call(NUMBERS, (1, 1), (1, 1), 4), torch.tensor([[4]])
    for empty in ((0, 3), (3, 0), (0, 0)):
        yield call(NUMBERS, empty, (3, 1), 0), NUMBERS.new_zeros(empty)
    for dtype in (torch.float16, torch.float32, torch.float64, torch.uint8):
        for _ in range(20):
            storage = whole(42).to(dtype)
            i, j, down, right = torch.randint(0, 5, (4,)).tolist()
            view = storage.view(6, 7)[i :: down + 1, j :: right + 1]
            for t in (view, view.T, view[:, :1].expand(-1, 4)):
                layout = t.shape, t.stride(), t.storage_offset()
                yield call(storage, *layout), t
    storage = whole(20)[::2]  # not contiguous
    expected = storage.contiguous().as_strided((3, 3), (2, 1), 1)
    yield call(storage, (3, 3), (2, 1), 1), expected


def broadcast_shapes() -> Cases:
    """Begin with the last sizes: a[::-1] is a from right to left.

    zip_longest(..., fillvalue=1) makes 1 of what is missing on the left.

    Two sizes don't fit if they differ and none of them is 1. If one is 1, the
    other counts.
    """
    yield call((2, 1), (3,)), (2, 3)
    yield call((3,), (2, 1)), (2, 3)
    yield call((4, 1, 3), (5, 1)), (4, 5, 3)
    yield call((2,), (3,)), None
    yield call((2, 3), (2,)), None
    yield call((), (2,)), (2,)
    yield call((), ()), ()
    yield call((1,), (0,)), (0,)  # an empty tensor plus one number is empty
    yield call((0,), (3,)), None
    for n in range(300):
        sizes = torch.randint(0, 4, (9,)).tolist()
        a, b = tuple(sizes[: n % 5]), tuple(sizes[5 : 5 + n % 4])
        yield call(a, b), _pytorch(a, b)


def _pytorch(a: tuple, b: tuple) -> tuple | None:
    try:
        return tuple(torch.broadcast_shapes(a, b))
    except RuntimeError:
        return None


def pictures_of() -> Cases:
    """permute(2, 0, 1) takes the dimensions in that order; 255 is to become 1.

    A slice takes the rows from len(photo) // 2 on; flip(2) turns the columns.

    The grey one is the mean of the channels, the red one is channel 0.

    The last is photo.view(image.shape), divided by 255.
    """
    yield call(_photo(2, 2)), _expected(_photo(2, 2))
    for size in ((1, 1), (1, 5), (5, 1), (3, 4), (7, 6), (0, 4), (4, 0)):
        photo = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
        yield call(photo), _expected(photo)


def _photo(height: int, width: int) -> Tensor:
    """0, 20, 40 and so on, in the order of the storage."""
    steps = torch.arange(height * width * 3, dtype=torch.uint8)
    return (20 * steps).view(height, width, 3)


def _expected(photo: Tensor) -> dict[str, Tensor]:
    """The same by torchvision and NumPy."""
    height, width = photo.shape[:2]
    image = torchvision.to_tensor(photo.numpy())
    top = height // 2
    reshaped = photo.numpy().reshape(3, height, width) / 255
    return {
        "image": image,
        "crop": torchvision.crop(image, top, 0, height - top, width),
        "flip": torchvision.hflip(image),
        "grey": (image[0] + image[1] + image[2]) / 3,
        "red": image[0],
        "by view": torch.from_numpy(reshaped).float(),
    }
