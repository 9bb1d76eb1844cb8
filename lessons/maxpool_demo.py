"""Max pooling by hand.

Lay a window of, say, 2 x 2 pixels on the upper left of an image. Only the
largest of its pixels stays. Move on by the window's width, row by row: no
pixel is taken twice. A network's next layer has fewer numbers to read.
    output[i, j] = max of window   (window i from above, j from left)

    python cli.py maxpool-demo --kernel-size 2
"""

from collections.abc import Callable
from functools import partial
from itertools import product
from math import ceil, floor

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.pictures import own_or_photograph, shrunk
from shared.figures import pictures_figure
from shared.options import LOGS, KernelSize, LogDir, Picture
from shared.pooling import both_ways, how_many, same_after_move

WORDS = {
    "pooling": "of each window one number: the largest (max), or the mean",
    "window": "the pixels of one output, kernel_size on each side",
    "ceil_mode": "True: a last window may reach past the image's edge",
    "padding (in pooling)": "places without a number, laid round an image",
}
IMAGE = torch.tensor([[1.0, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0],
                      [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]])  # fmt: skip
ROWS = [(5, 3, 3, 0), (5, 3, 2, 1), (3, 2, 3, 0), (5, 2, 2, 1)]
HEADS = "pixels kernel_size stride padding formula PyTorch starts"


# ---- By hand ----------------------------------------------------------------
def starts(
    size: int, kernel_size: int, stride: int, padding: int, ceil_mode: bool
) -> list[int]:
    """Where the windows start in a row of pixels 0, 1, ..., size - 1."""
    assert padding <= kernel_size // 2  # PyTorch takes no more, either
    moves = (size + 2 * padding - kernel_size) / stride
    number = 1 + (ceil(moves) if ceil_mode else floor(moves))  # up or down
    every = [n * stride - padding for n in range(number)]  # -1 is padding
    return [start for start in every if start < size]  # not beyond size - 1


def pool(image: Tensor, op: Callable, kernel_size: int, *how: int) -> Tensor:
    """op: torch.amax or torch.mean. how: stride, padding, ceil_mode."""
    tops = starts(image.size(-2), kernel_size, *how)  # image: (..., H, W)
    lefts = starts(image.size(-1), kernel_size, *how)
    out = image.new_zeros(*image.shape[:-2], len(tops), len(lefts))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):  # pixels only: from 0 to the edge
            rows = slice(max(top, 0), top + kernel_size)
            columns = slice(max(left, 0), left + kernel_size)
            out[..., i, j] = op(image[..., rows, columns], (-2, -1))
    return out  # above: (-2, -1) means over the window's rows and columns


# ---- Mistakes ---------------------------------------------------------------
def wrong_bytes() -> Tensor:
    """PyTorch has no mean pooling for uint8 (Byte), the numbers of an image
    file. On the CPU F.max_pool2d takes them: their largest is whole, too."""
    return F.avg_pool2d(IMAGE.byte().reshape(1, 5, 5), kernel_size=3)


def tempting_bytes() -> Tensor:
    """long (int64) is taken."""
    return F.avg_pool2d(IMAGE.byte().long().reshape(1, 5, 5), kernel_size=3)


def right_bytes() -> Tensor:
    """float32 before you pool. Of 10 / 9 = 1.11, int64 kept only the 1."""
    return F.avg_pool2d(IMAGE.byte().float().reshape(1, 5, 5), kernel_size=3)


def wrong_count() -> int:
    """A pooling layer has no weight. It takes the largest: nothing to learn."""
    return nn.MaxPool2d(2).weight.numel()


def right_count() -> int:
    """parameters() gives all that a layer can learn. Here it gives nothing."""
    return sum(p.numel() for p in nn.MaxPool2d(2).parameters())


def wrong_orange() -> Tensor:
    """It is (rows, columns, channels), as from a file: columns and channels are
    pooled. Red and green became one; blue, the third channel, is left over."""
    orange = torch.tensor([1.0, 0.5, 0]).expand(2, 2, 3)
    return F.max_pool2d(orange, kernel_size=2)


def right_orange() -> Tensor:
    """channels first. Of 2 x 2 pixels one is left, with its three channels."""
    orange = torch.tensor([1.0, 0.5, 0]).expand(2, 2, 3)
    return F.max_pool2d(orange.permute(2, 0, 1), kernel_size=2)


# ---- The lesson -------------------------------------------------------------
MEAN = partial(F.avg_pool2d, count_include_pad=False)  # pixels only
POOLS = {"largest": (torch.amax, F.max_pool2d), "mean": (torch.mean, MEAN)}


def show_paper_case(kernel_size: int) -> None:
    console.section("A case small enough for paper")
    console.matrices({"IMAGE": IMAGE})
    console.code(starts, pool)
    console.ask("Windows of 3 x 3: the first one's largest, its mean?")
    console.say("First window: 1 2 0, 0 1 2, 1 2 1. Largest: 2. Mean: 10 / 9.")
    console.ask("Which largest, if windows may reach past the edge?")
    for k in dict.fromkeys([3, kernel_size]):
        ours, theirs = {}, {}
        for (name, pair), mode in product(POOLS.items(), (False, True)):
            head = f"{name}, {k} x {k}\nceil_mode {mode}"
            ours[head] = pool(IMAGE, pair[0], k, k, 0, mode)
            theirs[head] = pair[1](IMAGE[None], k, ceil_mode=mode)[0]
        console.matrices(ours)
        console.agrees("pool = F.max_pool2d, F.avg_pool2d", ours, theirs, 1e-6)
    console.say(
        "A window of 3 leaves 2 of 5 columns over, and 2 rows. With ceil_mode "
        "False, the default, they are never read: the 5 is lost. With True the "
        "window lower left takes what is there, 5 2 3 and 2 1 0: largest 5, "
        "mean 13 / 6 = 2.17. Stride is kernel_size and padding 0 by default."
    )


