"""Silent mistakes: nothing fails, and the numbers are wrong.

An error stops the program, so you search. These mistakes give none: the
program runs to its end and prints a number. Each is made here and mended,
on the same data and from the same seeds. What you take home is the table,
and a habit: of a number, say what you expect before you look.

    python cli.py pitfalls-demo --only zero --step
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Annotated

import torch
import typer
from torch import Tensor, arange, nn, randperm
from torch.nn import functional as F
from torch.optim import SGD, Optimizer

from shared import console, scenes, seeds
from shared.board import board
from shared.datasets.embedded import digits
from shared.datasets.made_up import Data, line, noise, rings
from shared.figures import pairs_figure
from shared.options import LOGS, LogDir

WORDS = {
    "silent mistake": "one without an error; only its numbers are wrong",
    "MLP": "a network of linear layers, with activations between them",
    "accuracy": "the share of the examples whose class is found, here in %",
    "split": "the parting of data into a training set and a test set",
    "leak": "a way by which training, or a choice, learns of the test set",
}
Net, Batches = nn.Module, Iterator[Data]
Order, Loss = Callable[[int], Tensor], Callable[[Tensor, Tensor], Tensor]
SURPRISES = (
    "zero_grad() forgotten; 3 epochs, no momentum",
    "eval() forgotten; batch norm, shuffled batches of 64",
    "no activation at all; digits",
    "tested on the training images, which are 1,500",
)
ONE = typer.Option(metavar="NAME", help="One mistake, with all of its code.",
                   callback=scenes.one_of(__name__))  # fmt: skip
SETS = "train: 1,500 digits (N, 64) in [0, 1], with labels. test: 297 more."
UNITS = {"column": "MSE", "total": "nodes"}  # of the others: accuracy in %


# ---- By hand ----------------------------------------------------------------
def mlp(seed: int, *between: nn.Module, width: int = 64) -> nn.Sequential:
    """Digits (N, 64) to logits (N, 10). between: layers before ReLU."""
    torch.manual_seed(seed)
    first = nn.Linear(64, width), *between, nn.ReLU()
    return nn.Sequential(*first, nn.Linear(width, 10))


def batches(data: Data, epochs: int = 10, order: Order = randperm) -> Batches:
    for _ in range(epochs):
        for rows in order(len(data[0])).split(64):  # randperm: shuffled
            yield data[0][rows], data[1][rows]


def learn(
    net: Net,
    loader: Batches,
    loss: Loss = F.cross_entropy,
    optimizer: Optimizer | None = None,
) -> Net:
    optimizer = optimizer or SGD(net.parameters(), lr=0.1)
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss(net(inputs), labels).backward()
        optimizer.step()
    return net


def accuracy(net: Net, data: Data, at_once: int = 1000) -> Tensor:
    """In %. The network stays in the mode that it is in."""
    with torch.no_grad():
        logits = torch.cat([net(x) for x in data[0].split(at_once)])
    return 100 * (logits.argmax(1) == data[1]).float().mean()


def normalised(data: Data, like: Data) -> Data:
    return (data[0] - like[0].mean()) / like[0].std(), data[1]


def part(data: Data, rows: Tensor | slice) -> Data:
    return data[0][rows], data[1][rows]


class Stack(nn.Module):
    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = layers
        self.last = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.last(x)


def nodes(value: Tensor | float) -> int:
    """The size of the graph that autograd keeps behind a value."""
    found, waiting = set(), [getattr(value, "grad_fn", None)]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [before for before, _ in node.next_functions]
    return len(found)


# ---- Mistakes ---------------------------------------------------------------
def wrong_zero(seed: int, train: Data, test: Data) -> Tensor:
    """No zero_grad() in the loop. backward() adds to .grad: each step follows
    the sum of all gradients since the first batch."""
    net = mlp(seed)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    for images, labels in batches(train):
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return accuracy(net, test)


def right_zero(seed: int, train: Data, test: Data) -> Tensor:
    """optimizer.zero_grad() at each step"""
    net = mlp(seed)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    for images, labels in batches(train):
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return accuracy(net, test)


def wrong_optimizer(seed: int, train: Data, test: Data) -> Tensor:
    """A new last layer, an old optimizer. What it holds gets no gradient now:
    nothing moves. (With all layers in it, the first learns: 70 to 87 %.)"""
    net = mlp(seed)
    optimizer = SGD(net[-1].parameters(), 0.1)
    net[-1] = nn.Linear(64, 10)
    return accuracy(learn(net, batches(train), optimizer=optimizer), test)


def right_optimizer(seed: int, train: Data, test: Data) -> Tensor:
    """build the optimizer after it. (The first layer stays random.)"""
    net = mlp(seed)
    net[-1] = nn.Linear(64, 10)
    optimizer = SGD(net[-1].parameters(), 0.1)
    return accuracy(learn(net, batches(train), optimizer=optimizer), test)


def wrong_total(seed: int, train: Data) -> int:
    """Losses added up as tensors. total keeps the graphs of all 100 batches, 8
    nodes each, and 4 for the parameters. Images stay, too: memory fills up."""
    net, total = mlp(seed), 0
    for images, labels in islice(batches(train), 100):
        total += F.cross_entropy(net(images), labels)
    return nodes(total)


def right_total(seed: int, train: Data) -> int:
    """add up loss.item(), a number"""
    net, total = mlp(seed), 0
    for images, labels in islice(batches(train), 100):
        total += F.cross_entropy(net(images), labels).item()
    return nodes(total)


def wrong_softmax(seed: int, train: Data, test: Data) -> Tensor:
    """Softmax before cross_entropy. That function applies softmax, too; twice,
    it leaves small gradients, and so little is learned in 10 epochs."""
    net = mlp(seed).append(nn.Softmax(1))
    return accuracy(learn(net, batches(train)), test)


def right_softmax(seed: int, train: Data, test: Data) -> Tensor:
    """give it logits, as they are"""
    return accuracy(learn(mlp(seed), batches(train)), test)


def wrong_column(seed: int) -> Tensor:
    """Outputs (N, 1) minus targets (N,). Broadcasting makes (N, N) of them:
    each output is pulled to all the targets, and learns their mean. The MSE
    is about their variance: 1 for each of 4 inputs, and 0.25 of noise: 4.25."""
    inputs, targets = line(seed + 100)  # new ones, to test with
    net, loader = nn.Linear(4, 1), batches(line(seed))
    learn(net, loader, lambda out, y: (out - y).square().mean())
    return (net(inputs)[:, 0] - targets).square().mean().detach()


def right_column(seed: int) -> Tensor:
    """equal shapes, here by out[:, 0]"""
    inputs, targets = line(seed + 100)  # new ones, to test with
    net, loader = nn.Linear(4, 1), batches(line(seed))
    learn(net, loader, lambda out, y: (out[:, 0] - y).square().mean())
    return (net(inputs)[:, 0] - targets).square().mean().detach()


def wrong_list(seed: int, train: Data, test: Data) -> Tensor:
    """Layers in a Python list. The module does not know of them, and they
    stay random: net.parameters() has 32 * 10 + 10 = 330 numbers, not 4,522."""
    torch.manual_seed(seed)
    net = Stack([nn.Linear(n, 32) for n in (64, 32, 32)])
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    return accuracy(learn(net, batches(train), optimizer=optimizer), test)


def right_list(seed: int, train: Data, test: Data) -> Tensor:
    """in nn.ModuleList(...)"""
    torch.manual_seed(seed)
    net = Stack(nn.ModuleList(nn.Linear(n, 32) for n in (64, 32, 32)))
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    return accuracy(learn(net, batches(train), optimizer=optimizer), test)


def wrong_calls(seed: int) -> Tensor:
    """An activation that is never called. Two linear layers in a row are one,
    and no straight line parts two rings."""

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu = nn.Linear(2, 32), nn.ReLU()
            self.last = nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    torch.manual_seed(seed)
    return accuracy(learn(Model(), batches(rings(seed))), rings(seed + 100))


def right_calls(seed: int) -> Tensor:
    """call it; Sequential calls each"""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
    return accuracy(learn(net, batches(rings(seed))), rings(seed + 100))


def wrong_sorted(seed: int, train: Data, test: Data) -> Tensor:
    """Sorted by class, not shuffled. A batch has one class or two, and what it
    teaches costs the others."""
    by_class = part(train, train[1].argsort())
    return accuracy(learn(mlp(seed), batches(by_class, order=arange)), test)


def right_sorted(seed: int, train: Data, test: Data) -> Tensor:
    """shuffle=True in the DataLoader. Here it is order=randperm."""
    by_class = part(train, train[1].argsort())
    return accuracy(learn(mlp(seed), batches(by_class, order=randperm)), test)


def wrong_apart(seed: int, train: Data, test: Data) -> Tensor:
    """Images and labels shuffled apart. It is guessing: over 30 seeds, 9 %."""
    net = mlp(seed)
    mixed = train[0][randperm(1500)], train[1][randperm(1500)]
    return accuracy(learn(net, batches(mixed)), test)


def right_apart(seed: int, train: Data, test: Data) -> Tensor:
    """one random order for both"""
    net = mlp(seed)
    return accuracy(learn(net, batches(part(train, randperm(1500)))), test)


def wrong_dropout(seed: int, train: Data, test: Data) -> Tensor:
    """No eval() with dropout. In the test, too, half of the numbers between
    the two linear layers become 0, at random."""
    net = learn(mlp(seed, nn.Dropout(), width=32), batches(train))
    return accuracy(net, test)


def right_dropout(seed: int, train: Data, test: Data) -> Tensor:
    """net.eval() before the test. net.train() comes after it."""
    net = learn(mlp(seed, nn.Dropout(), width=32), batches(train))
    return accuracy(net.eval(), test)


def wrong_norm(seed: int, train: Data, test: Data) -> Tensor:
    """No eval() with batch norm. The test set is sorted by class: what 16
    images of a class have in common, batch norm subtracts with their mean."""
    net = learn(mlp(seed, nn.BatchNorm1d(64)), batches(train))
    return accuracy(net, part(test, test[1].argsort()), at_once=16)


def right_norm(seed: int, train: Data, test: Data) -> Tensor:
    """net.eval() before the test. net.train() comes after it."""
    net = learn(mlp(seed, nn.BatchNorm1d(64)), batches(train))
    return accuracy(net.eval(), part(test, test[1].argsort()), at_once=16)


def wrong_scale(seed: int, train: Data, test: Data) -> Tensor:
    """The test set not normalised. Its mean is 0.31, its std 0.38; those of the
    images in training were 0 and 1."""
    net = mlp(seed, nn.BatchNorm1d(64))
    net = learn(net, batches(normalised(train, train))).eval()
    return accuracy(net, test)


def right_scale(seed: int, train: Data, test: Data) -> Tensor:
    """the training set's mean and std. Both sets are normalised with them."""
    net = mlp(seed, nn.BatchNorm1d(64))
    net = learn(net, batches(normalised(train, train))).eval()
    return accuracy(net, normalised(test, train))


