"""Networks that debug-demo and its cases try the checks on.

Each is broken in one place, as its docstring says. It comes with the learning
rate, the images and the labels that it is trained with.
"""

import math
import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Optimizer
from torch.utils.tensorboard import SummaryWriter

from shared import console, figures
from shared.datasets.embedded import digits
from shared.seeds import SEEDS

Patient = tuple[nn.Sequential, float, Tensor, Tensor]
Break = Callable[[Tensor, Tensor], Patient]
Check = Callable[..., Tensor]


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x.sqrt(), 0)


class Keeps(nn.Module):
    """The exercise's: forward never calls act."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Linear(64, 32), nn.ReLU()
        self.last = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.flatten(1)))


def network(
    *last: nn.Module, act: type[nn.Module] = nn.ReLU, hidden: int = 2
) -> nn.Sequential:
    """(N, 1, 8, 8) to logits (N, 10), with so many layers of 32 between."""
    layers = [nn.Flatten(), nn.Linear(64, 32), act()]
    for _ in range(hidden - 1):
        layers += [nn.Linear(32, 32), act()]
    return nn.Sequential(*layers, nn.Linear(32, 10), *last)


def healthy(images: Tensor, labels: Tensor) -> Patient:
    return network(), 0.1, images, labels


def softmax(images: Tensor, labels: Tensor) -> Patient:
    """Cross-entropy wants logits, and has a softmax inside. After another
    it gets numbers from 0 to 1: at best a 1 and nine 0, where the loss is
    -ln(e / (e + 9)) = ln(2.718 + 9) - 1 = 1.46, never 0. Take it away."""
    return network(nn.Softmax(1)), 0.1, images, labels


def shuffled(images: Tensor, labels: Tensor) -> Patient:
    """Images and labels were shuffled apart. Nonsense, too, can be learned
    by heart: that check finds nothing. Look at the lower row of batch in
    TensorBoard. At home: draw one randperm, and index both with it."""
    apart = torch.randperm(len(labels))
    return network(), 0.1, images, labels[apart]


def masked_root(images: Tensor, labels: Tensor) -> Patient:
    """Root is torch.where(x > 0, x.sqrt(), 0). Where x < 0 it takes the 0;
    the walk back goes through sqrt all the same, and 0 * nan is nan. Now
    weights are nan, and x; but nan > 0 is False, so Root gives 0 and the
    loss stays a number. Mistake 2 mends it."""
    return network(act=Root), 0.1, images, labels


def sigmoids(images: Tensor, labels: Tensor) -> Patient:
    """Six sigmoids in a row. The derivative of each is at most 0.25, and
    the weights are small: going back, the gradient shrinks layer by layer.
    Two layers with ReLU are the healthy network. With two sigmoids no check
    complains, and yet it needs 20 epochs, not 5: silence is no proof."""
    return network(act=nn.Sigmoid, hidden=6), 0.1, images, labels


def tiny_rate(images: Tensor, labels: Tensor) -> Patient:
    """The learning rate is 0.00001. by_heart has an Adam of its own, so it
    finds nothing. Multiply the rate by 0.001 / update: now it learns."""
    return network(), 0.00001, images, labels


def unscaled(images: Tensor, labels: Tensor) -> Patient:
    """Pixels are 0 to 255: divide by 255. Now logits are large, the first loss
    is far above guessing, and steps are larger than the weights. After them
    all images get the same logits, so the loss stays at guessing."""
    return network(), 0.1, 255 * images, labels


def one_pixel(images: Tensor, labels: Tensor) -> Patient:
    """MaxPool2d(8) pools all of an 8 x 8 image: its brightest pixel is left
    to tell ten digits by. MaxPool2d(2) was meant, and nn.Linear(16, 32)."""
    layers = nn.MaxPool2d(8), nn.Flatten(), nn.Linear(1, 32)
    return nn.Sequential(*layers, *network()[2:]), 0.1, images, labels


CASES: list[Break] = [
    softmax,
    shuffled,
    masked_root,
    sigmoids,
    tiny_rate,
    unscaled,
    one_pixel,
]


def learn(
    model: nn.Module, lr: float, images: Tensor, labels: Tensor
) -> list[float]:
    """Train for five epochs; the mean loss of each."""
    optimizer = SGD(model.parameters(), lr, momentum=0.9)
    means = []
    for _ in range(5):
        losses = []
        for some in torch.randperm(len(images)).split(64)[:-1]:
            loss = F.cross_entropy(model(images[some]), labels[some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        means.append(torch.stack(losses).mean().item())
    return means


PAPER = {
    "image": torch.tensor([[6.0, 8]]),
    "weight": torch.tensor([[2.0, 2], [2, 2]]),
}


def paper_case() -> tuple[nn.Linear, Tensor, Tensor]:
    """A layer without bias, an image of two pixels, and its label."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = PAPER["weight"].clone()
    return layer, PAPER["image"], torch.tensor([0])


