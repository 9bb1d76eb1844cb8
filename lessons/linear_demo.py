"""Linear layers by hand.

An image is a table of pixels for each channel. Flattened, it is a row x of
numbers, the inputs of a linear layer. Output j adds up input * weight:
    y[j] = x[0] * weight[j, 0] + x[1] * weight[j, 1] + ... + bias[j]
For the rows of a batch, this is a matrix product: y = x @ weight.T + bias

    python cli.py linear-demo --step
"""

from itertools import product

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console, figures
from shared.board import board
from shared.datasets.embedded import digits
from shared.options import LOGS, LogDir, Seed

WORDS = {
    "flatten": "join dimensions into one: (64, 3, 32, 32) becomes (64, 3072)",
    "linear layer": "nn.Linear: outputs are sums of weight * input, plus bias",
    "matrix product": "a @ b: each row of a times each column of b, added up",
}
Pair = tuple[Tensor, Tensor]
IMAGES = torch.tensor([[[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]],
                       [[[0, 1], [0, 2]], [[1, 0], [3, 0]]]])  # fmt: skip
WEIGHT = torch.tensor([[1.0] * 4 + [-1] * 4, [0, 1, 0, 2, 0, 0, 1, 0]])
BIAS = torch.tensor([10.0, -1])


# ---- By hand ----------------------------------------------------------------
def flatten(x: Tensor, start_dim: int = 0) -> Tensor:
    """Join dimension start_dim and all after it into one."""
    kept, joined = x.shape[:start_dim], x.shape[start_dim:]
    out = torch.zeros(*kept, joined.numel(), dtype=x.dtype)
    for place, index in enumerate(product(*map(range, joined))):
        out[..., place] = x[(..., *index)]  # "...": all that is kept
    return out


