"""Activations and their gradients by hand.

An activation bends numbers: ReLU(x) = max(x, 0). It stands between linear
layers. Training needs its slope f'(x) too, to send gradients back through:

    gradient at the input = f'(input) * gradient at the output

Then three claims about activations, each measured instead of repeated.

    python cli.py activation-demo --seeds 10
"""

from functools import partial
from itertools import pairwise
from math import pi, sqrt
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets.embedded import digits
from shared.figures import curves_figure, sketch, spread_figure
from shared.options import LOGS, Epochs, LogDir, Seed
from shared.seeds import over_seeds, spread

WORDS = {
    "activation": "a function between two layers; it bends straight lines",
    "slope": "how much f(x) grows when x grows a little: f'(x)",
    "norm": "the size of many numbers: the root of their squares' sum",
    "seed": "where random numbers begin; the same seed, the same numbers",
}
WORKED_CASE = torch.tensor([[1, -0.5], [-1, 3]])
Batch = tuple[Tensor, Tensor]  # images (N, 64) in [0, 1], labels (N,)
RATES = (0.05, 0.2)  # the learning rates to compare


# ---- By hand ----------------------------------------------------------------
def relu(x: Tensor) -> tuple[Tensor, Tensor]:
    """Value and slope, as in all five. At x = 0 is a corner: PyTorch takes 0 as its slope."""
    return x.clamp(min=0), torch.zeros_like(x).where(x <= 0, 1)


def leaky_relu(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.where(x > 0, 0.01 * x), torch.ones_like(x).where(x > 0, 0.01)


def sigmoid(x: Tensor) -> tuple[Tensor, Tensor]:
    """1 / (1 + exp(-x)), which is also exp(x) / (1 + exp(x))."""
    # exp(100) is inf in float32, and inf / inf is nan. exp(-|x|) is at most 1: no overflow.
    small = torch.exp(-x.abs())
    value = torch.where(x >= 0, 1, small) / (1 + small)
    return value, value * (1 - value)


def tanh(x: Tensor) -> tuple[Tensor, Tensor]:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x)), both divided by the larger term."""
    small = torch.expm1(-2 * x.abs())  # exp(-2|x|) - 1, exact near x = 0 too
    value = x.sign() * -small / (2 + small)
    return value, 1 - value**2


def gelu(x: Tensor) -> tuple[Tensor, Tensor]:
    """x times the share of a normal distribution that lies below x; its slope: product rule."""
    share = torch.erfc(-x / sqrt(2)) / 2  # from 0 to 1
    bell = torch.exp(-x * x / 2) / sqrt(2 * pi)  # the slope of share
    return x * share, share + x * bell


BY_HAND = {
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "Sigmoid": sigmoid,
    "Tanh": tanh,
    "GELU": gelu,
}
NAMES = [
    "Identity",
    *BY_HAND,
]  # as in torch.nn; Identity changes nothing: no activation


def network(activation: str, widths: list[int]) -> nn.Sequential:
    """Linear layers from width to width, with an activation between each two of them."""
    modules = []
    for inputs, outputs in pairwise(widths):
        modules += [nn.Linear(inputs, outputs), getattr(nn, activation)()]
    return nn.Sequential(*modules[:-1])


def multiply_out(model: nn.Sequential) -> tuple[Tensor, Tensor]:
    """One weight (out, in) and one bias (out,) in place of all linear layers."""
    weight, bias = model[0].weight, model[0].bias
    for linear in model[2::2]:  # every second module is an activation
        weight, bias = (
            linear.weight @ weight,
            linear.weight @ bias + linear.bias,
        )
    return weight, bias


def gradient_norms(activation: str, seed: int, batch: Batch) -> Tensor:
    """The gradient's size at the output of each of ten linear layers."""
    torch.manual_seed(seed)
    model = network(activation, [64] * 10 + [10])
    hidden, labels = batch
    outputs = []
    for module in model:
        hidden = module(hidden)
        if isinstance(module, nn.Linear):
            outputs.append(hidden)
    loss = F.cross_entropy(hidden, labels)
    return torch.stack([g.norm() for g in torch.autograd.grad(loss, outputs)])


