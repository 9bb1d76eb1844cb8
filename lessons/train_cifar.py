"""The whole training loop, on pictures.

A network guesses what is in a picture; the loss says how wrong it is. Each
step takes a batch of training images and moves every weight a little, so
that the loss of that batch falls. After each epoch the network is tried on
held-out images, which choose the best epoch. The test images are looked at
once, at the end: what does it make of pictures that it has never seen?

    python cli.py train-cifar --epochs 10 --device cuda
    python cli.py train-cifar --resume
    torchrun --nproc-per-node 2 cli.py train-cifar --device cuda
"""

import copy
import math
from functools import partial

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from shared import console, options
from shared.datasets.image_set import Batch, ImageSet, shift_and_flip
from shared.datasets.sources import load_images
from shared.figures import show_guesses, show_images
from shared.models import CifarNet, layer_table, normalized
from shared.training import LogDir, Resume, RunFolder, Training

WORDS = {
    "CNN": "a network that begins with convolutions",
    "logits": "the network's output, one number for each class",
    "loss": "one number for how wrong the network is; training lowers it",
    "batch": "the images of one step",
    "epoch": "one round through all training images",
    "learning rate": "how large a step is, for a gradient of 1 (lr)",
    "momentum": "the share of the last step that goes into the next",
    "held out": "kept out of training, to choose the best epoch by",
}
COLUMNS = {
    "train loss": "the mean over the training images, during the epoch",
    "val loss": "the mean over the held-out images, after it (validation)",
    "val accuracy": "the share of the held-out images that is guessed right",
}
LOOK = "SCALARS: loss, accuracy; IMAGES: input, figures; HPARAMS: settings"


# ---- By hand ----------------------------------------------------------------
def sgd_step(
    weight: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    lr: float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """What optimizer.step() does to a weight: its new value, its velocity."""
    velocity = momentum * velocity + gradient
    return weight - lr * velocity, velocity  # against the gradient


def train(
    training: Training,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    train_set: ImageSet,
    val_set: ImageSet,
) -> None:
    """The whole loop. Files, table and curves are the training's business."""
    replica = training.parallel(model)  # the model; with torchrun a DDP of it
    for epoch in training.epochs():
        model.train()
        for images, labels in training.batches(train_set, epoch):
            with training.autocast:  # bfloat16 with --precision bf16
                logits = replica(images)  # (N, classes)
                loss = F.cross_entropy(logits, labels)
            optimizer.zero_grad()  # forget the gradients of the last batch
            loss.backward()  # how does each weight change the loss?
            optimizer.step()  # sgd_step, for every weight
            training.track(loss)
        val_loss, predictions = evaluate(model, val_set)
        accuracy = val_set.accuracy(predictions)
        training.end_epoch(val_loss=val_loss, val_accuracy=accuracy)


@torch.no_grad()
def evaluate(model: nn.Module, images: ImageSet) -> tuple[float, Tensor]:
    """The mean loss an image, and the predicted class of each image (N,)."""
    model.eval()
    logits = torch.cat([model(batch) for batch, _ in images.batches(500)])
    return F.cross_entropy(logits, images.labels).item(), logits.argmax(1)


# ---- The lesson -------------------------------------------------------------
def show_network(model: nn.Module, images: Tensor) -> None:
    console.section("The network, layer by layer, with one batch")
    rows = layer_table([model.normalize, *model.net], images)
    console.table(["layer", "shape after it", "parameters"], rows)
    total = sum(parameter.numel() for parameter in model.parameters())
    console.say(
        f"{total:,} parameters: the numbers that are learned, called weights "
        "(and biases). (images, channels, rows, columns) go in, (images, "
        "classes) come out: the logits. The class with the highest is the "
        "guess."
    )


def show_guessing(training: Training, model: nn.Module, batch: Batch) -> None:
    console.section("The loss of one guess, and of guessing")
    console.ask("What is the loss of a network that has learned nothing?")
    images, labels = batch
    with torch.no_grad():
        logits = model(images)  # (N, classes)
    sure = logits.softmax(1)[0, labels[0]]  # what image 1 gives its class
    loss, classes = F.cross_entropy(logits, labels), logits.size(1)
    console.say(
        "Softmax turns logits into probabilities: e to the power of each, "
        "divided by the sum of all. Image 1 gives its own class "
        f"{sure:.4f}; its loss is −ln of that, {-sure.log():.4f}."
    )
    first = F.cross_entropy(logits[:1], labels[:1])
    console.agrees("−ln = F.cross_entropy", -sure.log(), first, 1e-5)
    console.say(
        f"Guessing gives each of {classes} classes 1/{classes}: "
        f"−ln(1/{classes}) = ln {classes} = {math.log(classes):.2f}. The mean "
        f"of a batch after {len(training.history)} epochs is {loss:.2f}."
    )


def show_steps(
    model: nn.Module, batch: Batch, lr: float, momentum: float
) -> None:
    """Take two steps with a copy, and by hand for the weights of its end."""
    console.section("Two steps by hand, for the 64 x classes last weights")
    console.code(sgd_step)
    model, (images, labels) = copy.deepcopy(model), batch
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum)
    weights = model.net[-1].weight  # (classes, 64)
    by_hand, velocity = weights.detach().clone(), torch.zeros_like(weights)
    rows = []
    for step in (1, 2):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        gradient, before = weights.grad, by_hand
        by_hand, velocity = sgd_step(before, gradient, velocity, lr, momentum)
        optimizer.step()
        if step == 1:
            shown = gradient.abs().argmax()
        numbers = (before, gradient, velocity, by_hand)
        cells = (f"{tensor.flatten()[shown]:.6f}" for tensor in numbers)
        rows.append([step, f"{loss:.4f}", *cells])
    titles = ["step", "loss before", "weight", "gradient", "velocity", "after"]
    console.table(titles, rows)
    console.say(f"That is the weight whose gradient is largest; lr is {lr:g}.")
    console.agrees("by hand = optimizer.step()", by_hand, weights, 1e-6)


