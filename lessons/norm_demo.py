"""Batch norm and dropout by hand.

In a batch (N, C) each of the C columns has a mean, and a variance: the mean
of the squared distances from that mean. Batch norm makes them 0 and 1:
    out = weight * (x - mean) / sqrt(variance + 0.00001) + bias
In use an image may come alone: then it takes a mean and a variance that it
has kept. train() and eval() say which, and switch dropout on and off, too.

    python cli.py norm-demo --step
"""

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console, figures, seeds
from shared.board import board
from shared.datasets.embedded import digits
from shared.options import LOGS, LearningRate, LogDir
from shared.practice.norms import network, states
from shared.seeds import SEEDS, shares_right, spread

WORDS = {
    "batch norm": "a layer that brings columns to mean 0 and variance 1",
    "running statistics": "the mean and the variance that batch norm keeps",
    "dropout": "in training: zeros at random, and the rest made larger",
    "train / eval": "a module's two modes, for learning and for use",
}
Net = nn.Module
COLUMN = torch.tensor([[1.0], [2], [3], [4]])  # (4, 1)


# ---- By hand ----------------------------------------------------------------
class BatchNorm(nn.Module):
    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()  # the state_dict will hold the five below
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))  # learned
        self.bias = nn.Parameter(torch.zeros(channels))  # learned
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)  # (N, C) stays, (N, C, H, W) to (N, H, W, C)
        mean, var = self.running_mean, self.running_var
        if self.training:
            columns = x.flatten(0, -2)  # (n, C): n is N, or N * H * W
            assert len(columns) > 1  # a number alone is its own mean
            mean, var = columns.mean(0), columns.var(0, correction=0)
            m, new = self.momentum, columns.detach()  # no gradients here
            self.running_mean = (1 - m) * self.running_mean + m * new.mean(0)
            self.running_var = (1 - m) * self.running_var + m * new.var(0)
            self.num_batches_tracked += 1
        out = self.weight * (x - mean) / (var + 1e-5).sqrt() + self.bias
        return out.movedim(-1, 1)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Each number becomes 0 with chance p, where 0 <= p < 1."""
    kept = torch.empty_like(x).bernoulli_(1 - p)  # 1 with chance 1 - p
    return kept / (1 - p) * x if training else x


# ---- Mistakes ---------------------------------------------------------------
def wrong_pairs(train: tuple, test: tuple) -> dict[int, str]:
    """Nobody called eval(). Read right, 2 images at once and 64, shuffled. Of a
    pair little is left; 64 have nearly the mean and variance of all."""
    nets = [learn(network(True, seed), 0.1, train) for seed in SEEDS]
    return {n: spread(shares_right(nets, test, n), ".0%") for n in (2, 64)}


def right_pairs(train: tuple, test: tuple) -> dict[int, str]:
    """call eval() before use: no image's output depends on the others then."""
    nets = [learn(network(True, seed), 0.1, train).eval() for seed in SEEDS]
    return {n: spread(shares_right(nets, test, n), ".0%") for n in (2, 64)}


def wrong_look(train: tuple, test: tuple) -> str:
    """Nobody called train() again. Running statistics stood still while weights
    moved: at lr 0.5 this broke all five networks, at lr 0.1 none."""
    nets = [learn(network(True, s), 0.5, train, epochs=1) for s in SEEDS]
    shares_right([net.eval() for net in nets], test)  # how good by now?
    nets = [learn(net, 0.5, train, epochs=4).eval() for net in nets]
    return spread(shares_right(nets, test), ".0%")


def right_look(train: tuple, test: tuple) -> str:
    """call train() at the start of every epoch, not once before the first."""
    nets = [learn(network(True, s), 0.5, train, epochs=1) for s in SEEDS]
    shares_right([net.eval() for net in nets], test)
    nets = [learn(net.train(), 0.5, train, epochs=4).eval() for net in nets]
    return spread(shares_right(nets, test), ".0%")


def wrong_last(x: Tensor) -> list[int]:
    """The last batch is one image: 129 = 2 * 64 + 1. It is its own mean, and
    the running variance would divide by 1 - 1."""
    return [len(nn.BatchNorm1d(64)(some)) for some in x[:129].split(64)]


def right_last(x: Tensor) -> list[int]:
    """leave it out, as DataLoader(drop_last=True) does. (Put in twice, it still
    is its own mean. nn.BatchNorm2d takes one image, if it has H * W > 1.)"""
    return [len(nn.BatchNorm1d(64)(some)) for some in x[:129].split(64)[:-1]]


def wrong_frozen(train: tuple, test: tuple) -> str:
    """The running statistics moved. So many of the old images are read right.
    Each batch in train mode moves these buffers; no gradient is needed."""
    nets = [learn(network(True, seed), 0.1, train) for seed in SEEDS]
    for net in nets:
        net.requires_grad_(False)  # frozen: its parameters get no gradient
        _ = [net(2 * images - 1) for images in train[0].split(64)]  # new ones
    return spread(shares_right([net.eval() for net in nets], test), ".0%")


def right_frozen(train: tuple, test: tuple) -> str:
    """call eval() on what is frozen, after each train() of all the network."""
    nets = [learn(network(True, seed), 0.1, train) for seed in SEEDS]
    for net in nets:
        net.requires_grad_(False).eval()
        _ = [net(2 * images - 1) for images in train[0].split(64)]
    return spread(shares_right(nets, test), ".0%")


