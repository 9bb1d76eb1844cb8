"""Activations and their gradients by hand.

An activation bends numbers: ReLU(x) = max(x, 0). It stands between linear
layers. Training needs its slope f'(x) too, to send gradients back through:

    gradient at the input = f'(input) * gradient at the output

Then three claims about activations, each measured instead of repeated.

    python cli.py activation-demo --seeds 10
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise, product
from math import pi, sqrt
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.board import board
from shared.datasets import digits
from shared.options import LOGS, Epochs, LogDir, Seed

WORKED_CASE = torch.tensor([[1, -0.5], [-1, 3]])
Batch = tuple[Tensor, Tensor]  # images (N, 64) in [0, 1], labels (N,)
RATES = (0.05, 0.2)  # the learning rates to compare


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


BY_HAND = {"ReLU": relu, "LeakyReLU": leaky_relu, "Sigmoid": sigmoid, "Tanh": tanh, "GELU": gelu}
NAMES = ["Identity", *BY_HAND]  # as in torch.nn; Identity changes nothing: no activation


def network(activation: str, widths: list[int], he: bool = False) -> nn.Sequential:
    """Linear layers from width to width, with an activation between each two of them."""
    modules = []
    for inputs, outputs in pairwise(widths):
        modules += [nn.Linear(inputs, outputs), getattr(nn, activation)()]
        if he:  # He et al. (2015): larger first weights, made for ReLU
            nn.init.kaiming_normal_(modules[-2].weight, nonlinearity="relu")
    return nn.Sequential(*modules[:-1])


def multiply_out(model: nn.Sequential) -> tuple[Tensor, Tensor]:
    """One weight (out, in) and one bias (out,) in place of all linear layers."""
    weight, bias = model[0].weight, model[0].bias
    for linear in model[2::2]:  # every second module is an activation
        weight, bias = linear.weight @ weight, linear.weight @ bias + linear.bias
    return weight, bias


def gradient_norms(activation: str, seed: int, batch: Batch, he: bool = False) -> Tensor:
    """The gradient's size at each of ten linear layers before training, first layer first."""
    torch.manual_seed(seed)
    model = network(activation, [64] * 10 + [10], he)
    images, labels = batch
    F.cross_entropy(model(images), labels).backward()
    return torch.stack([linear.weight.grad.norm() for linear in model[::2]])  # (10,)


