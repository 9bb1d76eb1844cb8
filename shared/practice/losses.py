"""What loss-demo and its cases compare losses and backpropagation with."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console
from shared.datasets.embedded import digits
from shared.figures import pictures_figure
from shared.seeds import SEEDS, shares_right, spread

Pair = tuple[Tensor, Tensor]
CLASSES = {
    "l1_loss": nn.L1Loss,
    "mse_loss": nn.MSELoss,
    "huber_loss": nn.HuberLoss,
    "cross_entropy": nn.CrossEntropyLoss,
}
REDUCTIONS = ("none", "sum", "mean")
PARAMETERS = ("w1", "b1", "w2", "b2")


def by_pytorch(
    name: str, output: Tensor, target: Tensor, reduction: str = "mean"
) -> Pair:
    """A loss of torch.nn, and the gradients that autograd finds."""
    leaf = output.clone().requires_grad_()
    loss = CLASSES[name](reduction=reduction)(leaf, target)
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


def some_pairs(name: str, count: int) -> Iterator[Pair]:
    """Random outputs and targets that the loss of this name takes."""
    for _ in range(count):
        shape = torch.randint(1, 7, (2,)).tolist()
        if name == "cross_entropy":
            yield 3 * torch.randn(shape), torch.randint(shape[1], shape[:1])
        else:
            yield 3 * torch.randn(shape), 3 * torch.randn(shape)


def table(
    by_hand: list[Callable[..., Pair]], output: Tensor, target: Tensor
) -> None:
    """A row for each loss: every reduction, and the mean's gradients."""
    rows = []
    for loss in by_hand:
        ways = [loss(output, target, how)[0] for how in REDUCTIONS]
        cells = map(_text, [*ways, loss(output, target)[1]])
        rows.append([loss.__name__, *cells])
    heads = ["", *REDUCTIONS, "gradients of the mean"]
    console.table(heads, rows)


def _text(numbers: Tensor) -> str:
    return ", ".join(f"{round(n, 4):g}" for n in numbers.view(-1).tolist())


def columns(heads: str, tensors: tuple[Tensor, ...]) -> None:
    """Of each tensor (1, classes) a column of six digits, a row a class."""
    cells = [[f"{n:.6g}" for n in column[0]] for column in tensors]
    rows = [(place, *row) for place, row in enumerate(zip(*cells, strict=True))]
    console.table(["class", *heads.split()], rows)


def check(by_hand: Callable[..., Pair], *paper: Tensor, name: str = "") -> None:
    """Compare losses and gradients with torch.nn's, in every reduction.

    paper is an output and its target; 100 random pairs follow. name is the
    loss's, where the function has another.
    """
    name = name or by_hand.__name__
    torch.manual_seed(0)
    pairs = [paper] if paper else []
    pairs += some_pairs(name, 100)
    ours, theirs = {}, {}
    for i, (pair, reduction) in enumerate(product(pairs, REDUCTIONS)):
        ours |= _named(i, by_hand(*pair, reduction))
        theirs |= _named(i, by_pytorch(name, *pair, reduction))
    what = f"{name} = nn.{CLASSES[name].__name__}"
    console.agrees(what, ours, theirs, 1e-5)


def check_large(cross_entropy: Callable[..., Pair]) -> None:
    """check a function of any name, with logits that are too much for float32.

    Powers of e become infinite in the first row. In the second, less 200, the
    label's becomes 0, and -ln(0) is infinite.
    """
    large = torch.tensor([[100.0, 110, 120], [0, 200, 0]]), torch.tensor([1, 0])
    check(cross_entropy, *large, name="cross_entropy")


def _named(place: int, pair: Pair) -> dict[str, Tensor]:
    return {f"loss {place}": pair[0], f"gradient {place}": pair[1]}