def by_formula(layer: nn.Linear, images: Tensor, labels: Tensor) -> Tensor:
    """First loss / ln C, the gradient's norm, SGD's update at lr 0.001.

    The gradient of cross-entropy is the mean of (softmax - one-hot) * image.
    """
    chances = layer(images).detach().softmax(1)  # (N, C)
    one_hot = F.one_hot(labels, chances.size(1))
    losses = -(chances * one_hot).sum(1).log() / math.log(chances.size(1))
    norm = ((chances - one_hot).T @ images / len(images)).norm()
    update = 0.001 * norm / layer.weight.detach().norm()
    return torch.stack([losses.mean(), norm, update])


def compare(
    start: Check, gradients: Check, updates: Check
) -> tuple[Tensor, Tensor]:
    """Of the paper case and 99 random layers: three checks, and the formula."""
    cases = [paper_case()]
    for _ in range(99):
        batch = torch.randn(7, 5), torch.randint(3, (7,))
        cases.append((nn.Linear(5, 3), *batch))
    ours = [
        torch.cat(
            [
                start(layer, *batch)[None],
                gradients(layer, *batch),
                updates(layer, SGD(layer.parameters(), 0.001), *batch),
            ]
        )
        for layer, *batch in cases
    ]
    return torch.stack(ours), torch.stack([by_formula(*c) for c in cases])


def digit_set() -> tuple[Tensor, Tensor]:
    """1,500 digits (N, 1, 8, 8) in [0, 1], and their labels."""
    # born() lets PyTorch warn of each nan, with the line that made it
    warnings.filterwarnings("ignore", "Error detected in")
    train, _ = digits()
    return train.images / 255, train.labels


def admit(
    broken: Break, train: tuple[Tensor, Tensor], some: Tensor | None = None
) -> tuple[nn.Sequential, Optimizer, Tensor, Tensor]:
    """A network, its optimizer, and some images and labels, else the first."""
    model, lr, images, labels = broken(*train)
    some = torch.arange(64) if some is None else some
    return model, SGD(model.parameters(), lr), images[some], labels[some]


def show_batch(images: Tensor, labels: Tensor) -> None:
    seen = {f"{i}: label {labels[i]}": images[i, 0] for i in range(6)}
    console.pictures(seen, "batch", width=8)


def show_network(
    seen: dict[str, Tensor], net: nn.Module, train: tuple[Tensor, Tensor]
) -> None:
    """What outputs() saw in each layer: kind, shape, dtype. How it learns."""
    kinds = {name: type(m).__name__ for name, m in net.named_modules() if name}
    shapes = [f"{kind} {tuple(seen[n].shape)}" for n, kind in kinds.items()]
    (dtype,) = {str(out.dtype) for out in seen.values()}
    console.say(
        f"outputs() sees {dtype} in {', '.join(shapes)}. As it should be: one "
        "dtype, 64 images all the way, and nothing narrower than 10 classes."
    )
    show_learning(healthy, train)
    console.say(
        "ln 10 = 2.30 is guessing. A case returns network, lr, images, labels "
        "(a Patient). network() makes the one above; network(layer) adds a "
        "layer; act= sets the activations, hidden= how many."
    )