def wrong_twice(seed: int, train: Data, test: Data) -> Tensor:
    """Pixels divided by 255 twice. In training once, in the test once more: its
    images are nearly black."""
    net = learn(mlp(seed, nn.BatchNorm1d(64)), batches(train)).eval()
    return accuracy(net, (test[0] / 255, test[1]))  # it was in [0, 1]


def right_twice(seed: int, train: Data, test: Data) -> Tensor:
    """once. images.max() tells: 1.0, and not 0.004."""
    net = learn(mlp(seed, nn.BatchNorm1d(64)), batches(train)).eval()
    return accuracy(net, test)


def wrong_same(seed: int, train: Data) -> Tensor:
    """Tested on its 100 training images. It has learned these by heart."""
    few = part(train, slice(100))
    return accuracy(learn(mlp(seed), batches(few, epochs=100)), few)


def right_same(seed: int, train: Data, test: Data) -> Tensor:
    """tested on new images"""
    few = part(train, slice(100))
    return accuracy(learn(mlp(seed), batches(few, epochs=100)), test)


def wrong_columns(seed: int) -> Tensor:
    """20 columns chosen before the split. Of 2,000 columns of noise some agree
    with the labels by chance; those of the test set helped to choose."""
    inputs, labels = noise(seed, rows=200, columns=2000)
    fit = (inputs.T @ (2.0 * labels - 1)).abs()  # labels as -1 and 1
    best = inputs[:, fit.topk(20).indices], labels
    net = learn(nn.Linear(20, 2), batches(part(best, slice(100))))
    return accuracy(net, part(best, slice(100, 200)))