def backprop_by_autograd(
    images: Tensor, labels: Tensor, *parameters: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of two layers, and the gradients of all values on the way."""
    w1, b1, w2, b2 = (p.detach().clone().requires_grad_() for p in parameters)
    z = F.linear(images, w1, b1)
    h = z.relu()
    logits = F.linear(h, w2, b2)
    loss = F.cross_entropy(logits, labels)
    values = {"logits": logits, "w2": w2, "b2": b2, "h": h, "z": z}
    values |= {"w1": w1, "b1": b1}
    gradients = torch.autograd.grad(loss, [*values.values()])
    return loss.detach(), dict(zip(values, gradients, strict=True))


def some_network(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Images, labels, w1, b1, w2 and b2 of random sizes from 1 to 6."""
    n, inputs, hidden, classes = torch.randint(1, 7, (4,)).tolist()
    shapes = (hidden, inputs), (hidden,), (classes, hidden), (classes,)
    images = torch.randn(n, inputs, dtype=dtype)
    labels = torch.randint(classes, (n,))
    return [images, labels, *(torch.randn(s, dtype=dtype) for s in shapes)]


def check_backprop(
    backprop: Callable[..., tuple[Tensor, dict[str, Tensor]]],
    paper: tuple[Tensor, ...],
) -> None:
    """Compare the loss and all gradients with autograd's."""
    torch.manual_seed(0)
    ours, theirs = {}, {}
    for i, network in enumerate([paper, *(some_network() for _ in range(100))]):
        for found, way in (ours, backprop), (theirs, backprop_by_autograd):
            loss, back = way(*network)
            found[f"loss {i}"] = loss
            found |= {f"{name} {i}": back[name] for name in sorted(back)}
    console.agrees("backprop = autograd, and 100 random", ours, theirs, 1e-5)
    gradcheck(backprop)  # raises an error if they don't agree
    console.say(
        "✓ torch.autograd.gradcheck nudges weights: the loss moves as back says"
    )


def gradcheck(backprop: Callable[..., Any], count: int = 10) -> bool:
    """Do its gradients agree with what small changes do to the loss?

    torch.autograd.gradcheck changes each number of each parameter, in double
    precision. Raises its GradcheckError where they don't agree.
    """

    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Tensor:
            loss, ctx.back = backprop(*tensors)
            return loss

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple:
            found = (upstream * ctx.back[name] for name in PARAMETERS)
            return None, None, *found  # none for images and labels

    torch.manual_seed(0)
    for _ in range(count):
        images, labels, *parameters = some_network(torch.float64)
        leaves = [parameter.requires_grad_() for parameter in parameters]
        assert torch.autograd.gradcheck(ByHand.apply, (images, labels, *leaves))
    return True


def digit_sets() -> list[Pair]:
    """Rows of pixels (N, 64) and labels (N,), to learn from and to test."""
    return [(s.images.flatten(1).double() / 255, s.labels) for s in digits()]


def network(seed: int) -> nn.Sequential:
    """Two layers for digits (N, 64) to (N, 10), from the seed's start.

    In float64: after 100 steps two ways of rounding are still near each other.
    """
    torch.manual_seed(seed)
    layers = nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    return nn.Sequential(*layers).double()


def learned(
    train: Pair,
    seed: int,
    *end: nn.Module,
    steps: int = 100,
    lr: float = 0.5,
) -> nn.Sequential:
    """network, with end behind it, after steps with all images and autograd."""
    net = network(seed).extend(end)
    for _ in range(steps):
        loss = F.cross_entropy(net(train[0]), train[1])
        gradients = torch.autograd.grad(loss, [*net.parameters()])
        for parameter, gradient in zip(
            net.parameters(), gradients, strict=True
        ):
            parameter.data -= lr * gradient
    return net


def read_right(train: Pair, test: Pair, *end: nn.Module) -> str:
    """The share of the test images whose class is found, over five seeds."""
    nets = [learned(train, seed, *end) for seed in SEEDS]
    return spread(shares_right(nets, test), ".0%") + " read right (5 seeds)"


def show_worst(
    cross_entropy: Callable[..., Pair],
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
) -> Figure:
    """Show the three digits with the largest losses; return a figure."""
    each = cross_entropy(net(images), labels, "none")[0]
    answers = net(images).argmax(1)
    named = {
        f"{labels[i]} read as {answers[i]}, loss {each[i]:.2f}": images[i]
        for i in each.topk(3).indices
    }
    named = {name: image.view(8, 8) for name, image in named.items()}
    console.say(
        f"{len(each)} new digits: mean loss {each.mean():.2f}. The largest, "
        f'found with "none": {"; ".join(named)}. The {labels[each.argmax()]} '
        f"had p = {(-each.max()).exp():.3f}."
    )
    console.pictures(named, "worst", width=22)
    return pictures_figure(named, "The largest losses: label, answer, loss", 3)
