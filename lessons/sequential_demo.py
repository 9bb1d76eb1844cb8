"""A network from layers.

nn.Sequential holds layers in a row. The first one gets the input, each
other one what the one before gives; the last one gives the output:
    nn.Sequential(f, g, h)(x)  is  h(g(f(x))), for layers f, g, h
So each layer must take the shape that the one before it gives.

    python cli.py sequential-demo --step
"""

import warnings
from typing import Annotated

import torch
import typer
from torch import Tensor, nn

from shared import console
from shared.board import board
from shared.datasets.embedded import photo_digits
from shared.models import layer_table
from shared.options import LOGS, LogDir

WORDS = {
    "Sequential": "layers in a row; each gets what the one before gives",
    "lazy layer": "a layer that counts its inputs in the first tensor it gets",
}
WEIGHT, BIAS = Tensor([[3, 1]]), Tensor([[4]])
Size = Annotated[int, typer.Option(min=8, max=256, help="Side, in pixels.")]
LOOK = "GRAPHS. Double-click the box Sequential; the input is below"


# ---- By hand ----------------------------------------------------------------
class Sequential(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers  # a tuple: nn.Module finds no layers in it
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)  # known now, as "0", "1", ...

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class NamedNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, kernel_size=5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, kernel_size=5, padding=2)
        self.pool = nn.MaxPool2d(2)  # no parameters: one will do
        self.linear1 = nn.Linear(1024, 64)
        self.linear2 = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:  # (N, 3, 32, 32)
        x = self.pool(self.conv1(images))  # (N, 32, 16, 16)
        x = self.pool(self.conv2(x))  # (N, 32, 8, 8)
        x = self.pool(self.conv3(x))  # (N, 64, 4, 4)
        x = x.flatten(1)  # (N, 1024)
        return self.linear2(self.linear1(x))  # (N, 10)


def cifar_net(act: type[nn.Module] = nn.Identity) -> nn.Sequential:
    """act() makes an activation. Identity only fills its place: x -> x."""
    return nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=5, padding=2), act(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, kernel_size=5, padding=2), act(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=5, padding=2), act(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 64), act(), nn.Linear(64, 10),
    )  # fmt: skip


def size_after(size: int, kernel: int, stride: int, padding: int) -> int:
    """How long a side is after Conv2d or MaxPool2d: one pixel a stop."""
    return 1 + (size + 2 * padding - kernel) // stride


def dry_run(layers: nn.Module, size: int) -> int:
    """How many numbers does a picture become? Send one of zeros through."""
    with torch.no_grad():  # nobody needs its gradients
        return layers(torch.zeros(1, 3, size, size)).size(1)


# ---- Mistakes ---------------------------------------------------------------
def wrong_pictures(pooled: Tensor) -> torch.Size:
    """64 * 8 * 8 is from before the last pooling. mat1 is what came to Linear,
    12 pictures of 1024 numbers. mat2 is weight.T, with a row for each of 4096
    inputs. The two numbers in the middle must be equal."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64 * 8 * 8, 64))
    return layers(pooled).shape  # 12 pictures, from place 8: (12, 64, 4, 4)


def tempting_pictures(pooled: Tensor) -> torch.Size:
    """make rows of 4096 numbers, as many as there will be: -1."""
    return nn.Linear(64 * 8 * 8, 64)(pooled.reshape(-1, 4096)).shape


def right_pictures(pooled: Tensor) -> torch.Size:
    """take 1024, the second number of mat1. (Above came 12 * 1024 / 4096 = 3
    rows, of four pictures each.) It is the length of a row. If Flatten were
    missing, that would be 4, and nn.Linear(4, 64) would give no error."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(1024, 64))
    return layers(pooled).shape


def wrong_last_two(x: Tensor, f: nn.Linear, g: nn.Linear) -> str:
    """Two Linear do what one can. On paper, for f(x) = 2 * x + 1 and g(y) = 3 *
    y + 4: g(f(x)) is 6 * x + 7, with weight 3 * 2 and bias g(1). (Outputs reach
    0.1, so that difference is rounding.)"""
    two = nn.Sequential(f, g)(x)  # x from place 9, f at 10, g at 12
    one = x @ (g.weight @ f.weight).T + g(f.bias)
    return f"two and one differ by up to {(two - one).abs().max():.1g}"


def right_last_two(x: Tensor, f: nn.Linear, g: nn.Linear) -> str:
    """put an activation between them, as cifar_net(nn.ReLU) does. On paper,
    -2, -1 and 0 then give 4, 4 and 7: no one weight and bias do that. (0.04
    beside 0.1 is no rounding.) activation-demo's two rings need it."""
    two = nn.Sequential(f, nn.ReLU(), g)(x)
    one = x @ (g.weight @ f.weight).T + g(f.bias)
    return f"two and one differ by up to {(two - one).abs().max():.1g}"


# ---- The lesson -------------------------------------------------------------
def show_paper_case() -> None:
    console.section("A case small enough for paper: ReLU, then Linear")
    console.code(Sequential)
    x, row = torch.tensor([[-2.0, 5]]), (nn.ReLU(), nn.Linear(2, 1))
    row[1].load_state_dict({"weight": WEIGHT, "bias": BIAS[0]})
    console.matrices({"x": x, "weight of Linear": WEIGHT, "its bias": BIAS})
    console.ask("What comes out of ReLU, and then of Linear?")
    console.say("Out of ReLU: 0 and 5. Out of Linear: 3 * 0 + 1 * 5 + 4 = 9.")
    ours, theirs = Sequential(*row), nn.Sequential(*row)
    console.matrices({"net(x)": ours(x)})
    console.agrees("Sequential = nn.Sequential", ours(x), theirs(x), 0)
    names = [", ".join(net.state_dict()) for net in (ours, theirs)]
    console.say(f"Parameters: {names[0]}. In PyTorch: {names[1]}. The names")
    console.say("begin with Linear's place, 1. ReLU, at 0, has no parameters.")