def show_padding() -> None:
    console.section("Windows of 3 x 3, stride 2, padding 1: 3 x 3 pixels of -1")
    dark = torch.full((1, 3, 3), -1.0)
    console.ask("The first has 4 pixels, 5 empty places: largest? mean?")
    how = 3, 2, 1  # kernel_size, stride, padding
    ours = {n: pool(dark, p[0], *how, False)[0] for n, p in POOLS.items()}
    theirs = {n: p[1](dark, *how)[0] for n, p in POOLS.items()}
    console.matrices(ours | {"F.avg_pool2d": F.avg_pool2d(dark, *how)[0]})
    console.agrees("pool = PyTorch's", ours, theirs, 1e-6)
    console.say(
        "Upper left, 5 of 9 places are padding. They hold no number, not the "
        "zeros of conv-demo: of 4 pixels the largest is -1, the mean -4 / 4. "
        "F.avg_pool2d by default counts 5 zeros, -4 / 9 = -0.44; in the checks "
        "it has count_include_pad=False. ResNet, a network, pools like this."
    )


def show_windows() -> None:
    console.section("ceil_mode True: how many windows in a row of pixels?")
    console.ask("3 pixels, windows of 2, stride 3, padding 0: how many?")
    table = []
    for row in ROWS:
        where = " ".join(map(str, starts(*row, True)))
        table.append((*row, *how_many(*row), where))
    console.table(HEADS.split(), table)
    console.say(
        "formula: 1 + (pixels + 2 * padding - kernel_size) / stride, rounded "
        "up. Row 3: 1 + 1 / 3, so 2, but the second window would start at 3, "
        "and the last pixel is 2. PyTorch leaves out a window that starts "
        "right of the last pixel, even in the padding: in row 4 at 5."
    )
    ours, theirs = both_ways(pool, POOLS, 200)
    console.agrees("pool = PyTorch's, 200 random images", ours, theirs, 1e-6)


def show_photograph(image: Tensor, k: int) -> dict[str, Tensor]:
    console.section("What stays, what is lost: a dark line and a picture")
    console.ask("Of three rows of 1 0 1, a dark line: what does each keep?")
    console.say("Rows of 1 0 1: largest 1, the dark line is lost; mean 2 / 3.")
    console.ask("A photograph: does the largest make it lighter? The mean?")
    pooled = {n: p(image, k, ceil_mode=True) for n, (_, p) in POOLS.items()}
    shown = {"picture": image} | pooled
    means = ", ".join(f"{n} {x.mean():.2f}" for n, x in shown.items())
    pooled["largest - mean"] = pooled["largest"] - pooled["mean"]
    console.pictures(pooled, "pooled", width=25)
    console.say(
        f"Brightness of {image.size(1)} x {image.size(2)} pixels (0 is black, "
        f"1 is white): {means}. The mean keeps it, but for windows that the "
        "edge cuts off. largest - mean shows where a window is uneven."
    )
    return shown | pooled


def show_move(image: Tensor, k: int) -> None:
    console.section("The picture moves by a pixel: what stays the same?")
    console.ask(f"{k - 1} of a window's {k} columns stay. How many outputs?")
    noise = same_after_move(torch.rand(3, 60 * k, 60 * k), k)
    console.say(
        f"Random pixels: {noise:.0%} of the outputs. Picture: "
        f"{same_after_move(image, k):.0%}. Before the move and after it, a "
        f"window covers {k + 1} columns in all, {k - 1} of them "
        "both times. If the largest of all is in one of these, it stays: at "
        f"random in {k - 1} of {k + 1} cases. Where a picture gets lighter to "
        "one side, the largest is in the first or last column and changes. "
        "Do not rely on pooling to hide small moves."
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
    show_padding()
    show_windows()
    shown = show_photograph(picture, kernel_size)
    show_move(picture, kernel_size)
    console.section("What it is for: train-cifar's network")
    console.say(
        "MaxPool2d(2), three times, turns 32 x 32 pixels into 4 x 4. In 64 "
        "channels 64 * 4 * 4 = 1,024 numbers are left. The next layer has 64 "
        "outputs, each with a weight for every number: 65,536 weights. Without "
        "pooling they would be 64 * 32 * 32 * 64 = 4,194,304."
    )
    console.mistakes(__name__, raises=(NotImplementedError, AttributeError))
    console.remember(
        "pool = torch.nn.MaxPool2d(2)  # windows of 2 x 2, stride 2, no weight",
        "pool(torch.rand(64, 32, 33, 33)).shape  # (64, 32, 16, 16): 1 is lost",
        "torch.nn.MaxPool2d(3, stride=2, padding=1)  # ResNet's: 112 gives 56",
    )
    console.say(
        "Exercise: take the smallest of each window, with F.max_pool2d alone. "
        "Of IMAGE (from lessons.maxpool_demo import IMAGE), windows of 3 x 3, "
        "ceil_mode True, it is [[0, 0], [0, 1]]."
    )
    with board("maxpool-demo", logdir, "IMAGES: pooled") as writer:
        title = f"Of each window of {kernel_size} x {kernel_size} one number"
        writer.add_figure("pooled", pictures_figure(shown, title))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
