"""nn.Conv2d: a layer of filters, with dilation and groups by hand.

nn.Conv2d keeps filters: filter o is weight[o]. Slide it over image n of a
batch, add a number, bias[o]: that is channel o of output n.
    output[n, o] = convolution of image n with weight[o], plus bias[o]
With dilation 2, a kernel's numbers lie on every second pixel. With two
groups, a filter reads one half of the channels: half as many products.

    python cli.py conv-layer-demo --image PATH
"""

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.pictures import own_or_photograph, shrunk
from shared.figures import pictures_figure
from shared.options import LOGS, Channels, Dilation, LogDir, Picture

WORDS = {
    "dilation": "pixels from one number of a kernel to the next; 1: no gaps",
    "groups": "equal parts of the channels; each has filters of its own",
    "depthwise": "with as many groups as channels: a filter reads only one",
    "feature map": "one channel of a layer's output, seen as a grey picture",
}
IMAGE = torch.tensor([[1.0, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0],
                      [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]])  # fmt: skip
KERNEL = torch.tensor([[1.0, 2, 1], [0, 1, 0], [2, 1, 0]])
NAMES = "image", "0 mean", "1 red-blue", "2 right-left", "3 random", "as RGB"


# ---- By hand ----------------------------------------------------------------
def conv2d(
    images: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """images (N, C, H, W), weight (how many filters, C, kh, kw)."""
    assert images.dtype == weight.dtype and images.size(1) == weight.size(1)
    images = F.pad(images, [padding] * 4)
    high, wide = (dilation * (k - 1) + 1 for k in weight.shape[2:])  # spans
    tops = range(0, images.size(2) - high + 1, stride)
    lefts = range(0, images.size(3) - wide + 1, stride)
    assert tops and lefts, "the kernels span more than the images"
    out = images.new_zeros(len(images), len(weight), len(tops), len(lefts))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            rows = slice(top, top + high, dilation)  # every dilation-th
            columns = slice(left, left + wide, dilation)
            patch = images[:, :, rows, columns]  # (N, C, kh, kw)
            for o, kernels in enumerate(weight):  # filter o, (C, kh, kw)
                out[:, o, i, j] = (patch * kernels).sum((1, 2, 3))  # (N,)
    return out


class Conv2d(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, size: int, **options: int
    ) -> None:
        super().__init__()
        self.groups = options.pop("groups", 1)
        assert in_channels % self.groups == out_channels % self.groups == 0
        self.steps = {"stride": 1, "padding": 0, "dilation": 1} | options
        shape = out_channels, in_channels // self.groups, size, size
        edge = (shape[1] * size**2) ** -0.5  # 1 / sqrt(numbers in a filter)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-edge, edge))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-edge, edge))

    def forward(self, images: Tensor) -> Tensor:
        parts = images.chunk(self.groups, dim=1)  # each (N, C / groups, H, W)
        pairs = zip(parts, self.weight.chunk(self.groups), strict=True)
        out = [conv2d(part, some, **self.steps) for part, some in pairs]
        return torch.cat(out, dim=1) + self.bias[:, None, None]  # (O, 1, 1)


def as_grey(maps: Tensor) -> Tensor:
    """Feature maps (C, H, W): in each, the least becomes 0, the largest 1."""
    maps = maps - maps.amin((1, 2), keepdim=True)  # minus (C, 1, 1)
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-6)  # not / 0


# ---- Mistakes ---------------------------------------------------------------
def wrong_border() -> tuple:
    """The maps are smaller, without an error. padding=1 suits kernels that span
    3 pixels. These span 2*(3-1)+1 = 5: a row has 1+(32+2*1-5)//1 = 30 stops."""
    layer = nn.Conv2d(3, 6, kernel_size=3, padding=1, dilation=2)
    return tuple(layer(torch.rand(64, 3, 32, 32)).shape)


def right_border() -> tuple:
    """padding = (span - 1) / 2, here 2. With stride 1 that keeps the size, and
    padding="same" has PyTorch work it out. (No even span has a whole one.)"""
    layer = nn.Conv2d(3, 6, kernel_size=3, padding=2, dilation=2)
    return tuple(layer(torch.rand(64, 3, 32, 32)).shape)


