"""Linear layers by hand.

An image is a table of pixels for each channel. Flattened, it is a row x of
numbers, the inputs of a linear layer. Output j has weights and a bias:
    y[j] = x[0] * weight[j, 0] + x[1] * weight[j, 1] + ... + bias[j]
For a whole batch, with a row for each image: y = x @ weight.T + bias

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
    "matrix product": "a @ b: each row of a times each column of b, summed up",
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
    out = torch.zeros(*kept, joined.numel(), dtype=x.dtype)  # 2 * 2 * 2 = 8
    for place, index in enumerate(product(*map(range, joined))):
        out[..., place] = x[(..., *index)]  # "...": for each image
    return out


def linear_loops(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x: (..., inputs), weight: (outputs, inputs). Returns (..., outputs)."""
    out = torch.zeros(*x.shape[:-1], len(bias), dtype=x.dtype)
    for index in product(*map(range, x.shape[:-1])):  # (0,), (1,): images
        for j in range(len(bias)):
            y = bias[j]
            for i in range(x.size(-1)):
                y = y + x[(*index, i)] * weight[j, i]
            out[(*index, j)] = y
    return out


def linear_sums(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return (x[..., None, :] * weight).sum(-1) + bias  # -1: over the inputs


def linear_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x @ weight.T + bias


def averages(rows: Tensor, labels: Tensor) -> Pair:
    """A weight (10, inputs), each class's average row, and a bias (10,)."""
    weight = torch.stack([rows[labels == j].mean(0) for j in range(10)])
    return weight, -(weight**2).sum(1) / 2


# ---- Mistakes ---------------------------------------------------------------
def wrong_last() -> torch.Size:
    """The batch became one row. torch.flatten begins at dimension 0, so mat1
    has 16 * 3 * 32 * 32 = 49,152 columns; mat2, weight.T, has 196,608 rows."""
    layer = nn.Linear(64 * 3 * 32 * 32, 10)  # for batches of 64 images
    last = torch.zeros(16, 3, 32, 32)  # of 10,000 images 16 are left over
    return layer(torch.flatten(last)).shape


def tempting_last() -> torch.Size:
    """leave the last batch out, as drop_last=True of a DataLoader does."""
    layer = nn.Linear(64 * 3 * 32 * 32, 10)
    full = torch.zeros(64, 3, 32, 32)
    return layer(torch.flatten(full)).shape


def right_last() -> torch.Size:
    """start_dim=1 leaves dimension 0 alone: ten outputs for each image. Above,
    64 had ten together, and no error. (nn.Flatten(), a layer, begins at 1.)"""
    layer = nn.Linear(3 * 32 * 32, 10)
    last = torch.zeros(16, 3, 32, 32)
    return layer(torch.flatten(last, start_dim=1)).shape


def wrong_file() -> Tensor:
    """permute moved no number, but exchanged strides. Now no single stride
    leads through all twelve numbers in the order C H W."""
    image = torch.arange(12).view(1, 2, 2, 3)  # N H W C, as from a file
    return image.permute(0, 3, 1, 2).view(1, 12)  # N C H W, then a row


def right_file() -> Tensor:
    """flatten(1), or the error's reshape, copies where no view is possible.
    Channel 0 comes first: 0 3 6 9. (Without permute view works, but a pixel's
    colours come first, 0 1 2: mixed, for weights that know the order C H W.)"""
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
        "IMAGES has shape (2, 2, 2, 2), N C H W. product counts through all "
        "indices [c, i, j] of an image, the last one fastest: [0, 0, 0], "
        "[0, 0, 1], [0, 1, 0], ... So [c, i, j] comes to place c * 4 + i * 2 + "
        "j, counted from 0: the 6, at [1, 0, 1], to place 4 + 0 + 1 = 5."
    )
    ours = {n: flatten(IMAGES, n) for n in range(4)}
    theirs = {n: torch.flatten(IMAGES, n) for n in range(4)}
    console.agrees("flatten = torch.flatten, start_dim 0 to 3", ours, theirs, 0)


def show_linear(x: Tensor) -> None:
    console.section("The linear layer: two outputs for each of these rows")
    console.matrices({"WEIGHT": WEIGHT, "BIAS": BIAS[None]})
    console.ask("Which number is output 1 of image 1?")
    pairs = zip(x[1], WEIGHT[1], strict=True)
    terms = " + ".join(f"{a:.0f}*{b:.0f}" for a, b in pairs)
    y = linear_loops(x, WEIGHT, BIAS)
    console.say(f"Output 1 of image 1: {terms} + BIAS[1] = {y[1, 1]:.0f}")
    console.code(linear_loops)
    console.matrices({"outputs 0 and 1, a row for each image": y})
    console.say(
        "Output 0 of image 0: 1 + 2 + 3 + 4 - 5 - 6 - 7 - 8 + 10 = -6. "
        "nn.Linear(8, 2) keeps a weight and a bias of these shapes, random at "
        "first, and calls F.linear (F is torch.nn.functional)."
    )
    console.agrees("linear_loops = F.linear", y, F.linear(x, WEIGHT, BIAS), 0)


