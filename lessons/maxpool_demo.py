"""Max pooling by hand.

Lay a window of, say, 2 x 2 pixels on the upper left of an image. Only the
largest of its pixels stays. Move the window on by its own width, so that
no pixel is taken twice, and go on like this, row by row.
    output[i, j] = max of window   (window i from above, j from left)

    python cli.py maxpool-demo --image PATH
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import ceil
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.pictures import own_or_photograph, shrunk
from shared.figures import pictures_figure
from shared.models import CifarNet, layer_table
from shared.options import LOGS, LogDir, Picture

WORDS = {
    "pooling": "of each window one number: the largest (max), or the mean",
    "window": "the pixels of one output: kernel_size rows and columns",
    "ceil_mode": "True: a last window may reach past the edge; ceil rounds up",
}
IMAGE = torch.tensor([[1.0, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0],
                      [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]])  # fmt: skip
ROWS = [(5, 2, 2, 0), (5, 3, 3, 0), (5, 2, 1, 0), (3, 2, 3, 0), (5, 2, 2, 1)]
HEADS = "pixels kernel_size stride padding rounded-up PyTorch starts"
KernelSize = Annotated[int, typer.Option(min=2, max=5, help="Window size.")]


# ---- By hand ----------------------------------------------------------------
def starts(
    size: int, kernel_size: int, stride: int, padding: int, ceil_mode: bool
) -> list[int]:
    """Where windows start in a row of pixels; -1 is in the padding."""
    assert padding <= kernel_size // 2  # PyTorch, too, takes no more
    last = size + padding - kernel_size  # a window from there still fits
    if ceil_mode:  # one more, if it has a pixel: the last is size - 1
        last = min(last + stride - 1, size - 1)
    return list(range(-padding, last + 1, stride))


def pool(image: Tensor, op: Callable, kernel_size: int, *how: int) -> Tensor:
    """op: torch.amax or torch.mean. how: stride, padding, ceil_mode."""
    tops = starts(image.size(-2), kernel_size, *how)  # image: (..., H, W)
    lefts = starts(image.size(-1), kernel_size, *how)
    out = image.new_zeros(*image.shape[:-2], len(tops), len(lefts))
    for i, top in enumerate(tops):  # below: -2 is the rows, -1 the columns
        for j, left in enumerate(lefts):  # a slice ends at the edge
            rows = slice(max(top, 0), top + kernel_size)  # from row 0 on
            columns = slice(max(left, 0), left + kernel_size)
            out[..., i, j] = op(image[..., rows, columns], (-2, -1))
    return out


# ---- Mistakes ---------------------------------------------------------------
def wrong_bytes() -> Tensor:
    """PyTorch has no mean pooling for uint8 (Byte), the numbers of an image
    file. On the CPU F.max_pool2d takes them: their largest is whole, too."""
    return F.avg_pool2d(IMAGE.byte().reshape(1, 5, 5), kernel_size=3)


def tempting_bytes() -> Tensor:
    """long (int64) is taken, but of 10 / 9 = 1.11 it keeps only the 1."""
    return F.avg_pool2d(IMAGE.byte().long().reshape(1, 5, 5), kernel_size=3)


def right_bytes() -> Tensor:
    """float32 before you pool."""
    return F.avg_pool2d(IMAGE.byte().float().reshape(1, 5, 5), kernel_size=3)


def wrong_count() -> int:
    """A pooling layer has no weight. It takes the largest: nothing to learn."""
    return nn.MaxPool2d(2).weight.numel()


def right_count() -> int:
    """ask for parameters(): all that a layer can learn. Here it is nothing."""
    return sum(p.numel() for p in nn.MaxPool2d(2).parameters())


def wrong_orange() -> Tensor:
    """The colours are pooled. It is (rows, columns, channels), as from a file,
    and the last two dimensions are pooled, without an error: blue is gone."""
    orange = torch.tensor([1.0, 0.5, 0]).expand(2, 2, 3)
    return F.max_pool2d(orange, kernel_size=2)


def right_orange() -> Tensor:
    """channels first. Now it is one pixel with three channels."""
    orange = torch.tensor([1.0, 0.5, 0]).expand(2, 2, 3)
    return F.max_pool2d(orange.permute(2, 0, 1), kernel_size=2)


# ---- The lesson -------------------------------------------------------------
MEAN = partial(F.avg_pool2d, count_include_pad=False)  # pixels only
POOLS = {"largest": (torch.amax, F.max_pool2d), "mean": (torch.mean, MEAN)}


def show_paper_case(kernel_size: int) -> None:
    console.section("A case small enough for paper")
    console.matrices({"IMAGE": IMAGE})
    console.ask("The first window of 3 x 3, upper left: its largest? Its mean?")
    console.say("First window: 1 2 0, 0 1 2, 1 2 1. Largest: 2. Mean: 10 / 9.")
    console.code(starts, pool)
    console.ask("Windows of 3 x 3 that may reach past the edge: which largest?")
    for k in dict.fromkeys([3, kernel_size]):
        ours, theirs = {}, {}
        for (name, pair), mode in product(POOLS.items(), (False, True)):
            head = f"{name}, {k} x {k}\nceil_mode {mode}"
            ours[head] = pool(IMAGE, pair[0], k, k, 0, mode)
            theirs[head] = pair[1](IMAGE[None], k, ceil_mode=mode)[0]
        console.matrices(ours)
        console.agrees("pool = PyTorch's", ours, theirs, 1e-6)
    console.say(
        "In 5 columns a window of 3 leaves 2 over. With ceil_mode False they "
        "are never read, nor are 2 rows: the 5 is lost. With True the window "
        "lower left takes what is there: 5 2 3, 2 1 0. Largest 5, mean 13 / 6. "
        "PyTorch's stride is kernel_size unless you give another."
    )


def show_windows() -> None:
    console.section("How many windows are there in a row of pixels?")
    console.ask("3 pixels, windows of 2, stride 3, ceil_mode True: how many?")
    table = []
    for size, k, stride, padding in ROWS:
        number = 1 + ceil((size + 2 * padding - k) / stride)
        how = (1, k), (1, stride), (0, padding)  # in a column, in a row
        out = F.max_pool2d(torch.zeros(1, 1, size), *how, ceil_mode=True)
        at = " ".join(map(str, starts(size, k, stride, padding, True)))
        table.append((size, k, stride, padding, number, out.size(2), at))
    console.table(HEADS.split(), table)
    console.say(
        "ceil_mode True rounds up 1 + (pixels + 2 * padding - kernel_size) / "
        "stride. Row 4: 1 + 1 / 3, so 2. But the second window would start at "
        "3, behind the last pixel, 2. PyTorch leaves out such a window, as in "
        "row 5. Padding holds no pixels, so it is never the largest."
    )
    ours, theirs = {}, {}
    for case, (name, pair) in product(range(100), POOLS.items()):
        k, stride, rows, columns = torch.randint(1, 6, (4,)).tolist()
        image = torch.randn(2, 3, k + rows, k + columns)
        how, mode = (k, stride, k // 2), case % 2 == 0
        ours[name, case] = pool(image, pair[0], *how, mode)
        theirs[name, case] = pair[1](image, *how, ceil_mode=mode)
    console.agrees("pool = PyTorch's, 200 random images", ours, theirs, 1e-6)


def show_photograph(image: Tensor, k: int) -> dict[str, Tensor]:
    console.section("What stays, what is lost: two lines and a picture")
    light = torch.tensor([0.0, 1, 0]).expand(3, 3)
    console.matrices({"light line": light, "dark line": 1 - light})
    console.ask("What is left of each? Will a photograph get lighter?")
    pooled = {n: p(image, k, ceil_mode=True) for n, (_, p) in POOLS.items()}
    shown = {"picture": image} | pooled
    means = ", ".join(f"{n} {x.mean():.2f}" for n, x in shown.items())
    pooled["largest - mean"] = pooled["largest"] - pooled["mean"]
    console.pictures(pooled, "pooled", width=25)
    console.say(
        "The largest is 1 for both: the light line is as wide as the window, "
        "the dark one is gone. The means are 1 / 3 and 2 / 3. Each colour is "
        "pooled alone. Brightness (0 is black, 1 is white) of "
        f"{image.size(1)} x {image.size(2)} pixels: {means}. largest - mean "
        "shows where windows are uneven."
    )
    return shown | pooled


def show_move(image: Tensor, k: int) -> None:
    console.section("The picture moves by a pixel: what stays the same?")
    console.ask(f"Windows keep {k - 1} of {k} columns. How many outputs stay?")
    stay = []
    for x in (torch.rand(3, 60 * k, 60 * k), image):
        both = torch.stack([x, x.roll(1, 2)])  # a column on; the last is first
        old, new = F.max_pool2d(both, k, ceil_mode=True)
        stay.append((old == new).float().mean())
    console.say(
        f"Random pixels: {stay[0]:.0%} of the outputs. Picture: {stay[1]:.0%}. "
        f"Old and new window share {k - 1} of their {k + 1} columns. If the "
        f"largest of all is there, it stays: at random in {k - 1} of {k + 1} "
        "cases. Where a picture gets lighter to one side, it is at the edge, "
        "and changes. So do not rely on pooling to hide small moves."
    )


def show_use() -> None:
    console.section("What it is for: train-cifar's network")
    rows = layer_table(CifarNet(), torch.zeros(64, 3, 32, 32))
    some = [row for row in rows if row[0] in ("MaxPool2d", "Linear")]
    console.table(["layer", "shape after it", "numbers to learn"], some)
    console.say(
        "64 * 4 * 4 = 1,024 numbers of an image are left. Linear, the next "
        "layer, has 64 weights for each: 65,536 (and 64 biases). Without "
        "pooling these weights would be 64 * 32 * 32 * 64 = 4,194,304."
    )


def run(
    image: Picture = None, kernel_size: KernelSize = 3, logdir: LogDir = LOGS
) -> None:
    """Keep the largest of each window; see what is lost."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    pixels = own_or_photograph(image, "china").permute(2, 0, 1) / 255
    picture = shrunk(pixels, 25 * kernel_size)  # 25 windows on a side
    show_paper_case(kernel_size)
    show_windows()
    shown = show_photograph(picture, kernel_size)
    show_move(picture, kernel_size)
    show_use()
    console.mistakes(__name__, raises=(NotImplementedError, AttributeError))
    console.remember(
        "import torch; images = torch.rand(64, 32, 32, 32)  # (N, C, H, W)",
        "torch.nn.MaxPool2d(2)(images).shape  # (64, 32, 16, 16): stride is 2",
        "torch.nn.MaxPool2d(3, stride=2, padding=1)(images).shape  # the same",
    )
    console.say(
        "Exercise: take the smallest of each window, with F.max_pool2d alone. "
        "Of IMAGE, windows of 3 x 3, ceil_mode True, it is [[0, 0], [0, 1]]."
    )
    with board("maxpool-demo", logdir, "IMAGES: pooled") as writer:
        writer.add_figure("pooled", pictures_figure(shown, "max and mean", 2))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
