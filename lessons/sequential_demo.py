"""A network from layers.

nn.Sequential holds layers in a row. It gives its input to the first, and
what comes out of each to the next; the last one's output is its own:
    nn.Sequential(f, g, h)(x)  is  h(g(f(x)))
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
    "lazy layer": "a layer that takes its input width from the first tensor",
}
WEIGHT, BIAS = Tensor([[3, 1]]), Tensor([[4]])
Size = Annotated[int, typer.Option(min=8, max=256, help="Side, in pixels.")]
LOOK = "GRAPHS. Double-click the box Sequential, read from below"


# ---- By hand ----------------------------------------------------------------
class Sequential(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.row = layers  # a tuple: nn.Module finds no layers in it
        for index, layer in enumerate(layers):
            self.add_module(str(index), layer)  # known now, as "0", "1", ...

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.row:
            x = layer(x)
        return x


class CifarNet(nn.Module):
    """Pictures (N, 3, 32, 32) in, ten numbers for each out: (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(32, 32, kernel_size=5, padding=2)
        self.conv3 = nn.Conv2d(32, 64, kernel_size=5, padding=2)
        self.pool = nn.MaxPool2d(2)  # no parameters: one will do
        self.linear1 = nn.Linear(1024, 64)
        self.linear2 = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.conv1(images))  # (N, 32, 16, 16)
        x = self.pool(self.conv2(x))  # (N, 32, 8, 8)
        x = self.pool(self.conv3(x))  # (N, 64, 4, 4)
        x = x.flatten(1)  # (N, 1024)
        return self.linear2(self.linear1(x))


def cifar_net(act: type[nn.Module] = nn.Identity) -> nn.Sequential:
    """act() makes an activation. Identity returns its input as it is."""
    return nn.Sequential(
        nn.Conv2d(3, 32, kernel_size=5, padding=2), act(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, kernel_size=5, padding=2), act(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, kernel_size=5, padding=2), act(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 64), act(), nn.Linear(64, 10),
    )  # fmt: skip


def size_after(size: int, kernel: int, stride: int, padding: int) -> int:
    """The stops of a kernel along a side of size pixels."""
    return 1 + (size + 2 * padding - kernel) // stride


def dry_run(layers: nn.Module, size: int) -> int:
    """How many numbers of a picture come out? Send zeros through."""
    with torch.no_grad():  # nobody needs its gradients
        return layers(torch.zeros(1, 3, size, size)).size(1)


# ---- Mistakes ---------------------------------------------------------------
def wrong_width(pooled: Tensor) -> torch.Size:
    """The width was guessed, with one pooling forgotten. mat1 is what came to
    Linear, 64 pictures of 1024 numbers; mat2 is its weight, turned: 4096 inputs
    by 64 outputs. The two numbers in the middle must agree."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64 * 8 * 8, 64))
    return layers(pooled).shape  # pooled, from place 8: (64, 64, 4, 4)


def tempting_width(pooled: Tensor) -> torch.Size:
    """lay it out in rows of 4096; for -1 PyTorch puts as many as there are. No
    error, but 64 * 1024 / 4096 = 16 rows: four pictures share each."""
    return nn.Linear(64 * 8 * 8, 64)(pooled.reshape(-1, 4096)).shape


def right_width(pooled: Tensor) -> torch.Size:
    """take the width that the error names, the second number of mat1, or ask a
    dry run; nn.LazyLinear(64) does it by itself."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(1024, 64))
    return layers(pooled).shape


def wrong_last_two() -> str:
    """Two Linear do what one could. Weights Wf, Wg, biases bf, bg: they give
    Wg (Wf x + bf) + bg = (Wg Wf) x + (Wg bf + bg), as one Linear(1024, 10) of
    10,250 parameters does. f and g have 66,250. cifar_net() ends so, too."""
    x, f, g = torch.rand(64, 1024), nn.Linear(1024, 64), nn.Linear(64, 10)
    two = nn.Sequential(f, g)(x)
    one = x @ (g.weight @ f.weight).T + g(f.bias)
    return f"two and one differ by at most {(two - one).abs().max():.4f}"


def right_last_two() -> str:
    """put an activation between them, as cifar_net(nn.ReLU) does. Where f gives
    less than 0, g gets 0, and their product Wg Wf can't know that."""
    x, f, g = torch.rand(64, 1024), nn.Linear(1024, 64), nn.Linear(64, 10)
    two = nn.Sequential(f, nn.ReLU(), g)(x)
    one = x @ (g.weight @ f.weight).T + g(f.bias)
    return f"two and one differ by at most {(two - one).abs().max():.4f}"


# ---- The lesson -------------------------------------------------------------
def show_paper_case() -> None:
    console.section("A case small enough for paper: ReLU, then Linear")
    x, linear = torch.tensor([[-2.0, 5]]), nn.Linear(2, 1)
    linear.load_state_dict({"weight": WEIGHT, "bias": BIAS[0]})
    console.matrices({"x": x, "weight of Linear": WEIGHT, "its bias": BIAS})
    console.ask("What comes out of ReLU, and then of Linear?")
    console.say("Out of ReLU: 0 and 5. Out of Linear: 3 * 0 + 1 * 5 + 4 = 9.")
    console.code(Sequential)
    ours = Sequential(nn.ReLU(), linear)
    theirs = nn.Sequential(nn.ReLU(), linear)
    console.matrices({"net(x)": ours(x)})
    console.agrees("Sequential = nn.Sequential", ours(x), theirs(x), 0)
    for who, net in {"By hand": ours, "In PyTorch": theirs}.items():
        console.say(f"{who} the parameters are {', '.join(net.state_dict())}.")
    console.say("1 is the place of Linear, counted from 0. ReLU has none.")


