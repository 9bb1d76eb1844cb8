"""Tensors: one row of numbers, read in many ways.

PyTorch calculates with tensors. A tensor is a grid of numbers: a row, a
table, an image. In memory they stand in one long row, the storage. Row i,
column j of a table, both counted from 0, is in the storage at the place
    offset + i * stride[0] + j * stride[1]
The table begins at offset. Its next row is stride[0] places on, its next
column stride[1]. To exchange rows and columns or to take a slice, PyTorch
moves no number: it only takes another offset, shape or stride.

    python cli.py tensor-demo --step
"""

from itertools import zip_longest

import torch
import typer
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from shared import console
from shared.board import board
from shared.datasets.pictures import own_or_photograph, shrunk
from shared.figures import pictures_figure, strides_figure
from shared.options import LOGS, LogDir, Picture

WORDS = {
    "tensor": "a grid of numbers; a row has 1 dimension, a table has 2",
    "shape": "a tensor's sizes; (2, 3): 2 rows, 3 columns",
    "dtype": "the kind of a tensor's numbers, such as float32 or uint8",
    "float32": "a number such as 0.25, kept to about seven digits",
    "uint8": "a whole number from 0 to 255",
    "device": "what holds a tensor: cpu, or cuda (a graphics card)",
    "N C H W": "how many images, channels, rows (height), columns (width)",
    "channel": "one table of an image, such as how red each point is",
    "view": "a tensor that reads another one's storage, not a copy",
    "contiguous": "row by row, its numbers are neighbours in the storage",
    "stride (of a tensor)": "places to the next row, to the next column",
    "broadcasting": "stretching sizes of 1 until two shapes are equal",
}
NUMBERS = torch.arange(6)
TABLE = NUMBERS.view(2, 3)
VIEWS = {"TABLE": TABLE, "TABLE.T": TABLE.T, "TABLE[:, 1:]": TABLE[:, 1:],
         "TABLE[:, 2:].expand(2, 3)": TABLE[:, 2:].expand(2, 3)}  # fmt: skip
LAYOUTS = [((3, 1), 0), ((1, 3), 0), ((3, 1), 1), ((3, 0), 2)]  # by hand
COLUMN, ROW = torch.tensor([[10], [20]]), torch.tensor([1, 2, 3])


# ---- By hand ----------------------------------------------------------------
def as_strided(
    storage: Tensor, shape: tuple, stride: tuple, offset: int
) -> Tensor:
    """Read a table off the storage, number by number."""
    out = torch.zeros(shape, dtype=storage.dtype)
    for i in range(shape[0]):
        for j in range(shape[1]):
            out[i, j] = storage[offset + i * stride[0] + j * stride[1]]
    return out


def broadcast_shapes(a: tuple, b: tuple) -> tuple | None:
    """The shape of the sum of two tensors; None if theirs don't fit."""
    shape = ()
    for m, n in zip_longest(a[::-1], b[::-1], fillvalue=1):  # from the right
        if m != n and 1 not in (m, n):
            return None
        shape = (n if m == 1 else m, *shape)
    return shape