def show_ways(x: Tensor) -> None:
    console.section("The same without a loop, in two ways")
    console.code(linear_sums, linear_product)
    console.say(
        "None puts in a dimension of size 1, and broadcasting does the rest: "
        "(2, 1, 8) * (2, 8) is (2, 2, 8), all rows of x times all of weight. "
        "The matrix product does both, multiply and add up. weight.T has a "
        "column for each output: (2, 8) @ (8, 2) is (2, 2), and the 8s must be "
        "equal. Now this case and 100 random ones, x of 1 to 3 dimensions:"
    )
    cases = [(x, WEIGHT, BIAS)]
    for n in range(100):
        *before, inputs, outputs = torch.randint(1, 6, (4,)).tolist()
        shapes = (*before[: n % 3], inputs), (outputs, inputs), (outputs,)
        cases.append([torch.randn(shape) for shape in shapes])
    ways = linear_loops, linear_sums, linear_product
    ours = {(n, f): f(*c) for n, c in enumerate(cases) for f in ways}
    theirs = {(n, f): F.linear(*cases[n]) for n, f in ours}
    console.agrees("all three = F.linear", ours, theirs, 1e-5)


def show_digits(train: Pair, test: Pair) -> Pair:
    console.section("What it is for: an output for each of ten classes")
    console.say(
        "Handwritten digits of 16 x 16 pixels, from 0 to 1, are rows of 256. "
        "The average of a class is its output's row of weights: 1,500 digits "
        "make them, and 297 others test them. The largest output is the answer."
    )
    console.code(averages)
    console.ask("How many % are right? And with all pixels mixed in one way?")
    layer = averages(*train)
    right = linear_product(test[0], *layer).argmax(1) == test[1]
    console.say(
        f"Right: {right.double().mean():.1%}. Guessing gets about 10%. For a "
        "row x, twice an output is sum(x**2) - sum((x - average)**2), so the "
        "nearest average has the largest output. Pixels, weights mixed alike:"
    )
    return layer


def show_mixed(
    layer: Pair, images: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    (weight, bias), order = layer, torch.randperm(256)
    mixed = linear_product(images[:, order], weight[:, order], bias)
    plain = linear_product(images, weight, bias)
    console.agrees("outputs, all mixed = not mixed", mixed, plain, 1e-3)
    lost = linear_product(images[:, order], weight, bias).argmax(1) == labels
    console.say(
        "A sum is the same in any order, so as many are right: the layer can't "
        "know which pixels are neighbours, as a convolution does. But each has "
        "its place. If the pixels are mixed and the weights are not, "
        f"{lost.double().mean():.1%} are right (over 300 seeds 1% to 27%, mean "
        "11%). train-cifar's last two layers are linear, with learned weights."
    )
    rows = {"a 3": images[(labels == 3).nonzero()[0, 0]]}
    rows |= {f"weight[{j}]": row for j, row in enumerate(weight)}
    rows |= {f"{name}, mixed": row[order] for name, row in rows.items()}
    pictures = {name: row.view(16, 16) for name, row in rows.items()}
    shown = {name: image for name, image in pictures.items() if "3" in name}
    console.pictures(shown, "weights", width=16)
    return pictures


def run(seed: Seed = 0, logdir: LogDir = LOGS) -> None:
    """Make an image a row, and sum it up as nn.Linear does."""
    torch.manual_seed(seed)
    console.opening(__doc__)
    console.words(WORDS)
    show_flatten()
    show_linear(flatten(IMAGES, 1))
    show_ways(flatten(IMAGES, 1))
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits(16))
    pictures = show_mixed(show_digits(train, test), *test)
    console.mistakes(__name__, raises=RuntimeError)
    console.remember(
        "import torch; images = torch.rand(64, 3, 32, 32)",
        "rows = images.flatten(start_dim=1)  # (64, 3072): images stay apart",
        "torch.nn.Linear(3072, 10)(rows).shape  # (64, 10): ten for each",
    )
    console.say(
        "Exercise: which weight (64, 64), with no bias, moves an 8 x 8 image a "
        "pixel down? (weight @ torch.arange(64.)).view(8, 8) must be a row of "
        "zeros above 0 to 55. How many of the weights are not 0?"
    )
    title = "Each weight[j] is digit j's average. Below, mixed in one way"
    figure = figures.pictures_figure(pictures, title, 11)
    with board("linear-demo", logdir, "IMAGES: weights") as writer:
        writer.add_figure("weights", figure)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