def accuracy_after(
    activation: str,
    seed: int,
    train: Batch,
    test: Batch,
    lr: float,
    epochs: int,
) -> Tensor:
    """Train three linear layers; return how many percent of the test images they name right."""
    torch.manual_seed(seed)
    model = network(activation, [64, 64, 64, 10])
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    images, labels = train
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(100):
            optimizer.zero_grad()
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return 100 * (model(test[0]).argmax(1) == test[1]).double().mean()


def verdicts(accuracies: dict[str, Tensor]) -> dict[str, str]:
    """Who has the highest median, whose best run reaches the leader's worst, and who is behind."""
    leader = max(accuracies, key=lambda name: accuracies[name].quantile(0.5))
    worst = accuracies[leader].min()
    said = {
        name: "overlaps" if a.max() >= worst else "behind"
        for name, a in accuracies.items()
    }
    return said | {leader: "highest median"}


# ---- Mistakes ---------------------------------------------------------------
def wrong_inplace() -> list[float]:
    """An inplace ReLU behind Tanh."""
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    hidden = torch.tanh(x)
    F.relu(hidden, inplace=True).sum().backward()
    return x.grad.tolist()


def right_inplace() -> list[float]:
    """Tanh's slope is 1 - tanh(x)²: backward needs hidden, but inplace has overwritten it."""
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    hidden = torch.tanh(x)
    F.relu(hidden).sum().backward()
    return x.grad.tolist()


# ---- The lesson -------------------------------------------------------------
def show_functions() -> None:
    console.section("A case small enough for paper")
    value, slope = relu(WORKED_CASE)
    console.matrices(
        {"x": WORKED_CASE, "ReLU(x)": value, "slope at x": slope}, digits=1
    )
    console.section("Five functions and their slopes, by hand")
    x = torch.linspace(-3, 3, 25)
    sketches = {
        f"{name}, slope orange": sketch(f(x)) for name, f in BY_HAND.items()
    }
    console.pictures(sketches, "figures/function and figures/slope", width=25)
    x = torch.tensor([-3, -1, -0.5, 0, 0.5, 1, 3])
    for which, title in enumerate(("f(x)", "f'(x)")):
        rows = [
            (name, *(f"{v:.3f}" for v in f(x)[which]))
            for name, f in BY_HAND.items()
        ]
        console.table([title, *(f"x = {value:g}" for value in x)], rows)
    x = torch.tensor([-1e4, *range(-10, 11), 1e4], requires_grad=True)
    for name, by_hand in BY_HAND.items():
        theirs = getattr(nn, name)()(x)
        (slope,) = torch.autograd.grad(theirs.sum(), x)
        ours, theirs = torch.stack(by_hand(x)), torch.stack([theirs, slope])
        console.agrees(
            f"{name} = nn.{name}, slope = autograd's", ours, theirs, 1e-5
        )


def show_one_layer(images: Tensor, seed: int) -> None:
    console.section(
        "Claim 1: are three layers without activation only one layer?"
    )
    for name in ("Identity", "ReLU"):
        torch.manual_seed(seed)
        model = network(name, [64, 32, 32, 10])
        weight, bias = multiply_out(model)
        three, one = model(images), images @ weight.T + bias
        if name == "Identity":  # returns its input: no activation
            console.agrees(
                "no activation: three layers = one matrix", three, one, 1e-5
            )
        else:
            off = (three - one).abs().max() / three.abs().max()
            console.say(
                f"With {name} between them it is off, by {off:.0%} of the largest output."
            )