def pictures_of(photo: Tensor) -> dict[str, Tensor]:
    """photo: (H, W, C) of uint8. Pictures: float32, from 0 to 1."""
    image = photo.permute(2, 0, 1).float() / 255  # C H W
    return {
        "image": image,
        "crop": image[:, len(photo) // 2 :],  # the lower half of the rows
        "flip": image.flip(2),  # dimension 2: the columns
        "grey": image.mean(0),  # the mean over dimension 0: the channels
        "red": image[0],  # channel 0: bright where there is much red
        "by view": photo.view(image.shape) / 255,
    }


# ---- Mistakes ---------------------------------------------------------------
def wrong_row() -> Tensor:
    """No view reads these six as one row. They are 0 3 1 4 2 5: 3 places on,
    then 2 back, but a dimension has one stride, for all of its steps. (The
    error says size for shape; its subspaces are runs with one stride.)"""
    return TABLE.T.view(6)


def right_row() -> Tensor:
    """reshape, as the error says: a view if one is possible; here, a copy."""
    return TABLE.T.reshape(6)


def wrong_crop() -> Tensor:
    """The image has changed, too. A slice is a view, and += writes into the
    storage that both read. (A slice of a Python list is a copy.)"""
    image = torch.zeros(2, 3)
    crop = image[:, 1:]
    crop += 1  # brighter
    return image


def right_crop() -> Tensor:
    """clone() copies the numbers into a storage of their own."""
    image = torch.zeros(2, 3)
    crop = image[:, 1:].clone()
    crop += 1
    return image


def wrong_guesses() -> Tensor:
    """Three numbers minus three are nine. All guesses are right, but (3,) and
    (3, 1) broadcast to (3, 3), without an error; and the mean of the squares,
    which says how wrong they are, is (1+4+1+1+4+1) / 9 = 1.33, not 0."""
    guesses = torch.tensor([1.0, 2, 3])
    return guesses - torch.tensor([[1.0], [2], [3]])  # minus the truths


def right_guesses() -> Tensor:
    """give both one shape. The assert stops the program where they differ."""
    guesses = torch.tensor([1.0, 2, 3])
    truths = torch.tensor([[1.0], [2], [3]]).view(3)
    assert guesses.shape == truths.shape
    return guesses - truths


# ---- The lesson -------------------------------------------------------------
def show_storage() -> None:
    console.section("Six numbers, read in four ways")
    console.say(
        "NUMBERS = torch.arange(6) has the storage 0 1 2 3 4 5, whole numbers "
        "(int64): each tells its own place. TABLE = NUMBERS.view(2, 3) is a "
        "view of 2 rows of 3, so its stride is (3, 1). Three more views: "
        "TABLE.T exchanges rows and columns, TABLE[:, 1:] leaves column 0 out, "
        "TABLE[:, 2:].expand(2, 3) reads column 2 three times."
    )
    console.code(as_strided)
    console.ask("What are the strides and offsets of these three views?")
    named, ours = {}, {}
    for name, (stride, offset) in zip(VIEWS, LAYOUTS, strict=True):
        ours[name] = as_strided(NUMBERS, VIEWS[name].shape, stride, offset)
        named[f"{name}\nstride {stride}\noffset {offset}"] = ours[name]
    console.matrices(named)
    console.say(
        "TABLE.T has the shape (3, 2). Its row 2, column 1 is at 0 + 2*1 + 1*3 "
        "= 5. TABLE[:, 1:] begins one place later. With stride 0 the next "
        "column is in the same place. Only TABLE is contiguous: TABLE.T, row "
        "by row, is 0 3 1 4 2 5. Read by hand, all must be PyTorch's views:"
    )
    console.agrees("as_strided = PyTorch's four tensors", ours, VIEWS, 0)


def show_broadcasting() -> None:
    console.section("Two shapes become one")
    console.matrices({"COLUMN, (2, 1)": COLUMN, "ROW, (3,)": ROW.view(1, 3)})
    console.ask("What shape has COLUMN + ROW, and what are its numbers?")
    console.matrices({"COLUMN + ROW, (2, 3)": COLUMN + ROW})
    console.say(
        "Broadcasting: write both shapes right-aligned; a 1 is stretched.\n"
        "    COLUMN  2  1\n"
        "    ROW        3    what is missing on the left counts as 1\n"
        "    sum     2  3    sizes that differ, none of them 1: an error\n"
        "Nothing is copied: read with stride (1, 0), COLUMN has the shape "
        "(2, 3), and so has ROW with (0, 1). The shape, found by hand:"
    )
    console.code(broadcast_shapes)
    shape = broadcast_shapes((2, 1), (3,))
    column = as_strided(COLUMN.view(2), shape, (1, 0), 0)
    total = column + as_strided(ROW, shape, (0, 1), 0)
    console.agrees("the sum, stretched by hand", total, COLUMN + ROW, 0)


def check_at_random() -> None:
    numbers, ours, theirs = torch.randn(20), {}, {}
    for n in range(1000):
        h, w, down, right, offset = torch.randint(1, 4, (5,)).tolist()
        layout = (h, w), (down - 1, right - 1), offset
        ours[f"table {n}"] = as_strided(numbers, *layout)
        theirs[f"table {n}"] = numbers.as_strided(*layout)
        a, b = (h, 1, down)[n % 3 :], (1, w, down)[n % 2 :]  # these fit
        ours[n] = torch.tensor(broadcast_shapes(a, b))
        theirs[n] = torch.tensor(torch.broadcast_shapes(a, b))
    console.agrees("1,000 random tables, and pairs that fit", ours, theirs, 0)


def show_photograph(photo: Tensor) -> dict[str, Tensor]:
    console.section("A photograph as a tensor")
    console.say(
        f"photo has the shape {tuple(photo.shape)}, which is (H, W, C), in "
        f"uint8 on the device {photo.device}. Its first pixel, photo[0, 0], is "
        f"{photo[0, 0].tolist()}: red, green, blue, from 0 to 255. photo has "
        f"three strides: {photo.size(1)} * 3 = {photo.stride(0)} places to the "
        "next row, 3 to the next column, 1 to the next channel. To learn from "
        "images you mostly need (N, C, H, W) in float32. permute(2, 0, 1) puts "
        "dimension 2 first; torch.stack makes one tensor of N images. (In "
        "uint8, 200 + 100 is 300 - 256 = 44, without an error.)"
    )
    console.code(pictures_of)
    made, theirs = pictures_of(photo), to_tensor(photo.numpy())
    console.agrees("image = torchvision's to_tensor", made["image"], theirs, 0)
    console.ask("by view has the shape of image. What will it look like?")
    console.pictures({n: shrunk(p, 24) for n, p in made.items()}, "photo", 24)
    console.say(
        f"permute reorders strides: {photo.permute(2, 0, 1).stride()}. by view "
        "reads the storage from end to end: red is the photo's upper third, "
        "green the middle, blue the lower, laid on one another, with no error."
    )
    return {f"{name}, {tuple(p.shape)}": p for name, p in made.items()}


def run(image: Picture = None, logdir: LogDir = LOGS) -> None:
    """Read a row of numbers as tables, a photo as a tensor."""
    photo = own_or_photograph(image, "flower")
    console.opening(__doc__)
    console.words(WORDS)
    show_storage()
    show_broadcasting()
    check_at_random()
    named = show_photograph(photo)
    console.mistakes(__name__, raises=RuntimeError)
    console.remember(
        "image = photo.permute(2, 0, 1).float() / 255  # H W C to C H W",
        "crop = image[:, :100].clone()  # a slice alone is a view of image",
        "assert guesses.shape == truths.shape  # or they may broadcast",
    )
    console.say(
        "Exercise: import torch. For which shape and stride does torch.arange("
        "6).as_strided(shape, stride) give 0 1 2, 1 2 3, 2 3 4, 3 4 5?"
    )
    with board("tensor-demo", logdir, "IMAGES: strides, photo") as writer:
        writer.add_figure("strides", strides_figure(VIEWS))
        writer.add_figure("photo", pictures_figure(named, "One photo", 3))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