def show_both(images: Tensor) -> nn.Sequential:
    console.section("One network, written twice")
    console.code(NamedNet, cifar_net)
    console.ask("Same seed, same pictures: are the outputs the same?")
    torch.manual_seed(0)
    named = NamedNet()
    torch.manual_seed(0)
    net = cifar_net()
    ours = {"named": named(images), "by hand": Sequential(*net)(images)}
    theirs = dict.fromkeys(ours, net(images))
    console.agrees("NamedNet and our Sequential = cifar_net", ours, theirs, 0)
    console.say(
        "Yes. First weights are random, drawn when a layer is made, here in "
        "the same order. (With linear1 made first, the outputs differ.) Only "
        "names differ: conv1.weight is 0.weight in cifar_net. For x + layer(x),"
        " which reads x twice, write a forward. train-cifar's "
        "CifarNet(activation='relu') is cifar_net(nn.ReLU)."
    )
    return net


def show_layers(net: nn.Sequential, images: Tensor) -> None:
    console.section("Layer by layer; the products are for one picture")
    console.ask("Which layer has most parameters? Which multiplies most?")
    shown = []
    for place, row in enumerate(layer_table(net, images)):
        weight = getattr(net[place], "weight", torch.empty(0))
        products = weight.numel() * torch.Size(row[1][2:]).numel()  # stops
        if row[0] != "Identity":
            shown.append((place, *row, f"{products:,}"))
    console.table(["place", "layer", "shape", "parameters", "products"], shown)
    console.say(
        f"{sum(p.numel() for p in net.parameters()):,} parameters. Linear, at "
        "10, has most: 64 * (1024 + 1), the 1 for a bias. But Conv2d, at 3, "
        "multiplies most, a hundred times as often as Linear: each of 32 * 32 "
        "* 5 * 5 weights at 16 * 16 stops. (Time was not measured.) Left out "
        "is Identity, at 1, 4, 7 and 11. A ReLU in its place leaves all names "
        "as they are. writer.add_graph(net, images) draws the network (not "
        "autograd's graph): a box for each layer but Identity, and arrows with "
        "the shapes between them. A warning about torch.jit.trace is no harm."
    )


def show_inputs(features: nn.Sequential, size: int) -> None:
    console.section(f"Pictures of {size} x {size}: how many inputs for Linear?")
    console.code(size_after, dry_run)
    console.ask("How long is a side after each pooling? How many inputs?")
    sides = [size]
    for step in [(5, 1, 2), (2, 2, 0)] * 3:  # kernel, stride, padding
        sides.append(size_after(sides[-1], *step))
    side = sides[-1]
    lazy = nn.Sequential(*features, nn.LazyLinear(64))
    rows = layer_table(lazy, torch.zeros(1, 3, size, size))
    console.say(
        f"Conv2d: 1 + ({size} + 2 * 2 - 5) // 1 = {sides[1]}. MaxPool2d: 1 + "
        f"({size} + 2 * 0 - 2) // 2 = {sides[2]}. After the three poolings: "
        f"{', '.join(map(str, sides[2::2]))}. With 64 channels: 64 * {side} * "
        f"{side} = {64 * side * side:,} inputs. dry_run(net[:10], {size}), "
        f"with places 0 to 9, finds {dry_run(features, size):,}. (Sides from "
        f"{8 * side} to {8 * side + 7} all end as {side}: // rounds down. "
        "cifar_net's 1,024 are for sides from 32 to 39.) nn.LazyLinear(64) at "
        "place 10 waits for a first picture. Until then, counting its "
        f"parameters is an error. From then on it is {lazy[10]}."
    )
    theirs = [row[1][3] for row in rows[:9] if row[0] != "Identity"]
    theirs = Tensor([*theirs, dry_run(features, size), lazy[10].in_features])
    ours = Tensor([*sides[1:], 64 * side * side, 64 * side * side])
    console.agrees("sides, inputs = PyTorch's own", ours, theirs, 0)


def run(size: Size = 28, logdir: LogDir = LOGS) -> None:
    """Build one network in two ways; see each shape."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    images = photo_digits()[0].images[:64] / 255
    net = show_both(images)
    show_layers(net, images)
    show_inputs(net[:10], size)  # places 0 to 9: up to Flatten
    given = {"x": net[:10](images), "f": net[10], "g": net[12]}
    given["pooled"] = net[:9](images[:12])
    console.mistakes(__name__, RuntimeError, **given)
    console.remember(
        "from torch import nn, zeros; conv = nn.Conv2d(3, 8, 3, padding=1)",
        "net = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())",
        "net(zeros(1, 3, 16, 16)).shape  # (1, 512): append nn.Linear(512, 10)",
    )
    console.say("Exercise: cifar_net without its last Conv2d and pooling.")
    console.say("Guess: more parameters, or fewer? Count them with")
    console.say("sum(p.numel() for p in net.parameters()); it ends in 850.")
    warnings.filterwarnings("ignore", ".*torch.jit.trace")  # no harm
    with board("sequential-demo", logdir, LOOK) as writer:
        writer.add_graph(net, images)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
