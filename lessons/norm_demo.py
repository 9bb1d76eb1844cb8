"""Batch norm and dropout by hand.

In a batch (N, C) each of the C columns has a mean, and a variance: the mean
of the squared distances from that mean. Batch norm makes them 0 and 1, and
weight and bias, two learned numbers for each column, may change that again:
    out = weight * (x - mean) / sqrt(variance + 0.00001) + bias
In train mode mean and variance are the batch's, in eval mode kept ones, so
that an image may come alone. Dropout puts zeros, in train mode only.

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
from shared.practice.norms import states
from shared.seeds import SEEDS, shares_right, spread

WORDS = {
    "batch norm": "a layer that brings columns to mean 0 and variance 1",
    "running statistics": "the mean and variance that are kept for eval mode",
    "dropout": "in training: zeros at random, and the rest made larger",
    "train / eval": "a module's two modes, for learning and for use",
}
Net = nn.Module
COLUMN = torch.tensor([[1.0], [2], [3], [4]])  # (4, 1)


# ---- By hand ----------------------------------------------------------------
class BatchNorm(nn.Module):
    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
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
            mean, var = columns.mean(0), columns.var(0, correction=0)  # / n
            m, new = self.momentum, columns.detach()  # no gradients here
            self.running_mean = (1 - m) * self.running_mean + m * new.mean(0)
            self.running_var = (1 - m) * self.running_var + m * new.var(0)
            self.num_batches_tracked += 1  # only a count
        out = self.weight * (x - mean) / (var + 1e-5).sqrt() + self.bias
        return out.movedim(-1, 1)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Each number becomes 0 with chance p, where 0 <= p < 1."""
    kept = torch.empty_like(x).bernoulli_(1 - p)  # 1 with chance 1 - p
    return kept / (1 - p) * x if training else x


# ---- Mistakes ---------------------------------------------------------------
def wrong_pairs(train: tuple, test: tuple) -> dict[int, str]:
    """Nobody called eval(). 2 or 64 images come at once and change each other's
    outputs. 64 mixed ones have nearly the mean and variance of all. Sorted by
    class, 64 at once read about 63 %, and 2 about 11 %."""
    nets = [learn(network(True, seed), 0.1, train) for seed in SEEDS]
    return {n: spread(shares_right(nets, test, n), ".0%") for n in (2, 64)}


def right_pairs(train: tuple, test: tuple) -> dict[int, str]:
    """call eval() before use. Then no output depends on the other images."""
    nets = [learn(network(True, seed), 0.1, train).eval() for seed in SEEDS]
    return {n: spread(shares_right(nets, test, n), ".0%") for n in (2, 64)}


def wrong_look(train: tuple, test: tuple) -> str:
    """Nobody called train() again. The running statistics stood still while the
    weights moved: at lr 0.5 this broke all five networks, at lr 0.1 none."""
    nets = [learn(network(True, s), 0.5, train, epochs=1) for s in SEEDS]
    shares_right([net.eval() for net in nets], test)  # how good by now?
    nets = [learn(net, 0.5, train, epochs=4).eval() for net in nets]
    return spread(shares_right(nets, test), ".0%")


def right_look(train: tuple, test: tuple) -> str:
    """call train() at the start of every epoch. (After it, layers that shall
    not change need eval(), too: requires_grad_(False) stops no statistics.)"""
    nets = [learn(network(True, s), 0.5, train, epochs=1) for s in SEEDS]
    shares_right([net.eval() for net in nets], test)
    nets = [learn(net.train(), 0.5, train, epochs=4).eval() for net in nets]
    return spread(shares_right(nets, test), ".0%")


def wrong_last(x: Tensor) -> list[int]:
    """One image is left, as 129 = 2 * 64 + 1: each number is its own mean."""
    return [len(nn.BatchNorm1d(64)(some)) for some in x[:129].split(64)]


def right_last(x: Tensor) -> list[int]:
    """leave it out in training, as DataLoader(drop_last=True) does. (Put in
    twice it is no error, but x - mean is 0: only the bias comes out.)"""
    return [len(nn.BatchNorm1d(64)(some)) for some in x[:129].split(64)[:-1]]


# ---- The lesson -------------------------------------------------------------
def network(norm: bool, seed: int) -> Net:
    torch.manual_seed(seed)
    norms = [nn.BatchNorm1d(64)] if norm else []
    hidden = nn.Linear(64, 64), *norms, nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(64, 10))


def learn(net: Net, lr: float, train: tuple, epochs: int = 5) -> Net:
    for _ in range(epochs):
        for some in torch.randperm(1500).split(64)[:-1]:  # 23 batches of 64
            loss = F.cross_entropy(net(train[0][some]), train[1][some])
            net.zero_grad()  # the gradients of the step before
            loss.backward()
            for parameter in net.parameters():
                parameter.data -= lr * parameter.grad  # data: the numbers
    return net


