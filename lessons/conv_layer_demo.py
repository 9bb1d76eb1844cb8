"""nn.Conv2d: a layer of filters, with dilation and groups by hand.

A layer has several filters. Each makes one channel of the output: the
convolution of the image with that filter, plus a number, the filter's bias.
    output[n, o] = convolution of image n with weight[o], plus bias[o]
Dilation spreads the kernels: they lie on every second pixel, say. Groups
make a filter read only some of the channels, which needs fewer products.

    python cli.py conv-layer-demo --image PATH
"""

from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.pictures import own_or_photograph, shrunk
from shared.figures import pictures_figure
from shared.options import LOGS, LogDir, Picture

WORDS = {
    "dilation": "pixels from one number of a kernel to the next; 1: no gaps",
    "groups": "equal parts of the channels; each has filters of its own",
    "depthwise": "with as many groups as channels: a filter reads only one",
    "feature map": "one channel of a layer's output, seen as a grey picture",
}
Gap = Annotated[int, typer.Option(min=1, max=8, help="Pixels apart.")]
Count = Annotated[int, typer.Option(min=2, max=256, help="Channels to time.")]
IMAGE = torch.tensor([[1.0, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0],
                      [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]])  # fmt: skip
KERNEL = torch.tensor([[1.0, 2, 1], [0, 1, 0], [2, 1, 0]])
NAMES = "image", "0 mean", "1 red - blue", "2 right - left", "3 below - above"
NAMES += "4 random", "5 random", "0 to 2 as RGB"


# ---- By hand ----------------------------------------------------------------
def conv2d(
    images: Tensor, weight: Tensor, stride: int, padding: int, dilation: int
) -> Tensor:
    """images (N, C, H, W), weight (how many filters, C, kh, kw)."""
    images = F.pad(images, [padding] * 4)
    kh, kw = weight.shape[-2:]
    tops = range(0, images.size(2) - dilation * (kh - 1), stride)
    lefts = range(0, images.size(3) - dilation * (kw - 1), stride)
    assert tops and lefts, "the kernels span more than the images"
    out = images.new_zeros(len(images), len(weight), len(tops), len(lefts))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            patch = images[..., top::dilation, left::dilation][..., :kh, :kw]
            for o, kernels in enumerate(weight):  # filter o, (C, kh, kw)
                out[:, o, i, j] = (patch * kernels).sum((1, 2, 3))
    return out


class Conv2d(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, size: int, **options: int
    ) -> None:
        super().__init__()
        self.groups = options.pop("groups", 1)
        self.steps = {"stride": 1, "padding": 0, "dilation": 1} | options
        shape = out_channels, in_channels // self.groups, size, size
        edge = (shape[1] * size * size) ** -0.5  # as nn.Conv2d has it
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-edge, edge))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-edge, edge))

    def forward(self, images: Tensor) -> Tensor:
        parts = images.chunk(self.groups, dim=1)  # equal parts of C
        pairs = zip(parts, self.weight.chunk(self.groups), strict=True)
        out = [conv2d(part, some, **self.steps) for part, some in pairs]
        return torch.cat(out, dim=1) + self.bias[:, None, None]


# ---- Mistakes ---------------------------------------------------------------
def wrong_album() -> tuple:
    """64 images have become 128 pictures. Each takes three feature maps of one
    image for red, green and blue, like the picture "0 to 2 as RGB": its colours
    say which filter answered, not what colour anything had."""
    maps = nn.Conv2d(3, 6, 3)(torch.rand(64, 3, 32, 32))  # (64, 6, 30, 30)
    return tuple(maps.reshape(-1, 3, 30, 30).shape)


def right_album() -> tuple:
    """a grey picture for each map: six of one channel, from image 0. Bring them
    to 0 to 1, then a SummaryWriter's add_images takes them."""
    maps = nn.Conv2d(3, 6, 3)(torch.rand(64, 3, 32, 32))
    return tuple(maps[0].reshape(6, 1, 30, 30).shape)


# ---- The lesson -------------------------------------------------------------
def show_dilation(dilation: int) -> None:
    console.section("Dilation, small enough for paper")
    console.matrices({"IMAGE": IMAGE, "KERNEL": KERNEL})
    console.ask("KERNEL, dilation 2, lies on IMAGE: which sum does it make?")
    console.say(
        "Dilation 2: KERNEL lies on rows 0, 2, 4 and columns 0, 2, 4. 1*1 + 0*2"
        " + 1*1 + 1*0 + 1*1 + 0*0 + 2*2 + 0*1 + 1*0 = 7. It spans 2*(3-1) + 1 ="
        " 5 pixels. Stops in a row: 1 + (size + 2*padding - span) // stride. If"
        " stride is 1, padding = (span - 1) / 2, if whole, keeps the size."
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


def show_groups() -> None:
    console.section("Groups: channels that stay apart")
    image = torch.stack([IMAGE[:3, :3], IMAGE[2:, 2:]])[None]  # (1, 2, 3, 3)
    weight = torch.stack([KERNEL, KERNEL.T])[:, None]  # (2, 1, 3, 3)
    first = {"channel 0": image[0, 0], "kernel 0": KERNEL}
    console.matrices(first | {"channel 1": image[0, 1], "kernel 1": KERNEL.T})
    console.code(Conv2d)
    console.ask("In conv-demo they gave 10 + 9 = 19. And with groups=2?")
    layer = Conv2d(2, 2, 3, groups=2)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(2)})
    ours, theirs = layer(image).detach(), F.conv2d(image, weight, groups=2)
    console.say(
        "In conv-demo kernels 0 and 1 were one filter, weight (1, 2, 3, 3). "
        "With groups=2 they are two filters, weight (2, 1, 3, 3), and with bias"
        f" 0 here the outputs stay apart: {ours.flatten().tolist()}"
    )
    console.agrees("Conv2d(2, 2, 3, groups=2) = F.conv2d", ours, theirs, 0)