def show_learning(broken: Break, train: tuple[Tensor, Tensor]) -> None:
    losses = " ".join(f"{mean:.2f}" for mean in learn(*broken(*train)))
    console.say(f"Trained for five epochs, the mean loss of each: {losses}")


def show_ranges(
    found: dict[str, float], ranges: dict[str, tuple[float, float, str]]
) -> None:
    rows = [
        (name, f"{found[name]:.2g}", f"{low:g} to {high:g}", what)
        for name, (low, high, what) in ranges.items()
    ]
    console.say(
        "twins() finds for each image the one whose pixels are nearest, and "
        "asks whether both have the same label."
    )
    console.ask("With random labels, for which share would that be so?")
    console.table(["check", "found", "healthy", "its number"], rows)
    console.say(
        "With random labels one in C has it by luck: 0.1. On photos of "
        "CIFAR-10 twins may complain for nothing: 0.06 to 0.41 with right "
        "labels; there use your eyes. To learn a batch by heart is to overfit "
        "on purpose. The ranges are rules of thumb."
    )


def show_found(found: dict[str, float], bad: list[str], anomaly: str) -> None:
    """The checks' numbers; the bad ones get a mark."""
    marked = [f"{v:.2g}{' !' * (name in bad)}" for name, v in found.items()]
    console.table([*found], [marked])
    if anomaly:
        mode = "torch.autograd.set_detect_anomaly(True)"
        console.say(
            f"born(), by {mode}: {anomaly} That is sqrt on the walk back, its "
            "outputs counted from 0. At home a warning names the line, too."
        )


def show_counts(
    complaints: Callable[[nn.Module, Optimizer, Tensor, Tensor], list[str]],
    checks: Iterable[str],
    train: tuple[Tensor, Tensor],
) -> None:
    """Of five networks of each kind: how often does each check complain?

    Each seed draws a network, and a batch of 64.
    """
    console.section("Five networks of each kind: who complains?")
    console.ask("Does one check find all seven? Which one finds the most?")
    rows = []
    for broken in (healthy, *CASES):
        counts = dict.fromkeys(checks, 0)
        for seed in SEEDS:
            torch.manual_seed(seed)
            some = torch.randperm(len(train[0]))[:64]
            for check in complaints(*admit(broken, train, some)):
                counts[check] += 1
        rows.append([broken.__name__, *(n or "-" for n in counts.values())])
    console.table(["", *checks], rows)
    console.say(
        "5: all five, -: none. by_heart finds four faults of seven, more than "
        "any other check, but not the shuffled labels: only twins finds those. "
        "Run examine() before training: after it, start complains, as the "
        "loss is far below guessing."
    )


def log_figures(
    writer: SummaryWriter,
    by_heart: Callable[[nn.Module, Tensor, Tensor], Tensor],
    train: tuple[Tensor, Tensor],
) -> None:
    """Eight images with right labels and shuffled ones; losses by heart."""
    torch.manual_seed(0)
    seen, curves = {}, {}
    for broken in (healthy, shuffled):
        _, _, images, labels = broken(*train)
        for i in range(8):
            seen[f"{broken.__name__} {i}:\nlabel {labels[i]}"] = images[i, 0]
    title = "The batch as the network sees it, with its labels"
    writer.add_figure("batch", figures.pictures_figure(seen, title, 8))
    for broken in (healthy, shuffled, softmax, sigmoids, masked_root):
        model, _, images, labels = broken(*train)
        losses = by_heart(model, images[:64], labels[:64])
        curves[broken.__name__] = losses
    words = "step", "loss on the one batch"
    steps = torch.arange(1, len(losses) + 1)
    figure = figures.curves_figure(steps, curves, *words, "log")
    figure.axes[0].axhline(0.1, color="grey", linestyle=":")
    figure.suptitle("Learned by heart (below the line): nonsense can be, too")
    writer.add_figure("by_heart", figure)