def right_columns(seed: int) -> Tensor:
    """choose by the training set alone"""
    inputs, labels = noise(seed, rows=200, columns=2000)
    fit = (inputs[:100].T @ (2.0 * labels[:100] - 1)).abs()
    best = inputs[:, fit.topk(20).indices], labels
    net = learn(nn.Linear(20, 2), batches(part(best, slice(100))))
    return accuracy(net, part(best, slice(100, 200)))


def wrong_twins(seed: int) -> Tensor:
    """Copies made before the split. Three of four rows of the test set have a
    twin in the training set, with its label: 75 % + 25 % / 2 = 87.5 %."""
    rows = noise(seed, rows=400, columns=64)
    mixed = randperm(800) % 400  # each row twice, in random order
    net = learn(mlp(seed), batches(part(rows, mixed[:600]), epochs=40))
    return accuracy(net, part(rows, mixed[600:]))


def right_twins(seed: int) -> Tensor:
    """split first, then copy. (And then augment.)"""
    rows = noise(seed, rows=400, columns=64)
    mixed = randperm(400)
    twice = part(rows, mixed[:300].repeat(2))
    net = learn(mlp(seed), batches(twice, epochs=40))
    return accuracy(net, part(rows, mixed[300:]))


def wrong_best(seed: int) -> Tensor:
    """The best of 300, by the test set. None has learned anything. With 50 rows
    the std of chance is 50 / 50 ** 0.5 = 7 %; the best is 2 to 3 std higher."""
    rows = noise(seed, rows=1050, columns=20)
    nets = [nn.Linear(20, 2) for _ in range(300)]
    few = part(rows, slice(50))
    return max(accuracy(net, few) for net in nets)


