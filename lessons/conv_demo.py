"""Convolution by hand.

Lay a kernel, a small table of numbers, on the upper left of an image.
Multiply each of its numbers by the pixel under it (these are the patch) and
add up the products: one number of the output. Slide it to the next stop.
    output[i, j] = sum of patch * kernel   (stop i from above, j from left)

    python cli.py conv-demo --step
"""

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.embedded import photograph
from shared.figures import kernels_figure
from shared.options import EDGES, LOGS, Kernel, LogDir, Padding, Stride

WORDS = {
    "convolution": "sliding a kernel over an image, a sum at each stop",
    "kernel": "the small table of numbers that slides, often 3 x 3",
    "stride (of a kernel)": "how many pixels it moves from stop to stop",
    "padding (of an image)": "rows and columns of zeros laid round it first",
    "filter": "one kernel for each channel; their outputs are added up",
}
Named = dict[str, Tensor]
IMAGE = torch.tensor([[1.0, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0],
                      [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]])  # fmt: skip
KERNEL = torch.tensor([[1.0, 2, 1], [0, 1, 0], [2, 1, 0]])
KERNELS = {
    "original": torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "blur": torch.ones(3, 3) / 9,
    "sharpen": torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
}


# ---- By hand ----------------------------------------------------------------
def conv2d(
    image: Tensor, weight: Tensor, stride: int = 1, padding: int = 0
) -> Tensor:
    """weight: a kernel (rows, columns) or a filter (channels, ...)."""
    assert image.dtype == weight.dtype  # the same kind of numbers in both
    image = F.pad(image, [padding] * 4)  # zeros left, right, above, below
    kh, kw = weight.shape[-2:]  # the kernel's rows and columns
    tops = range(0, image.size(-2) - kh + 1, stride)  # size(-2): the rows
    lefts = range(0, image.size(-1) - kw + 1, stride)
    out = torch.zeros(len(tops), len(lefts), dtype=image.dtype)
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            patch = image[..., top : top + kh, left : left + kw]
            out[i, j] = (patch * weight).sum()  # "..." above: all channels
    return out


def learn_kernel(image: Tensor, wanted: Tensor, steps: int) -> Tensor:
    """Find the kernel that made wanted of image, some random numbers."""
    torch.manual_seed(0)  # the same random numbers at each call
    layer = nn.Conv2d(1, 1, kernel_size=3, bias=False)  # a random kernel
    for _ in range(steps):
        loss = ((layer(image) - wanted) ** 2).mean()  # how far off?
        gradient = torch.autograd.grad(loss, layer.weight)[0]  # a 1-tuple
        with torch.no_grad():  # the step needs no gradient of its own
            layer.weight -= 0.4 * gradient  # minus: the loss falls
    return layer.weight.detach().reshape(3, 3)  # detach: the bare numbers


# ---- Mistakes ---------------------------------------------------------------
def wrong_paper() -> Tensor:
    """The channels are missing. PyTorch wants that dimension, even for one."""
    return F.conv2d(IMAGE, KERNEL)


def right_paper() -> Tensor:
    """an image is (channels, rows, columns), filters (how many, channels, rows,
    columns). Mend the image alone, and the next error asks for three dimensions
    in the filters; give them three, and it speaks of stride."""
    return F.conv2d(IMAGE.reshape(1, 5, 5), KERNEL.reshape(1, 1, 3, 3))


def wrong_white() -> Tensor:
    """Image and kernel differ in dtype: Byte is uint8, Float is float32."""
    white = torch.full((1, 3, 3), 255, dtype=torch.uint8)
    return F.conv2d(white, KERNEL.reshape(1, 1, 3, 3))


def tempting_white() -> Tensor:
    """make the kernel Byte, too, as the error wants it."""
    white = torch.full((1, 3, 3), 255, dtype=torch.uint8)
    return F.conv2d(white, KERNEL.reshape(1, 1, 3, 3).byte())