def show_gradients(batch: Batch, seeds: range) -> dict[str, Tensor]:
    """Print how large the gradients are; return each activation's median curve (10,)."""
    console.section(
        "Claim 2: do Sigmoid's gradients vanish on the way back to layer 1?"
    )
    console.say(
        "The gradient's size (norm) at layers' outputs, before training. 1e-03 is 0.001."
    )
    console.say(
        f"Medians of {len(seeds)} seeds, in brackets the smallest and the largest."
    )
    norms = over_seeds(partial(gradient_norms, batch=batch), NAMES, seeds)
    curves = {
        name: values.quantile(0.5, dim=0) for name, values in norms.items()
    }
    shares = {
        name: values[:, 0] / values[:, 9] for name, values in norms.items()
    }
    console.table(
        ["", "layer 10", "layer 7", "layer 4", "layer 1", "layer 1 / layer 10"],
        [
            (
                name,
                *(f"{curve[layer]:.0e}" for layer in (9, 6, 3, 0)),
                spread(shares[name], ".0e"),
            )
            for name, curve in curves.items()
        ],
    )
    arrives = {name: values.quantile(0.5) for name, values in shares.items()}
    straight, bent = (arrives[name] for name in ("Identity", "Sigmoid"))
    console.say(
        f"Identity's slope is 1, and still only {straight:.0e} arrives: each weight matrix\n"
        "on the way shrinks the gradient too. Sigmoid's slope is at most 0.25, and nine\n"
        f"of them make 0.25 ** 9 = {0.25**9:.0e}; with the weights, {bent:.0e} arrives."
    )
    console.say(
        "Not shown: what other first weights would do, and what happens in training."
    )
    return curves


def show_accuracies(
    train: Batch, test: Batch, seeds: range, epochs: int
) -> dict[str, Figure]:
    """Print the accuracies by activation and learning rate; return a figure for each rate."""
    console.section("Claim 3: which activation learns best?")
    figures = {}
    for lr in RATES:
        train_once = partial(
            accuracy_after, train=train, test=test, lr=lr, epochs=epochs
        )
        accuracies = over_seeds(train_once, NAMES, seeds)
        verdict = verdicts(accuracies)
        rows = [
            (name, spread(a, ".1f"), verdict[name])
            for name, a in accuracies.items()
        ]
        console.table([f"learning rate {lr}", "right, in %", "verdict"], rows)
        figures[f"accuracy at lr {lr}"] = spread_figure(
            accuracies, "right, in %"
        )
    console.say(
        "overlaps: its best run reaches the leader's worst; chance may decide the order."
    )
    console.say(
        f"Not shown: which activation is best. This is one small network, one small set of\n"
        f"digits, {epochs} epochs, {len(seeds)} seeds. Do both tables agree? Does --epochs 40?"
    )
    return figures


def run(
    seeds: Annotated[
        int, typer.Option(min=5, help="How many seeds, counted up from --seed.")
    ] = 5,
    epochs: Epochs = 5,
    seed: Seed = 0,
    logdir: LogDir = LOGS,
) -> None:
    """Write five activations, then measure three claims."""
    torch.set_num_threads(1)  # tensors this small gain nothing from more
    console.opening(__doc__)
    console.words(WORDS)
    show_functions()
    train, test = (
        (part.images.flatten(1) / 255, part.labels) for part in digits()
    )
    show_one_layer(test[0], seed)
    norms = show_gradients(test, range(seed, seed + seeds))
    figures = show_accuracies(train, test, range(seed, seed + seeds), epochs)
    console.mistake(
        wrong_inplace, right_inplace, raises=RuntimeError, shows="gradient: {}"
    )
    console.remember(
        "Linear layers with no activation between them are one linear layer.",
        "On its way back a gradient is multiplied by every slope that it passes.",
        "Compare over several seeds and learning rates, and show the spread.",
    )
    layers, x = torch.arange(1, 11), torch.linspace(-3, 3, 201)
    figures["gradient norm"] = curves_figure(
        layers, norms, "layer", "gradient norm", "log"
    )
    for which, title in enumerate(("function", "slope")):
        curves = {name: by_hand(x)[which] for name, by_hand in BY_HAND.items()}
        figures[title] = curves_figure(x, curves, "x", title)
    look = "IMAGES: functions, slopes, gradient norms, accuracies; SCALARS: gradient norms"
    with board("activation-demo", logdir, look) as writer:
        for title, figure in figures.items():
            writer.add_figure(f"figures/{title}", figure)
        for name, curve in norms.items():
            for layer, norm in enumerate(curve, 1):
                writer.add_scalar(f"gradient norm/{name}", norm, layer)
    console.next_lesson("save-load-demo")


if __name__ == "__main__":
    typer.run(run)
