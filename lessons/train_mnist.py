"""Handwritten digits: one network, written in five ways.

Three matrix products and a loss are a network that can learn. PyTorch's
modules, optimizers and loaders replace its lines, one step after another;
each step must leave the same weights. Then the network is trained for good.
At the end it meets methods that are no networks: does it beat them?

    python cli.py train-mnist --optimizer sgd --schedule constant
    python cli.py train-mnist --data mnist --model cnn --epochs 3
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Annotated, Literal

import torch
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from shared import console, options
from shared.datasets.examples import Batch
from shared.datasets.sources import Sets, load_grey
from shared.figures import show_guesses, show_images
from shared.models import unit_range
from shared.practice import handwriting
from shared.training import LogDir, Resume, RunFolder, Training

WORDS = {
    "baseline": "a simple method; a network should do better to be worth it",
    "logistic regression": "a linear layer and softmax; no layer more",
    "nearest neighbours": "the training images most like a new one; they vote",
}
LOOK = "SCALARS; IMAGES"
Weights = list[Tensor]
Loaders = tuple[DataLoader, DataLoader]  # to train on, to validate with
Model = Annotated[
    Literal["mlp", "cnn"], typer.Option(help="Linear layers, or convolutions.")
]
OptimizerName = Annotated[
    Literal["adam", "sgd"],
    typer.Option("--optimizer", help="What moves the weights."),
]
Schedule = Annotated[
    Literal["cosine", "constant"],
    typer.Option(help="The learning rate falls to 0, or stays."),
]


# ---- By hand ----------------------------------------------------------------
def network(weights: Weights, rows: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = weights
    x = (rows @ w1.T + b1).clamp(min=0)  # (N, 784) to (N, 128), then ReLU
    x = (x @ w2.T + b2).clamp(min=0)  # (N, 256)
    return x @ w3.T + b3  # the logits (N, classes)


@torch.no_grad()
def move(weights: Weights, lr: float) -> None:
    for weight in weights:
        weight -= lr * weight.grad
        weight.grad = None  # or the next batch's would be added to it


def stage_1(weights: Weights, batches: Iterable[Batch], lr: float) -> Weights:
    for x, y in batches:
        powers = network(weights, x).exp()
        softmax = powers / powers.sum(1, keepdim=True)
        loss = -softmax[range(len(y)), y].log().mean()
        loss.backward()
        move(weights, lr)
    return weights


def stage_2(weights: Weights, batches: Iterable[Batch], lr: float) -> Weights:
    for x, y in batches:
        loss = F.cross_entropy(network(weights, x), y)
        loss.backward()
        move(weights, lr)
    return weights


def stage_3(
    model: nn.Module, batches: Iterable[Batch], optimizer: Optimizer
) -> Weights:
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return list(model.parameters())


def stage_4(
    model: nn.Module, dataset: TensorDataset, optimizer: Optimizer
) -> Weights:
    return stage_3(model, DataLoader(dataset, batch_size=64), optimizer)


def fit(
    model: nn.Module, optimizer: Optimizer, loaders: Loaders, epochs: int = 1
) -> float:
    for _ in range(epochs):
        model.train()
        stage_3(model, loaders[0], optimizer)
        val_loss, _ = evaluate(model, loaders[1])
    return val_loss


@torch.no_grad()
def evaluate(model: nn.Module, loader: Iterable[Batch]) -> tuple[float, Tensor]:
    """The mean loss an image, and the predicted class of each image (N,)."""
    model.eval()
    total, predictions = 0.0, []
    for x, y in loader:
        logits = model(x)
        total += len(y) * F.cross_entropy(logits, y).item()  # weighted
        predictions.append(logits.argmax(1))
    predictions = torch.cat(predictions)
    return total / len(predictions), predictions


def mlp(classes: int = 10) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(),
        nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, classes),
    )  # fmt: skip


def cnn(classes: int = 10) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(64 * 7 * 7, classes),
    )  # fmt: skip


def cosine(step: int, lr: float, total: int) -> float:
    return lr * (1 + math.cos(math.pi * step / total)) / 2


def train(
    training: Training,
    model: nn.Module,
    optimizer: Optimizer,
    sets: Sets,
    rate: Callable[[int], float],
) -> None:
    train_set, val_set, _ = sets
    replica = training.parallel(model)  # the model; with torchrun a DDP of it
    for epoch in training.epochs():
        model.train()
        for images, labels in training.batches(train_set, epoch):
            optimizer.param_groups[0]["lr"] = rate(training.step)
            loss = F.cross_entropy(replica(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            training.track(loss)
        val_loss, predictions = evaluate(model, val_set.batches(128))
        accuracy = val_set.accuracy(predictions)
        training.end_epoch(val_loss=val_loss, val_accuracy=accuracy)


def nearest_mean(rows: Tensor, labels: Tensor, new_rows: Tensor) -> Tensor:
    """A mean picture of each class; the class of the nearest one (N,)."""
    classes = labels.unique()
    means = torch.stack([rows[labels == label].mean(0) for label in classes])
    return classes[torch.cdist(new_rows, means).argmin(1)]


# ---- The lesson -------------------------------------------------------------
def show_stages(sets: Sets, seed: int) -> None:
    console.section("One network, five ways")
    console.code(network, move, stage_1)
    console.say(
        "x: 64 images as rows of 784 pixels; y: their classes. Stage 1 has "
        "only tensors and autograd. Stage 2: F.cross_entropy replaces the "
        "three lines of the loss, which can overflow (exp of 89 is inf). Stage "
        "3: a module holds the weights, an optimizer moves them, as in the "
        "loop below. Stage 4: a TensorDataset and a DataLoader cut the batches."
        " Stage 5: fit adds the loss on held-out images."
    )
    console.ask("After the same updates, how different are the weights?")
    few, batches, loaders = handwriting.few_images(sets)
    models = handwriting.copies(mlp, len(sets[0].classes), seed)
    bare = [list(model.parameters()) for model in models]
    optimizers = [SGD(weights, lr=0.1) for weights in bare]
    results = [
        stage_1(bare[0], batches, 0.1),
        stage_2(bare[1], batches, 0.1),
        stage_3(models[2], batches, optimizers[2]),
        stage_4(models[3], few, optimizers[3]),
    ]
    val_loss = fit(models[4], optimizers[4], loaders)
    handwriting.compare([*results, bare[4]], len(batches))
    handwriting.show_mean(models[4], loaders[1], val_loss)


def show_rates(sets: Sets, seed: int) -> None:
    console.section("Which is too small: the network, or the learning rate?")
    guess = math.log(len(sets[0].classes))
    console.ask(f"Which rows still guess, with a loss near {guess:.2f}?")
    ways = {
        "SGD, lr 0.001": partial(SGD, lr=0.001),
        "SGD, lr 0.001, momentum 0.9": partial(SGD, lr=0.001, momentum=0.9),
        "SGD, lr 0.1": partial(SGD, lr=0.1),
        "Adam, lr 0.001": partial(Adam, lr=0.001),
    }
    handwriting.race(ways, mlp, fit, sets, seed)
    console.say(
        "On real MNIST (seed 0, --shift 0), 25 epochs of the first get 89.5 % "
        "of the test images right, of the second 96.0 %, of the last, its "
        "rate falling, 97.7 %."
    )


def show_loop(rate: Callable[[int], float], total: int, shift: int) -> None:
    console.section("The loop, and the learning rate of each step")
    console.code(cosine, train)
    steps = [0, total // 4, total // 2, total - 1]
    rates = ", ".join(f"{rate(step):.3g}" for step in steps)
    console.say(
        f"The first of {total:,} steps, those after a quarter and a half, and "
        f"the last have the rates {rates}. train loss is a mean over the "
        f"epoch's images, each moved by up to --shift {shift}. The smallest "
        "val loss, on held-out images, chooses the epoch. The table has every "
        "fifth one; metrics.csv has all. On real MNIST, 3 epochs of the CNN "
        "got 99.29 and 99.30 % (seeds 0, 1); with --shift 0 99.18 % (mean of "
        "seeds 0 to 2). 3 nearest neighbours: 96.94 %."
    )


def show_test(training: Training, model: nn.Module, sets: Sets) -> None:
    best, (train_set, _, test_set) = training.load_best(), sets
    console.section("The test images, looked at once, at the end")
    console.say(
        f"The weights are those of epoch {best['epoch']}: val loss "
        f"{best['val_loss']:.4f}, val accuracy {best['val_accuracy']:.1%}."
    )
    if test_set is None:
        console.say("There is no folder test/, so they go untested.")
        return training.end()
    _, predictions = evaluate(model, test_set.batches(500))
    accuracy = test_set.accuracy(predictions)
    right = f"{round(accuracy * len(test_set)):,} of {len(test_set):,}"
    console.say(f"It gets {accuracy:.2%} of the test images right: {right}.")
    show_guesses(training.writer, test_set, predictions, training.step)
    methods = {
        "logistic regression": LogisticRegression(),
        "3 nearest neighbours": KNeighborsClassifier(3),
    }
    images = train_set, test_set
    handwriting.show_baselines(nearest_mean, methods, images, predictions)
    return training.end(test_accuracy=accuracy)


def run(
    context: typer.Context,
    run_folder: RunFolder = None,
    resume: Resume = False,
    model: Model = "mlp",
    data: options.GreyImages = "auto",
    epochs: options.Epochs = 30,
    batch_size: options.BatchSize = 64,
    shift: options.Shift = 1,
    optimizer: OptimizerName = "adam",
    lr: options.LearningRate = 0.001,
    momentum: options.Momentum = 0.0,
    schedule: Schedule = "cosine",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    logdir: LogDir = options.LOGS,
) -> None:
    """Train on handwritten digits; meet honest baselines."""
    handwriting.check_momentum(momentum, optimizer)
    console.opening(__doc__)
    console.words(WORDS)
    with Training(context, LOOK, "val_loss", every=5) as training:
        sets = load_grey(data, training.device, limit, seed)
        handwriting.shift(sets[0], shift)
        torch.manual_seed(seed)
        net = {"mlp": mlp, "cnn": cnn}[model](len(sets[0].classes))
        whole = unit_range(net, sets[0].images)
        make = {"adam": Adam, "sgd": partial(SGD, momentum=momentum)}[optimizer]
        mover = make(whole.parameters(), lr)
        mover.param_groups[0]["initial_lr"] = lr  # before the schedule
        training.begin(*sets, model=whole, optimizer=mover)
        show_images(training.writer, handwriting.first(sets), training.step)
        show_stages(sets, seed)
        show_rates(sets, seed)
        handwriting.show_network(whole, sets[0].images[:batch_size])
        total = epochs * (len(sets[0]) // batch_size)
        falling = partial(cosine, lr=lr, total=total)
        rate = falling if schedule == "cosine" else lambda step: lr
        show_loop(rate, total, shift)
        train(training, whole, mover, sets, rate)
        show_test(training, whole, sets)
        console.remember(
            "DataLoader(TensorDataset(images, labels), 64, shuffle=True)",
            "total += len(y) * loss.item()  # val loss: total / all images",
            "loss stays near ln(classes): another lr before another network",
        )
        handwriting.say_more()
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