def right_white() -> Tensor:
    """make the image float32. The kernel's numbers add up to 8: 8 * 255 = 2040.
    Of that uint8 kept 2040 - 7 * 256 = 248, without an error."""
    white = torch.full((1, 3, 3), 255, dtype=torch.uint8)
    return F.conv2d(white.float(), KERNEL.reshape(1, 1, 3, 3))


def wrong_column() -> Tensor:
    """The 1 is never read. The last stop covers columns 2, 3 and 4."""
    row = torch.tensor([[[0, 0, 0, 0, 0, 1.0]]])  # (1, 1, 6)
    return F.conv2d(row, torch.ones(1, 1, 1, 3), stride=2)


def right_column() -> Tensor:
    """padding=(0, 1) lays no rows, and a column of zeros at each side. Unread
    is (6 + 2 - 3) % 2 = 1 column, a zero. No more than you lay may stay unread;
    with stride 3 it would be 2."""
    row = torch.tensor([[[0, 0, 0, 0, 0, 1.0]]])
    return F.conv2d(row, torch.ones(1, 1, 1, 3), stride=2, padding=(0, 1))


# ---- The lesson -------------------------------------------------------------
def products(patch: Tensor, kernel: Tensor) -> str:
    pairs = zip(patch.flatten(), kernel.flatten(), strict=True)
    return " + ".join(f"{pixel:.0f}*{number:.0f}" for pixel, number in pairs)


def show_paper_case(stride: int, padding: int) -> None:
    console.section("A case small enough for paper")
    console.matrices({"IMAGE": IMAGE, "KERNEL": KERNEL})
    console.ask("KERNEL lies on the upper left corner of IMAGE: the sum?")
    terms = products(IMAGE[:3, :3], KERNEL)
    console.say(f"First stop: {terms} = {conv2d(IMAGE, KERNEL)[0, 0]:.0f}")
    console.code(conv2d)
    console.ask("Stops in a row: with stride 2? With stride 1, padding 1?")
    console.say(
        "A row has 5 + 2 * padding pixels. The first stop covers 3; each "
        "further one needs stride more: 1 + (what is left) // stride. In the "
        "checks, F is torch.nn.functional."
    )
    image, filters = IMAGE.reshape(1, 5, 5), KERNEL.reshape(1, 1, 3, 3)
    ours, theirs = {}, {}
    for s, p in [(1, 0), (2, 0), (1, 1), (stride, padding)]:
        stops = f"1+(5+2*{p}-3)//{s} = {1 + (5 + 2 * p - 3) // s}"
        name = f"stride {s}, padding {p}\n{stops}"
        ours[name] = conv2d(IMAGE, KERNEL, s, p)
        theirs[name] = F.conv2d(image, filters, stride=s, padding=p)[0]
    console.matrices(ours)
    console.agrees("conv2d = F.conv2d", ours, theirs, 0)


def show_channels() -> None:
    console.section("Two channels: a filter has a kernel for each")
    image = torch.stack([IMAGE[:3, :3], IMAGE[2:, 2:]])  # (2, 3, 3)
    weight = torch.stack([KERNEL, KERNEL.T])  # (2, 3, 3)
    first = {"channel 0": image[0], "kernel 0": weight[0]}
    console.matrices(first | {"channel 1": image[1], "kernel 1": weight[1]})
    console.ask("Channel 0 gives 10, as above. What do both give together?")
    one, two = (conv2d(image[c], weight[c]).item() for c in (0, 1))
    console.say(f"Channel 1: {products(image[1], weight[1])} = {two:.0f}")
    ours, theirs = conv2d(image, weight), F.conv2d(image, weight[None])[0]
    console.say(f"Both: {one:.0f} + {two:.0f} = {ours.item():.0f}, one output.")
    console.agrees("conv2d = F.conv2d", ours, theirs, 0)