def check_layers() -> None:
    ours, theirs, names = {}, {}, ("stride", "padding", "dilation", "groups")
    for seed in range(50):
        torch.manual_seed(seed)
        a, b, size, *numbers = torch.randint(1, 4, (7,)).tolist()
        options = dict(zip(names, numbers, strict=True))
        ends = a * options["groups"], b * options["groups"]
        images = torch.randn(2, ends[0], 6, 7)
        for layer, maps in ((Conv2d, ours), (nn.Conv2d, theirs)):
            torch.manual_seed(seed)  # so both start with the same numbers
            maps[seed] = layer(*ends, size, **options)(images).detach()
    console.agrees("50 layers = nn.Conv2d, seeded alike", ours, theirs, 1e-5)


def feature_maps(image: Tensor, dilation: int) -> dict[str, Tensor]:
    """Pictures from 0 to 1: an image (3, H, W) and its feature maps."""
    torch.manual_seed(0)  # the same random filters in each call
    layer = nn.Conv2d(3, 6, 3, padding=dilation, dilation=dilation, bias=False)
    weight = layer.requires_grad_(False).weight  # nothing is learned here
    weight[0] = 1 / 27
    weight[1] = 0
    weight[1, :, 1, 1] = torch.tensor([1.0, 0, -1])  # red, green, blue
    weight[2] = torch.tensor([-1.0, 0, 1])  # every row of its kernels
    weight[3] = weight[2].mT  # rows become columns
    maps = layer(image)  # (6, H, W)
    maps -= maps.amin((1, 2), keepdim=True)
    maps /= maps.amax((1, 2), keepdim=True).clamp(min=1e-6)
    return dict(zip(NAMES, [image, *maps, maps[:3]], strict=True))


def show_maps(picture: Tensor, dilation: int) -> None:
    console.section(f"Six feature maps of a picture, dilation {dilation}")
    console.ask("One of the maps 0 to 3 shows red brightly. Which?")
    console.pictures(feature_maps(picture, dilation), "maps", width=18)
    console.say(
        "Black is a map's least number, white its largest. We set filters 0 to "
        "3: the mean of all 27 numbers; red minus blue in the middle, so red is"
        " bright; right column minus left; lower row minus upper. 4 and 5 are "
        "random, as all are before training. A step in brightness makes a band "
        f"of {2 * dilation} pixels in 2 or 3."
    )


def three_layers(c: int) -> dict[str, nn.Module]:
    ordinary = nn.Conv2d(c, c, kernel_size=3, padding=1)
    depthwise = nn.Conv2d(c, c, kernel_size=3, padding=1, groups=c)
    pair = nn.Sequential(depthwise, nn.Conv2d(c, c, 1))  # one, then the other
    return {"ordinary": ordinary, "pair": pair, "depthwise": depthwise}


def show_savings(channels: int) -> None:
    c, images = channels, torch.randn(1, channels, 32, 32)
    console.section(f"What depthwise saves: {c} channels of 32 x 32")
    console.code(three_layers)
    console.say(
        "Depthwise mixes no channels; kernels of 1 x 1 behind it do. (So it is "
        "17 times in mobilenet_v2 of torchvision.) Weights: ordinary "
        f"{c}*{c}*3*3 = {9 * c * c:,}, depthwise {c}*3*3 = {9 * c:,}, pair {c}*"
        f"3*3 + {c}*{c} = {9 * c + c * c:,}. Each makes a product at each of "
        f"32*32 stops, so depthwise makes 1/{c} of ordinary's."
    )
    console.ask("How many times as fast as ordinary is depthwise?")
    layers = three_layers(c).items()
    console.speeds({n: lambda f=f: f(images) for n, f in layers})
    console.say(
        f"If only products took time, it would be {c} times. To know what is "
        "faster, time it where it will run. (Try --channels 8 and 256. Whether "
        "a pair learns as well as an ordinary layer was not measured.)"
    )


def run(
    dilation: Gap = 2,
    channels: Count = 64,
    image: Picture = None,
    logdir: LogDir = LOGS,
) -> None:
    """Build nn.Conv2d by hand, with dilation and groups."""
    picture = own_or_photograph(image, "flower").permute(2, 0, 1) / 255
    console.opening(__doc__)
    console.words(WORDS)
    show_dilation(dilation)
    show_groups()
    check_layers()
    show_maps(shrunk(picture, 28), dilation)
    show_savings(channels)
    console.mistakes(__name__)
    console.remember(
        "import torch; images = torch.rand(64, 3, 32, 32)",
        "layer = torch.nn.Conv2d(3, 6, 3)  # 6*3*3*3 + 6 = 168 parameters",
        "maps = layer(images)  # (64, 6, 30, 30): 1+(32+2*0-3)//1 = 30 rows",
    )
    console.say(
        "Exercise: a number behind three layers nn.Conv2d(1, 1, 3, dilation=2) "
        "spans 13 x 13 pixels. On how many does it depend? And with dilation 1,"
        " 2, 4, of 15 x 15? Check: image = torch.ones(1, 1, 13, 13, requires_"
        "grad=True), the layers, backward(), image.grad.count_nonzero()."
    )
    maps = feature_maps(shrunk(picture, 160), dilation)
    with board("conv-layer-demo", logdir, "IMAGES: maps") as writer:
        writer.add_figure("maps", pictures_figure(maps, f"Dilation {dilation}"))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