def wrong_album() -> tuple:
    """64 images have become 128 pictures. Each takes three feature maps of one
    image for red, green and blue: its colours are not the image's."""
    maps = nn.Conv2d(3, 6, 3)(torch.rand(64, 3, 32, 32))  # (64, 6, 30, 30)
    return tuple(maps.reshape(-1, 3, 30, 30).shape)


def right_album() -> tuple:
    """a grey picture for each map, here six of image 0, with as_grey as above.
    A SummaryWriter's add_images takes them like this, (N, 1, H, W)."""
    maps = nn.Conv2d(3, 6, 3)(torch.rand(64, 3, 32, 32))
    return tuple(as_grey(maps[0])[:, None].shape)


# ---- The lesson -------------------------------------------------------------
def show_dilation(dilation: int) -> None:
    console.section("Dilation, small enough for paper")
    console.matrices({"IMAGE": IMAGE, "KERNEL": KERNEL})
    console.ask("KERNEL with dilation 2: on which pixels, and what is the sum?")
    console.say(
        "On rows 0, 2, 4 and columns 0, 2, 4: 1*1 + 0*2 + 1*1 + 1*0 + 1*1 + "
        "0*0 + 2*2 + 0*1 + 1*0 = 7. Two steps of 2 and the first pixel, "
        "2*(3-1)+1 = 5, are KERNEL's span. Stops in a row, as in conv-demo: "
        "1+(size+2*padding-span)//stride."
    )
    console.code(conv2d)
    pair, ours, theirs = (IMAGE[None, None], KERNEL[None, None]), {}, {}
    for d, p in [(1, 0), (2, 0), (dilation, dilation)]:
        stops = f"1+(5+2*{p}-{2 * d + 1})//1 = {5 + 2 * p - 2 * d}"
        name = f"dilation {d}, padding {p}\n{stops}"
        ours[name] = conv2d(*pair, 1, p, d)[0, 0]
        theirs[name] = F.conv2d(*pair, padding=p, dilation=d)[0, 0]
    console.matrices(ours)
    console.agrees("conv2d = F.conv2d", ours, theirs, 0)
    console.say("Guess --dilation 5: where does KERNEL lie? Then try it.")


def show_groups() -> None:
    console.section("Groups: channels that stay apart")
    image = torch.stack([IMAGE[:3, :3], IMAGE[2:, 2:]])[None]  # (1, 2, 3, 3)
    weight = torch.stack([KERNEL, KERNEL.T])[:, None]  # (2, 1, 3, 3)
    first = {"channel 0": image[0, 0], "kernel 0": KERNEL}
    console.matrices(first | {"channel 1": image[0, 1], "kernel 1": KERNEL.T})
    console.code(Conv2d)
    console.ask("In conv-demo, these gave 10 + 9 = 19. And with groups=2?")
    layer = Conv2d(2, 2, 3, groups=2)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(2)})
    ours, theirs = layer(image).detach(), F.conv2d(image, weight, groups=2)
    console.say(
        "There, they were one filter: weight (1, 2, 3, 3). Here each is one: "
        "(2, 1, 3, 3), that is filters, channels that each reads, rows, columns"
        f". Outputs, with a bias of 0: {ours.int().flatten().tolist()}."
    )
    console.agrees("Conv2d(2, 2, 3, groups=2) = F.conv2d", ours, theirs, 0)
    names, ours, theirs = ("stride", "padding", "dilation", "groups"), {}, {}
    for i in range(50):
        torch.manual_seed(i)
        how = dict(zip(names, torch.randint(1, 4, (4,)).tolist(), strict=True))
        for layer, maps in ((Conv2d, ours), (nn.Conv2d, theirs)):
            torch.manual_seed(i)  # so both get the same random numbers
            maps[i] = layer(6, 12, 3, **how)(torch.randn(2, 6, 6, 7)).detach()
    console.agrees("Conv2d = nn.Conv2d, 50 random options", ours, theirs, 1e-5)