def show_photograph(kernels: Named, stride: int, padding: int) -> Named:
    console.section("A photograph of a roof, 20 x 20 grey pixels")
    colours = photograph("china")[:, 20:180, 120:280]  # (3, 160, 160)
    image = F.avg_pool2d(colours, 8).mean(0)  # 8 x 8 pixels become one, grey
    console.matrices(kernels)
    console.ask("Which of the four outputs will be the darkest?")
    outputs = {n: conv2d(image, k, stride, padding) for n, k in kernels.items()}
    console.pictures(outputs, "kernels", width=18)
    seen = [f"{n} {o.clamp(0, 1).mean():.2f}" for n, o in outputs.items()]
    rows = f"1+(20+2*{padding}-3)//{stride} = {len(outputs['original'])}"
    console.say(
        f"Output rows: {rows}. Mean brightness (0 and less is black, 1 and "
        f"more white): {', '.join(seen)}. Nine equal pixels give that pixel "
        "times the sum of the kernel's numbers. With a sum of 0, such as "
        "8 - 8, even areas become black."
    )
    return outputs


def show_learning(name: str, kernel: Tensor) -> None:
    console.section("What it is for: a network finds its kernels itself")
    console.say("nn.Conv2d is a layer; layer.weight holds its filters.")
    console.code(learn_kernel)
    image = torch.randn(1, 40, 40)
    wanted = F.conv2d(image, kernel.reshape(1, 1, 3, 3))
    console.ask("It never sees the nine numbers. How near will 10 steps come?")
    learned = {n: learn_kernel(image, wanted, n) for n in (0, 1, 10, 100)}
    console.matrices({f"step {n}": learned[n] for n in (0, 1, 10)})
    pair = learned[100].round(decimals=4), kernel.round(decimals=4)
    console.agrees(f"step 100, four decimals = {name}", *pair, 1e-4)
    console.say("So train-cifar's network learns 128 filters, of 5 x 5.")


def show_speed() -> None:
    console.section("Why nobody uses conv2d by hand: 60 x 120 stops")
    image = torch.randint(0, 256, (1, 62, 122)).float()  # as in image files
    filters = KERNEL.reshape(1, 1, 3, 3)
    console.ask("How many times as fast as conv2d is F.conv2d?")
    ways = {
        "conv2d": lambda: conv2d(image[0], KERNEL),
        "as many turns of an empty loop": lambda: [0 for _ in range(60 * 120)],
        "F.conv2d": lambda: F.conv2d(image, filters)[0],
    }
    console.speeds(ways)
    console.say("Four calls at each stop take that time: [...], *, sum, =.")
    outputs = ways["conv2d"](), ways["F.conv2d"]()
    console.agrees("conv2d = F.conv2d on whole pixels, 0 to 255", *outputs, 0)


def run(
    stride: Stride = 1,
    padding: Padding = 0,
    kernel: Kernel = EDGES,
    logdir: LogDir = LOGS,
) -> None:
    """Slide a kernel over an image, and check it with PyTorch."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case(stride, padding)
    show_channels()
    name = "edges" if kernel == EDGES else "--kernel"
    own = torch.tensor([float(n) for n in kernel.split()]).reshape(3, 3)
    kernels = KERNELS | {name: own}
    outputs = show_photograph(kernels, stride, padding)
    show_learning(name, own)
    show_speed()
    console.mistakes(__name__, raises=RuntimeError)
    console.remember(
        "import torch; images = torch.rand(1, 3, 32, 32)  # one, 3 channels",
        "layer = torch.nn.Conv2d(3, 8, kernel_size=3, stride=2, padding=1)",
        "layer(images).shape  # (1, 8, 16, 16): 8 filters, 1+(32+2-3)//2 = 16",
    )
    console.say("Exercise: which --kernel moves original a pixel down? Try it.")
    with board("conv-demo", logdir, "IMAGES: kernels") as writer:
        writer.add_figure("kernels", kernels_figure(kernels, outputs))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