def right_best(seed: int) -> Tensor:
    """test the chosen one on other rows. These have chosen nothing."""
    rows = noise(seed, rows=1050, columns=20)
    nets = [nn.Linear(20, 2) for _ in range(300)]
    few, others = part(rows, slice(50)), part(rows, slice(50, 1050))
    return accuracy(max(nets, key=lambda net: accuracy(net, few)), others)


# ---- The lesson -------------------------------------------------------------
def surprises(seed: int, train: Data, test: Data) -> list[list[Tensor]]:
    """The same mistakes in other places: with each, and mended."""
    early, first = learn(mlp(seed), batches(train, epochs=3)), mlp(seed)
    optimizer = SGD(first.parameters(), lr=0.1)
    optimizer.zero_grad = lambda: None  # as if nobody had called it
    learn(first, batches(train, epochs=3), optimizer=optimizer)
    norm = learn(mlp(seed, nn.BatchNorm1d(64)), batches(train))
    linear = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))
    nets = learn(linear, batches(train)), learn(mlp(seed), batches(train))
    return [
        [accuracy(net, test) for net in (first, early)],
        [accuracy(norm, test, at_once=64), accuracy(norm.eval(), test)],
        [accuracy(net, test) for net in nets],
        [accuracy(nets[1], some) for some in (train, test)],
    ]


def show_table(sets: dict[str, Data]) -> dict[str, Tensor]:
    console.section("Mistake and mend, measured in the same run")
    about = "About half of them train this network in this loop, for 10 epochs."
    console.say(f"{about} {SETS}")
    console.code(mlp, batches, learn)
    console.ask("In which ones does the mistake make the number better?")
    measured = scenes.measure(__name__, scenes.names_of(__name__), **sets)
    scenes.show_table(__name__, measured, UNITS)
    console.say(
        "%: accuracy, with the test set but for the mistake in same. Guessing "
        "gets some 10 % of the digits (in apart 9, over 30 seeds), and 50 % of "
        "the two classes in calls, columns, twins, best. MSE: mean squared "
        "distance to the targets; their noise makes it 0.25. nodes: the size "
        "of the graph that is kept."
    )
    shares = {n: v for n, v in measured.items() if n not in UNITS}
    better = [n for n, v in shares.items() if v[:, 0].min() > v[:, 1].max()]
    console.say(
        f"In {', '.join(better)} all the wrong numbers are above all the right "
        "ones. What was tested was known before, to the training or to a "
        "choice: a leak. So search where a number is too good, as well."
    )
    return measured


def show_surprises(sets: dict[str, Data]) -> None:
    console.section("Four of these mistakes, where the number hides them")
    console.ask("3 epochs: is it better with zero_grad(), or without?")
    runs = seeds.over_seeds(lambda _, n: surprises(n, **sets), ["all"])["all"]
    rows = [
        (name, *(scenes.in_words(runs[:, i, side], "%") for side in (0, 1)))
        for i, name in enumerate(SURPRISES)
    ]
    console.table(["", "mistake", "mend"], rows)
    console.say(
        "Row 1: sums of gradients make longer steps, in 3 epochs a gain (so is "
        "an lr of 0.3). The mistake looks like a gift; after 20 epochs it is "
        "below 70 %, its mend above 90. Rows 2 to 4: what is in brackets "
        "overlaps. So a good number does not mean that all is well."
    )


def run(only: Annotated[str | None, ONE] = None, logdir: LogDir = LOGS) -> None:
    """Make mistakes that no error tells of; mend them."""
    train, test = ((s.images.flatten(1) / 255, s.labels) for s in digits())
    sets = {"train": train, "test": test}
    if only:
        measured = scenes.measure(__name__, [only], **sets)
        common = [mlp, batches, learn, accuracy, part, normalised, noise, line]
        common += [rings, Stack, nodes]
        scenes.show_pair(__name__, measured, UNITS, common, {"train": SETS})
    else:
        console.opening(__doc__)
        console.words(WORDS)
        measured = show_table(sets)
        show_surprises(sets)
    console.remember(
        "assert outputs.shape == targets.shape  # in your own loss: column",
        "assert not net.training  # before each test: dropout, norm",
        "sum(p.numel() for p in net.parameters())  # as expected? else: list",
    )
    console.say(
        "Exercise: which assert, before the first step, stops wrong_optimizer, "
        "but not right_optimizer? optimizer.param_groups[0]['params'] is what "
        "it holds; compare by id(...), not by ==. Check: above both returns "
        "it ends --only optimizer. Above that of the right one it does not."
    )
    with board("pitfalls-demo", logdir, "IMAGES: mistakes") as writer:
        writer.add_figure("mistakes", pairs_figure(measured, UNITS))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