def accuracy_after(
    activation: str, seed: int, train: Batch, test: Batch, lr: float, epochs: int
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


def over_seeds(measure: Callable[[str, int], Tensor], seeds: range) -> dict[str, Tensor]:
    """measure(activation, seed) for every activation and seed: each activation's (seeds, ...)."""
    results = {name: [] for name in NAMES}
    with console.progress("runs") as bar:
        for name, seed in bar.track(list(product(NAMES, seeds)), description="measuring"):
            results[name].append(measure(name, seed))
    return {name: torch.stack(values) for name, values in results.items()}


def spread(values: Tensor, form: str) -> str:
    """The median, then from the smallest to the largest."""
    median, low, high = values.quantile(0.5), values.min(), values.max()
    return f"{median:{form}} ({low:{form}} to {high:{form}})"


def verdicts(accuracies: dict[str, Tensor]) -> dict[str, str]:
    """Who leads by the median; whose best run is as good as a leader's worst; who is behind."""
    medians = {name: values.quantile(0.5) for name, values in accuracies.items()}
    leaders = [name for name in medians if medians[name] == max(medians.values())]
    worst = min(accuracies[name].min() for name in leaders)
    reach = {name: "overlaps" for name in accuracies if accuracies[name].max() >= worst}
    return dict.fromkeys(accuracies, "behind") | reach | dict.fromkeys(leaders, "highest median")


def overwritten() -> list[float]:
    """An inplace ReLU behind Tanh"""
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    hidden = torch.tanh(x)
    F.relu(hidden, inplace=True).sum().backward()
    return x.grad.tolist()


def kept() -> list[float]:
    """Tanh's slope is 1 - tanh(x)²: backward needs hidden, but inplace has overwritten it."""
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    hidden = torch.tanh(x)
    F.relu(hidden).sum().backward()
    return x.grad.tolist()


def curves() -> Figure:
    """Draw every function, and beside it every slope."""
    x = torch.linspace(-3, 3, 201)
    figure = Figure(figsize=(10, 4), layout="constrained")
    for which, axes in enumerate(figure.subplots(1, 2)):
        for name, by_hand in BY_HAND.items():
            axes.plot(x, by_hand(x)[which], label=name)
        axes.set(xlabel="x", ylabel=("f(x)", "slope f'(x)")[which])
        axes.legend()
    return figure


def show_functions() -> None:
    console.section("A case small enough for paper")
    value, slope = relu(WORKED_CASE)
    console.matrices({"x": WORKED_CASE, "ReLU(x)": value, "slope at x": slope}, digits=1)
    console.section("Five functions and their slopes, by hand")
    x = torch.tensor([-3, -1, -0.5, 0, 0.5, 1, 3])
    for which, title in enumerate(("f(x)", "f'(x)")):
        rows = [(name, *(f"{v:.3f}" for v in f(x)[which])) for name, f in BY_HAND.items()]
        console.table([title, *(f"x = {value:g}" for value in x)], rows)
    x = torch.tensor([-1e4, *range(-10, 11), 1e4], requires_grad=True)
    for name, by_hand in BY_HAND.items():
        theirs = getattr(nn, name)()(x)
        (slope,) = torch.autograd.grad(theirs.sum(), x)
        ours, theirs = torch.stack(by_hand(x)), torch.stack([theirs, slope])
        console.agrees(f"{name} = nn.{name}, slope = autograd's", ours, theirs, 1e-5)


def show_one_layer(images: Tensor, seed: int) -> None:
    console.section("Claim 1: are three layers without activation only one layer?")
    rows = []
    for name in NAMES:
        torch.manual_seed(seed)
        model = network(name, [64, 32, 32, 10])
        weight, bias = multiply_out(model)
        three, one = model(images), images @ weight.T + bias
        rows.append((name, f"{(three - one).abs().max():.7f}", f"{three.abs().max():.7f}"))
        if name == "Identity":  # it returns its input: no activation
            console.agrees("Identity, no activation: three layers = one matrix", three, one, 1e-5)
    console.table(["between the layers", "largest difference", "largest output"], rows)


def show_gradients(batch: Batch, seeds: range) -> dict[str, Tensor]:
    """Print how large the gradients are; return each median curve (10,) under its tag."""
    console.section("Claim 2: do Sigmoid's gradients vanish on the way back to layer 1?")
    console.say("The size (norm) of each layer's gradient before training; 1e-03 means 0.001.")
    console.say(f"Medians of {len(seeds)} seeds, in brackets the smallest and the largest.\n")
    scalars = {}
    for he, start in enumerate(("PyTorch's first weights", "Larger ones: nn.init.kaiming_normal_")):
        norms = over_seeds(partial(gradient_norms, batch=batch, he=bool(he)), seeds)
        medians = {name: values.quantile(0.5, dim=0) for name, values in norms.items()}
        shares = {name: values[:, 0] / values[:, 9] for name, values in norms.items()}
        rows = []
        for name, curve in medians.items():
            scalars[f"gradient-norm{'-he' * he}/{name}"] = curve
            some = [f"{curve[layer - 1]:.0e}" for layer in (10, 7, 4, 1)]
            rows.append((name, *some, spread(shares[name], ".0e")))
        columns = ["layer 10", "layer 7", "layer 4", "layer 1", "layer 1 / layer 10"]
        console.table(["", *columns], rows, title=start)
        least = min(shares, key=lambda name: shares[name].quantile(0.5))
        console.say(f"The smallest share reaches layer 1 with {least}.\n")
    console.say("Not shown: what happens in training. Do first weights matter? Compare the two.")
    return scalars


def show_accuracies(train: Batch, test: Batch, seeds: range, epochs: int) -> dict[str, Tensor]:
    """Print the accuracies by activation and learning rate; return them (seeds,) by tag."""
    console.section("Claim 3: which activation learns best?")
    scalars = {}
    for lr in RATES:
        train_once = partial(accuracy_after, train=train, test=test, lr=lr, epochs=epochs)
        accuracies = over_seeds(train_once, seeds)
        verdict = verdicts(accuracies)
        rows = [(name, spread(a, ".1f"), verdict[name]) for name, a in accuracies.items()]
        console.table([f"learning rate {lr}", "right, in %", "verdict"], rows)
        scalars |= {f"accuracy-lr-{lr}/{name}": values for name, values in accuracies.items()}
    console.say("overlaps: its best run reaches a leader's worst, so chance may decide the order.")
    console.say(
        f"Not shown: which activation is best. This is one small network, one small set of\n"
        f"digits, {epochs} epochs, {len(seeds)} seeds. Do both tables agree? Does --epochs 40?"
    )
    return scalars


def run(
    seeds: Annotated[int, typer.Option(min=5, help="How many seeds, counted up from --seed.")] = 5,
    epochs: Epochs = 5,
    seed: Seed = 0,
    logdir: LogDir = LOGS,
) -> None:
    """Write five activations by hand, then measure three claims about them."""
    torch.set_num_threads(1)  # tensors this small gain nothing from more
    console.opening(__doc__)
    show_functions()
    train, test = ((part.images.flatten(1) / 255, part.labels) for part in digits())
    show_one_layer(test[0], seed)
    scalars = show_gradients(test, range(seed, seed + seeds))
    scalars |= show_accuracies(train, test, range(seed, seed + seeds), epochs)
    console.mistake(overwritten, kept, raises=RuntimeError, shows="gradient: {}")
    console.remember(
        "Linear layers with no activation between them are one linear layer.",
        "On its way back a gradient is multiplied by every slope that it passes.",
        "Compare over several seeds and learning rates, and show the spread.",
    )
    look = "IMAGES: the five curves\nSCALARS: gradient-norm by layer, accuracy by run"
    with board("activation-demo", logdir, look) as writer:
        writer.add_figure("figures/curves", curves())
        for tag, values in scalars.items():
            for step, value in enumerate(values, 1):
                writer.add_scalar(tag, value, step)
    console.next_lesson("save-load-demo")


if __name__ == "__main__":
    typer.run(run)