# ---- The lesson -------------------------------------------------------------
def learn(net: Net, lr: float, train: tuple, epochs: int = 5) -> Net:
    for _ in range(epochs):
        for some in torch.randperm(1500).split(64)[:-1]:  # 23 batches of 64
            loss = F.cross_entropy(net(train[0][some]), train[1][some])
            net.zero_grad()
            loss.backward()  # gradients of the loss: how wrong is it?
            for parameter in net.parameters():
                parameter.data -= lr * parameter.grad  # data: the numbers
    return net


def show_paper_case() -> None:
    console.section("A case small enough for paper: one column")
    console.code(BatchNorm)
    console.ask("1, 2, 3, 4 come in. Mean and variance? What comes out?")
    one, other = (states(k(1), [COLUMN]) for k in (BatchNorm, nn.BatchNorm1d))
    outputs = {"train mode": one["train 0"], "then eval": one["eval 0"]}
    tens = {"10 * COLUMN, train": BatchNorm(1)(10 * COLUMN).detach()}
    console.matrices({"COLUMN": COLUMN} | outputs | tens, 2)
    console.say(
        "Mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 4 = 1.25, its root "
        "1.118: 1 becomes (1 - 2.5) / 1.118 = -1.34. The running mean was 0. "
        "It is now 0.9 * 0 + 0.1 * 2.5 = 0.25; 0.1 is momentum. The running "
        "variance was 1. With 5 / (n - 1) = 1.6667 it is now 0.9 * 1 + 0.1 * "
        "1.6667 = 1.0667, its root 1.0328. Eval: (1 - 0.25) / 1.0328 = 0.73."
    )
    console.agrees("BatchNorm = nn.BatchNorm1d", one, other, 1e-6)


def show_batches(images: Tensor) -> Figure:
    console.section("20 batches: outputs in both modes, and the state_dicts")
    colours = torch.rand(1280, 3, 8, 8)  # random
    for x, theirs in (images[:1280], nn.BatchNorm1d), (colours, nn.BatchNorm2d):
        pair = (states(k(x.size(1)), x.split(64)) for k in (BatchNorm, theirs))
        console.agrees(f"BatchNorm = nn.{theirs.__name__}", *pair, 1e-4)
    console.ask("In a batch of two images: which values can come out?")
    seen = {n: BatchNorm(64)(images[:n])[0].detach() for n in (64, 2)}
    seen = {"digit": images[0], "among 64": seen[64], "in a pair": seen[2]}
    console.matrices({n: t[None, 27:30] for n, t in seen.items()}, 2)
    console.say(
        "Three of a digit's 64 columns. Of a and b, a - mean is (a - b) / 2, "
        "the variance's root |a - b| / 2: 1 or -1 is left, 0 if they are equal."
    )
    named = {n: t.view(8, 8) / 4 + 0.5 for n, t in seen.items()}
    return figures.pictures_figure(
        named, "Out of BatchNorm: black -2, white 2", 3
    )


def show_dropout() -> None:
    console.section("Dropout: COLUMN a thousand times")
    console.code(dropout)
    console.ask("With p = 0.5, what can come out? And what on average?")
    torch.manual_seed(0)
    ours = dropout(columns := COLUMN.repeat(1, 1000))
    torch.manual_seed(0)  # the same seed, the same zeros
    theirs = F.dropout(columns)
    console.matrices({"five": ours[:, :5], "mean": ours.mean(1)[:, None]})
    console.say("x becomes 0 or x / (1 - p) = 2 * x, on average about x.")
    console.agrees("dropout = F.dropout, the same zeros", ours, theirs, 0)


def show_rates(train: tuple, test: tuple, lr: float) -> Figure:
    console.section("Measured: how many % of 296 new digits are read right")
    console.say("network: Linear, batch norm or none, ReLU, Linear.")
    console.say("learn: 5 epochs, 1,500 digits. lr scales each of its steps.")
    console.ask("Guessing reads 10 %. How many do they read?")
    rates = 0.1, lr, 5 * lr

    def percent(name: str, s: int) -> Tensor:
        nets = [learn(network(name == "with", s), lr, train) for lr in rates]
        return 100 * shares_right([net.eval() for net in nets], test)

    right = seeds.over_seeds(percent, ["without", "with"])
    columns = {f"lr {rate:g}": place for place, rate in enumerate(rates)}
    seeds.spread_table(columns, right, ".0f")
    seeds.say_ahead(columns, right)
    console.say("One small network, on digits; why it helps, this doesn't say.")
    console.say("ResNet18 has 20 such layers, one behind each convolution.")
    return figures.spread_figure(columns, right)


def run(lr: LearningRate = 2, logdir: LogDir = LOGS) -> None:
    """Write batch norm and dropout; see what eval() changes."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits())
    test = test[0][:296], test[1][:296]  # in pairs none is left over
    show_paper_case()
    digit = show_batches(train[0])
    show_dropout()
    rates = show_rates(train, test, lr)
    console.mistakes(__name__, ValueError, train=train, test=test, x=train[0])
    console.remember(
        "from torch import nn, rand  # nn.Dropout(0.2): a fifth become 0",
        "net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout())",
        "net.train()(rand(64, 8)); net.eval()(rand(1, 8))  # to learn; to use",
    )
    console.say(
        "Exercise: which one linear layer does what nn.Linear(8, 8) and then "
        "BatchNorm1d(8) do in eval mode? torch.allclose(a, b, atol=1e-5) tells."
    )
    with board("norm-demo", logdir, "IMAGES, both figures") as writer:
        writer.add_figure("digit", digit)
        writer.add_figure("rates", rates)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