def show_paper_case() -> None:
    console.section("A case small enough for paper: one column")
    console.code(BatchNorm)
    console.ask("1, 2, 3, 4: what comes out? And after it, in eval mode?")
    one, other = (states(k(1), [COLUMN]) for k in (BatchNorm, nn.BatchNorm1d))
    outputs = {"train mode": one["train 0"], "then eval": one["eval 0"]}
    tens = {"10 * COLUMN, train": BatchNorm(1)(10 * COLUMN).detach()}
    console.matrices({"COLUMN": COLUMN} | outputs | tens, 2)
    console.say(
        "Mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 4 = 5 / 4 = 1.25, "
        "its root 1.118: 1 becomes (1 - 2.5) / 1.118 = -1.34. (0.00001 keeps "
        "a column of equal numbers from dividing by 0.) Ten times the column: "
        "the same comes out. Running statistics start at 0 and 1, keep 0.9 and "
        "take 0.1, momentum, of the new: 0.9 * 0 + 0.1 * 2.5 = 0.25; 0.9 * 1 + "
        "0.1 * 5 / 3 = 1.0667, its root 1.0328. (By n - 1 = 3: few numbers lie "
        "too close to their own mean.) Then eval: (1 - 0.25) / 1.0328 = 0.73: "
        "after one batch 0 and 1 still count 0.9."
    )
    console.agrees("BatchNorm = nn.BatchNorm1d", one, other, 1e-6)


def show_batches(images: Tensor) -> Figure:
    console.section("20 batches of digits and of random colour images")
    console.say("(N, C, H, W): a column of N * H * W numbers for each channel.")
    console.say("Outputs and the five tensors of __init__, its state_dict():")
    colours = torch.rand(1280, 3, 8, 8)
    for x, theirs in (images[:1280], nn.BatchNorm1d), (colours, nn.BatchNorm2d):
        pair = (states(k(x.size(1)), x.split(64)) for k in (BatchNorm, theirs))
        console.agrees(f"BatchNorm = nn.{theirs.__name__}", *pair, 1e-4)
    console.ask("In a batch of two images, what can come out of train mode?")
    many, two = (BatchNorm(64)(images[:n])[0].detach() for n in (64, 2))
    seen = {"a": images[0], "b": images[1], "a among 64": many, "a with b": two}
    console.matrices({n: t[None, 28:30] for n, t in seen.items()}, 2)
    console.say(
        "Two of 64 columns. With b, a - mean is (a - b) / 2, the variance's "
        "root |a - b| / 2: 0.75 < 0.94 gives -1, 0.69 > 0.56 gives 1."
    )
    named = {n: t.view(8, 8) / 4 + 0.5 for n, t in seen.items()}
    title = "Digits a, b; a after BatchNorm: black -2, grey 0, white 2 and more"
    return figures.pictures_figure(named, title)


def show_dropout() -> None:
    console.section("Dropout: a thousand fours")
    console.ask("Half become 0. What must the rest be, for the mean to stay 4?")
    console.code(dropout)
    torch.manual_seed(1)
    ours = dropout(fours := torch.full((1, 1000), 4.0))
    console.matrices({"ten": ours[:, :10], "mean of all": ours.mean(1)[None]})
    console.say(
        "0 or 4 / (1 - p) = 8. 487 stayed by chance: 487 * 8 / 1000 = 3.896. "
        "In eval mode all are 4. The idea, not measured: rely on no single one."
    )
    torch.manual_seed(1)  # the same seed, the same zeros
    console.agrees("dropout = F.dropout, same seed", ours, F.dropout(fours), 0)


def show_rates(train: tuple, test: tuple, lr: float) -> Figure:
    console.section("Measured: % of 296 new digits read right after 5 epochs")
    console.code(network, learn)
    console.say("loss: how wrong the outputs are. lr: how large each step is.")
    console.ask(f"At lr {lr:g}, how many without batch norm, and with it?")
    rates = 0.1, lr, 5 * lr

    def percent(name: str, s: int) -> Tensor:
        nets = [learn(network(name == "with", s), lr, train) for lr in rates]
        return 100 * shares_right([net.eval() for net in nets], test)

    right = seeds.over_seeds(percent, ["without", "with"])
    columns = {f"lr {rate:g}": place for place, rate in enumerate(rates)}
    seeds.spread_table(columns, right, ".0f")
    seeds.say_ahead(columns, right)
    console.say(
        "About 10 % is guessing: the steps were too large. Batch norm bears "
        "larger ones, not any. (Why isn't shown.) Try --lr 1: 96 % without it, "
        "too. ResNet18, for photographs, has one after each convolution: 20."
    )
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
        "from torch import nn, rand  # eval() before use, then train() again",
        "net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout())",
        "net.train()(rand(64, 8)); net.eval()(rand(1, 8))  # to learn; to use",
    )
    console.say(
        "Exercise: run these, then net[1].weight.data *= 3. Which weight and "
        "bias must one = nn.Linear(8, 8) have to do what both = net[:2].eval() "
        "does? Then (one(x) - both(x)).abs().max() < 1e-5 for x = rand(9, 8)."
    )
    with board("norm-demo", logdir, "IMAGES: digit, rates") as writer:
        writer.add_figure("digit", digit)
        writer.add_figure("rates", rates)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