def show_loop() -> None:
    console.section("The loop")
    console.code(train)
    console.say("Its table has a row for each epoch:")
    for column, meaning in COLUMNS.items():
        console.say(f"  {column}: {meaning}")
    console.ask("After epoch 1, which is lower: train loss or val loss?")
    console.ask("Which class will be hardest? What will it be taken for?")


def show_first_epoch(row: dict[str, float]) -> None:
    console.say(
        f"Epoch 1: train loss {row['train_loss']:.2f}, val loss "
        f"{row['val_loss']:.2f}. Train loss is a mean over the whole epoch, "
        "its first guesses included; val loss is taken at its end."
    )


def show_test(
    training: Training, model: nn.Module, test_set: ImageSet | None
) -> None:
    """Try the best epoch's weights on images that have chosen nothing."""
    best = training.load_best()
    console.section("The test images, looked at once")
    console.say(f"The weights are those of epoch {best['epoch']}, the best.")
    if test_set is None:
        console.say("There is no folder test/, so they go untested.")
        return training.end()
    _, predictions = evaluate(model, test_set)
    accuracy = test_set.accuracy(predictions)
    console.say(f"They get {accuracy:.1%} of the test images right.")
    show_guesses(training.writer, test_set, predictions, training.step)
    return training.end(test_accuracy=accuracy)


def run(
    context: typer.Context,
    run_folder: RunFolder = None,
    resume: Resume = False,
    data: options.Images = "auto",
    download: options.Download = False,
    epochs: options.Epochs = 10,
    batch_size: options.BatchSize = 64,
    lr: options.LearningRate = 0.01,
    momentum: options.Momentum = 0.9,
    activation: options.Activation = "relu",
    augment: options.Augment = False,
    precision: options.Precision = "float32",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    logdir: LogDir = options.LOGS,
) -> None:
    """Train a CNN on pictures: the whole loop, with resume."""
    console.opening(__doc__)
    console.words(WORDS)
    with Training(context, LOOK) as training:
        sets = load_images(data, training.device, limit, seed, download)
        train_set, val_set, test_set = sets
        if augment:  # in a mirror, a digit is no digit any more
            flip = data != "photo-digits"
            train_set.transform = partial(shift_and_flip, flip=flip)
        torch.manual_seed(seed)
        net = CifarNet(len(train_set.classes), activation)
        model = normalized(net, train_set.images)
        optimizer = torch.optim.SGD(model.parameters(), lr, momentum)
        training.begin(*sets, model=model, optimizer=optimizer)
        show_images(training.writer, train_set.limited(8), training.step)
        batch = train_set[:64]
        show_network(model, batch[0])
        show_guessing(training, model, batch)
        show_steps(model, batch, lr, momentum)
        show_loop()
        train(training, model, optimizer, train_set, val_set)
        show_first_epoch(training.history[0])
        show_test(training, model, test_set)
        console.remember(
            "A step: optimizer.zero_grad(); loss.backward(); optimizer.step()",
            "model.train() for training; model.eval() and no_grad() to look",
            "Choose by held-out images, and look at the test images once.",
        )
        console.say(
            "Exercise: which costs more, --activation none or --momentum 0? "
            "And both together? Guess, then run them."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