def linear_loops(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (images, inputs), weight (outputs, inputs): (images, outputs)."""
    out = torch.zeros(len(x), len(bias), dtype=x.dtype)
    for n in range(len(x)):
        for j in range(len(bias)):
            out[n, j] = bias[j]
            for i in range(x.size(1)):
                out[n, j] += x[n, i] * weight[j, i]
    return out


def linear_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (x[..., None, :] * weight).sum(-1) + bias  # -1: over the inputs


def linear_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight.T + bias


def averages(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (10, inputs): each class's average row. Bias (10,)."""
    weight = torch.stack([rows[labels == j].mean(0) for j in range(10)])
    return weight, -(weight**2).sum(1) / 2


# ---- Mistakes ---------------------------------------------------------------
def wrong_last() -> torch.Size:
    """The batch became one row. torch.flatten begins at dimension 0, so mat1
    has 16 * 3 * 32 * 32 = 49,152 columns; mat2, weight.T, has 196,608 rows.
    With nn.Linear(49152, 10), batches of 64 would fail instead."""
    layer = nn.Linear(64 * 3 * 32 * 32, 10)  # for batches of 64 images
    last = torch.zeros(16, 3, 32, 32)  # 10,000 images - 156 batches of 64
    return layer(torch.flatten(last)).shape


def tempting_last() -> torch.Size:
    """leave the last batch out, with drop_last=True in the DataLoader."""
    layer = nn.Linear(64 * 3 * 32 * 32, 10)
    full = torch.zeros(64, 3, 32, 32)
    return layer(torch.flatten(full)).shape


def right_last() -> torch.Size:
    """start_dim=1, as in nn.Flatten(), leaves dimension 0 alone. Above, 64
    images got ten outputs together: the error comes later, with 64 labels."""
    layer = nn.Linear(3 * 32 * 32, 10)
    last = torch.zeros(16, 3, 32, 32)
    return layer(torch.flatten(last, start_dim=1)).shape


def wrong_file() -> Tensor:
    """permute moved no number, only sizes and strides. In the order C H W the
    places are 0 3 6 9 1 ...: on by 3, then back by 8. A row has one stride."""
    image = torch.arange(12).view(1, 2, 2, 3)  # N H W C, as from a file
    return image.permute(0, 3, 1, 2).view(1, 12)  # N C H W, then a row


def right_file() -> Tensor:
    """flatten(1), or the error's reshape, copies where no view is possible.
    (Without permute, view works, in the order H W C: mixed, as above.)"""
    image = torch.arange(12).view(1, 2, 2, 3)
    return image.permute(0, 3, 1, 2).flatten(1)


# ---- The lesson -------------------------------------------------------------
def show_flatten() -> None:
    console.section("A case small enough for paper: images become rows")
    both = product((0, 1), (0, 1))
    console.matrices({f"image {n}, channel {c}": IMAGES[n, c] for n, c in both})
    console.ask("Image 0 as one row of eight numbers: in which order?")
    console.code(flatten)
    console.matrices({"flatten(IMAGES, start_dim=1)": flatten(IMAGES, 1)})
    console.say(
        "Channel 0 comes first, row by row: itertools.product counts through "
        "all [c, i, j], the last index fastest. An image has numel() = 8 "
        "numbers, a channel 4, each of its rows 2: [c, i, j] comes to place c "
        "* 4 + i * 2 + j, from 0. The 6, at [1, 0, 1], comes to 4 + 0 + 1 = 5."
    )
    rows = flatten(IMAGES, 1)
    console.agrees("flatten = torch.flatten", rows, IMAGES.flatten(1), 0)


def show_linear(x: Tensor) -> None:
    console.section("The linear layer: two outputs for each of the two rows")
    console.matrices({"x, the rows": x, "WEIGHT": WEIGHT, "BIAS": BIAS[None]})
    console.ask("Which number is output 1 of image 1?")
    console.code(linear_loops)
    y = linear_loops(x, WEIGHT, BIAS)
    console.matrices({"outputs 0 and 1, a row for each image": y})
    console.say(
        "Output 1 of image 1: 1*1 + 2*2 + 3*1 - 1 = 7; its other products are "
        "0. nn.Linear(8, 2), 8 inputs and 2 outputs, keeps a weight (2, 8) and "
        "a bias (2,), 18 parameters. With WEIGHT and BIAS in their place:"
    )
    layer = nn.Linear(8, 2)
    layer.load_state_dict({"weight": WEIGHT, "bias": BIAS})
    console.agrees("linear_loops = nn.Linear(8, 2)", y, layer(x), 0)


def show_ways(x: Tensor) -> None:
    console.section("The same without a loop, in two ways")
    console.code(linear_sums, linear_product)
    console.say(
        "None adds a dimension of size 1, and broadcasting does the rest: "
        "(images, 1, inputs) * (outputs, inputs) is (images, outputs, inputs), "
        "32 products here, stored and then added up. @ stores no product: "
        "(images, inputs) @ (inputs, outputs) is (images, outputs). Take @: 64 "
        "images, 1,024 inputs and 64 outputs, as in train-cifar, would need 4 "
        "bytes * 64 * 1024 * 64, 17 MB. This case and 100 random ones:"
    )
    cases, sizes = [(x, WEIGHT, BIAS)], [(4, 5), (3, 5), (3,)]
    cases += [[torch.randn(size) for size in sizes] for _ in range(100)]
    ways = linear_loops, linear_sums, linear_product
    ours = {(n, f): f(*c) for n, c in enumerate(cases) for f in ways}
    theirs = {(n, f): F.linear(*cases[n]) for n, f in ours}
    console.agrees("all three = F.linear", ours, theirs, 1e-5)


def share(outputs: Tensor, labels: Tensor) -> str:
    return f"{(outputs.argmax(1) == labels).double().mean():.1%}"


def show_digits(train: Pair, test: Pair) -> Pair:
    console.section("What it is for: an output for each of ten classes")
    console.say(
        "Handwritten digits of 16 x 16 pixels, 0 (black) to 1 (white), become "
        "rows of 256. Nothing is trained: weight[j] is the average row of "
        "class j in the training set, 1,500 digits. In the test set, 297 "
        "others, the largest output gives the class. Guessing gets about 10%."
    )
    console.code(averages)
    console.say(
        "Why this bias? How far row x is from an average a: sum((x - a)**2) = "
        "sum(x**2) - 2 * (sum(x * a) - sum(a**2) / 2). The outer bracket is "
        "a's output, and sum(x**2) is the same for all ten averages. So the "
        "nearest average has the largest output."
    )
    console.ask("How many % of the 297 are right?")
    layer = averages(*train)
    console.say(f"{share(linear_product(test[0], *layer), test[1])} are right.")
    return layer


def show_mixed(train: Pair, test: Pair, layer: Pair) -> figures.Figure:
    console.say("The pixels of all 1,797 in one random order, averaged anew:")
    console.ask("How many % are right now?")
    (rows, labels), order = test, torch.randperm(256)
    mixed, anew = rows[:, order], averages(train[0][:, order], train[1])
    new = linear_product(mixed, *anew)
    console.agrees("outputs = before", new, linear_product(rows, *layer), 1e-4)
    lost = share(linear_product(mixed, *layer), labels)
    console.say(
        f"{share(new, labels)} are right: a sum is the same in any order, but "
        "for rounding (of outputs up to 38). The layer doesn't know which "
        "pixels are neighbours. But each weight belongs to one pixel: with "
        f"only the test set mixed, {lost} are right (seeds 0 to 299: 1% to "
        "27%, mean 11%: guessing). train-cifar's network begins with kernels, "
        "which read neighbours, and ends with Flatten and linear layers."
    )
    shown = {f"weight[{j}]": row for j, row in enumerate(layer[0])}
    shown["a 3"] = rows[labels == 3][0]
    shown |= {f"{n}, mixed": shown[n][order] for n in ("a 3", "weight[3]")}
    shown = {name: row.view(16, 16) for name, row in shown.items()}
    threes = {name: image for name, image in shown.items() if "3" in name}
    console.pictures(threes, "weights", width=16)
    return figures.pictures_figure(shown, "Averages as weights (black is 0)", 5)


def run(seed: Seed = 0, logdir: LogDir = LOGS) -> None:
    """Make an image a row, and sum it up as nn.Linear does."""
    torch.manual_seed(seed)
    console.opening(__doc__)
    console.words(WORDS)
    show_flatten()
    show_linear(flatten(IMAGES, 1))
    show_ways(flatten(IMAGES, 1))
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits(16))
    figure = show_mixed(train, test, show_digits(train, test))
    console.mistakes(__name__, raises=RuntimeError)
    console.remember(
        "import torch; images = torch.rand(64, 3, 32, 32)",
        "rows = images.flatten(start_dim=1)  # (64, 3072): images stay apart",
        "torch.nn.Linear(3072, 10)(rows).shape  # (64, 10): ten for each",
    )
    console.say(
        "Exercise: which weight (64, 64) moves a flattened 8 x 8 image down by "
        "a pixel? (weight @ torch.arange(64.)).view(8, 8) must be zeros in row "
        "0, then 0 to 55. Why must weight.count_nonzero() be 56, not 64?"
    )
    with board("linear-demo", logdir, "IMAGES: weights") as writer:
        writer.add_figure("weights", figure)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