def feature_maps(image: Tensor, dilation: int) -> dict[str, Tensor]:
    """Pictures from 0 to 1: an image (3, H, W) and its feature maps."""
    torch.manual_seed(0)  # the same random filters in each call
    weight = torch.randn(4, 3, 3, 3)  # as before training; filter 3 stays so
    weight[0], weight[1] = 1 / 27, 0
    weight[1, :, 1, 1] = torch.tensor([1.0, 0, -1])  # red, green, blue
    weight[2] = torch.tensor([-1.0, 0, 1])  # every row of its kernels
    maps = as_grey(F.conv2d(image, weight, None, 1, dilation, dilation))
    return dict(zip(NAMES, [image, *maps, maps[:3]], strict=True))


def show_maps(picture: Tensor, dilation: int) -> None:
    console.section(f"Four feature maps of a picture, dilation {dilation}")
    console.code(as_grey)
    console.ask("Map 1 is red minus blue. Would white paper be bright there?")
    console.pictures(feature_maps(picture, dilation), "maps", width=24)
    console.say(
        "No: 1 - 1 = 0 at a white pixel, as at a black one. Map 2 is right "
        "minus left: a sharp edge with dark on its left makes a bright band of "
        f"{2 * dilation} pixels, {dilation} beside the padding. Filter 3 is "
        "random, as before training. As RGB: maps 0, 1, 2 as red, green, blue."
    )


def show_savings(channels: int) -> None:
    c, images = channels, torch.randn(1, channels, 32, 32)
    console.section(f"What depthwise saves: {c} channels of 32 x 32")
    layers = {"ordinary": nn.Conv2d(c, c, 3, padding=1)}
    layers["depthwise"] = nn.Conv2d(c, c, 3, padding=1, groups=c)
    console.say(
        f"nn.Conv2d({c}, {c}, 3, padding=1) has {c}*{c}*3*3 = {9 * c * c:,} "
        f"weights, with groups={c} {c}*3*3 = {9 * c:,}. Each makes a product at"
        " each of 32*32 stops. But depthwise mixes no channels, so each of the"
        " 17 in torchvision's mobilenet_v2 has a kernel_size=1 layer behind it."
    )
    console.ask("How many times as fast as ordinary is depthwise?")
    console.speeds({n: lambda f=f: f(images) for n, f in layers.items()})
    console.say(
        f"If only products took time, it would be {c} times. Guess what it is "
        "with --channels 8 and with 2, then try both. Does depthwise's time "
        "fall to a quarter from 8 to 2, as its products do?"
    )


def run(
    dilation: Dilation = 2,
    channels: Channels = 64,
    image: Picture = None,
    logdir: LogDir = LOGS,
) -> None:
    """Build nn.Conv2d by hand, with dilation and groups."""
    picture = own_or_photograph(image, "flower").permute(2, 0, 1) / 255
    console.opening(__doc__)
    console.words(WORDS)
    show_dilation(dilation)
    show_groups()
    show_maps(shrunk(picture, 24), dilation)
    show_savings(channels)
    console.mistakes(__name__)
    console.remember(
        "import torch; images = torch.rand(64, 3, 32, 32)",
        "layer = torch.nn.Conv2d(3, 6, 3)  # 6*3*3*3 + 6 biases = 168 numbers",
        "maps = layer(images)  # (64, 6, 30, 30): 1+(32+2*0-3)//1 = 30 rows",
    )
    console.say(
        "Exercise: image = torch.ones(1, 1, 13, 13, requires_grad=True) goes "
        "through three layers nn.Conv2d(1, 1, 3, dilation=2). One number, out, "
        "is left. It depends on how many pixels? Check: out.backward(), then "
        "image.grad.count_nonzero(). With 15 x 15 and dilation 1, 2, then 4?"
    )
    maps = feature_maps(shrunk(picture, 160), dilation)
    title = f"An image and its feature maps, dilation {dilation}"
    with board("conv-layer-demo", logdir, "IMAGES: maps") as writer:
        writer.add_figure("maps", pictures_figure(maps, title, columns=3))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