def show_both(images: Tensor) -> nn.Sequential:
    console.section("One network, written twice")
    console.code(CifarNet, cifar_net)
    console.ask("Same seed, same pictures: are the outputs the same?")
    torch.manual_seed(0)
    named = CifarNet()
    torch.manual_seed(0)
    net = cifar_net()
    console.say(f"{tuple(images.shape)} in, {tuple(net(images).shape)} out:")
    console.say("for each of 64 pictures ten numbers, one for each class.")
    ours = {"named": named(images), "by hand": Sequential(*net)(images)}
    theirs = dict.fromkeys(ours, net(images))
    console.agrees("CifarNet and our Sequential = cifar_net", ours, theirs, 0)
    console.say(
        "First weights are random, drawn when a layer is made, here in the "
        "same order; with linear1 made first they would differ. The names do: "
        "conv1.weight is 0.weight, linear2.bias is 12.bias. Sequential only "
        "goes straight on: to use a tensor twice, write a forward. train-cifar "
        "trains cifar_net(nn.ReLU), there called CifarNet(activation='relu')."
    )
    return net


def show_layers(net: nn.Sequential, images: Tensor) -> None:
    console.section("Layer by layer")
    console.ask("Which layer has most parameters? Which most to multiply?")
    rows = enumerate(layer_table(net, images))
    shown = [(i, *row) for i, row in rows if row[0] != "Identity"]
    console.table(["place", "layer", "shape after it", "parameters"], shown)
    console.say(
        f"{sum(p.numel() for p in net.parameters()):,} parameters. Linear 10 "
        "has the most: 64 * (1024 + 1) = 65,600, the 1 for a bias. But Conv2d "
        "3 multiplies most: each of its 32 * 32 * 5 * 5 = 25,600 weights at "
        "16 * 16 stops, 6,553,600 products a picture. Linear 10 needs 64 * "
        "1024 = 65,536, a hundredth. (Which takes most time is not measured.)"
    )
    console.say("writer.add_graph(net, images) draws it in TensorBoard. It may")
    console.say(
        "warn you of torch.jit.trace, which it uses; the graph is right."
    )


def show_width(features: nn.Sequential, size: int) -> None:
    console.section(f"Pictures of {size} x {size}: how wide must Linear be?")
    console.code(size_after, dry_run)
    console.ask("How long is a side after each pooling? How many numbers?")
    sides = [size]
    for step in [(5, 1, 2), (2, 2, 0)] * 3:  # kernel, stride, padding
        sides.append(size_after(sides[-1], *step))
    side, picture = sides[-1], torch.zeros(1, 3, size, size)
    console.say(
        f"Conv2d: 1 + ({size} + 2 * 2 - 5) // 1 = {sides[1]}. MaxPool2d: 1 + "
        f"({size} + 2 * 0 - 2) // 2 = {sides[2]}. And so on: {sides[3:]}. With "
        f"64 channels: 64 * {side} * {side} = {64 * side * side:,} numbers."
    )
    lazy = nn.Sequential(*features, nn.LazyLinear(64), nn.Linear(64, 10))
    console.say(f"Lazy layer: nn.LazyLinear(64), weight {lazy[10].weight!s}.")
    rows = layer_table(lazy, picture)
    console.say(
        f"After a first picture: shape {tuple(lazy[10].weight.shape)}. Only "
        "then is it drawn, so a seed may give it other weights than nn.Linear. "
        f"(Sides from {8 * side} to {8 * side + 7} all end as {side}.)"
    )
    theirs = [row[1][3] for row in rows[:9] if row[0] != "Identity"]
    theirs += [dry_run(features, size), lazy[10].in_features]
    ours = Tensor([*sides[1:], 64 * side * side, 64 * side * side])
    console.agrees("sides, width = dry_run = lazy's", ours, Tensor(theirs), 0)


def run(size: Size = 28, logdir: LogDir = LOGS) -> None:
    """Build one network in two ways; see each shape."""
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    images = photo_digits()[0].images[:64] / 255
    net = show_both(images)
    show_layers(net, images)
    show_width(net[:10], size)  # places 0 to 9: up to Flatten
    console.mistakes(__name__, raises=RuntimeError, pooled=net[:9](images))
    console.remember(
        "from torch import nn, zeros; conv = nn.Conv2d(3, 8, 3, padding=1)",
        "net = nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())",
        "net(zeros(1, 3, 32, 32)).shape  # (1, 2048): now nn.Linear(2048, 10)",
    )
    console.say("Exercise: cifar_net without its third Conv2d and pooling. Has")
    console.say("it more parameters, or fewer? Yours is right with 159,850.")
    warnings.filterwarnings("ignore", ".*torch.jit.trace")  # it is old
    with board("sequential-demo", logdir, LOOK) as writer:
        writer.add_graph(net, images)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
