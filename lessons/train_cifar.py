"""The whole training loop, on pictures.

A network says what is in a picture; the loss says how wrong it is. Each
step takes a batch of training images and moves the weights a little, to
make the loss of that batch fall. After each epoch the network is tried on
held-out images, which choose the best epoch. The test images come last, and
choose nothing: what does it make of pictures that it has never seen?

    python cli.py train-cifar --epochs 2
    python cli.py train-cifar --resume --epochs 4
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
    "CNN": "a network with convolution layers",
    "held out": "kept out of training, to choose the best epoch by",
}
COLUMNS = {
    "train loss": "the mean over the training images, during the epoch",
    "val loss": "the mean over the held-out images, after it (validation)",
    "val accuracy": "the share of them whose label has the highest logit",
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
    """The velocity is a gradient that remembers those before it."""
    velocity = momentum * velocity + gradient
    return weight - lr * velocity, velocity  # against the velocity


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
            loss.backward()  # the gradient of each weight
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
def show_start(
    training: Training, model: nn.Module, train_set: ImageSet, batch: Batch
) -> None:
    """Show eight pictures, the network, and what it makes of one of them."""
    first = train_set.subset(torch.arange(min(8, len(train_set))))
    show_images(training.writer, first, training.step)
    show_network(model, batch[0])
    show_loss(model, batch, epochs=len(training.history))


def show_network(model: nn.Module, images: Tensor) -> None:
    console.section("The network, a CNN, layer by layer, with one batch")
    rows = layer_table([model.normalize, *model.net], images)
    console.table(["layer", "shape after it", "parameters"], rows)
    total = sum(parameter.numel() for parameter in model.parameters())
    console.say(
        f"{total:,} parameters are learned. Each of the first Conv2d's 32 "
        "filters has 3 * 5 * 5 weights and a bias: 32 * (75 + 1) = 2,432. "
        "Normalize brings each channel of the training images to mean 0 and "
        "standard deviation 1, MaxPool2d keeps the largest of each 2 x 2 "
        "numbers, Flatten lays a picture's numbers in a row. The class with "
        "the highest logit is the answer. sequential-demo builds the network."
    )


def show_loss(model: nn.Module, batch: Batch, epochs: int) -> None:
    console.section("The loss of one image, and of knowing nothing")
    images, labels = batch
    with torch.no_grad():
        logits = model(images)  # (N, classes)
    shown = " ".join(f"{logit:.4f}" for logit in logits[0, :10])
    powers = logits[0].double().exp()
    own = powers[labels[0]] / powers.sum()
    console.say(
        f"Image 1 has the label {labels[0]} and the logits {shown}, counted "
        "from 0. Softmax makes probabilities of them: e to the power of each, "
        f"divided by the sum of these. The label gets {own:.5f}; the loss is "
        f"−ln of that, {abs(own.log()):.4f}."
    )
    theirs = F.cross_entropy(logits[:1], labels[:1])
    console.agrees("−ln = F.cross_entropy", -own.log(), theirs, 1e-5)
    console.ask("What is the loss of a network that knows nothing?")
    loss, classes = F.cross_entropy(logits, labels), logits.size(1)
    console.say(
        f"Who knows nothing gives each of {classes} classes 1/{classes}, and "
        f"−ln(1/{classes}) is {math.log(classes):.2f}. A new network is near "
        f"that. This batch's mean loss, after {epochs} epochs: {loss:.2f}."
    )


def take_two_steps(
    model: nn.Module, batch: Batch, lr: float, momentum: float
) -> list[list[Tensor]]:
    """Of each: the loss; the last weights, gradient, velocity, new weights.

    The optimizer changes the model; the new weights are those by hand.
    """
    images, labels = batch
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum)
    weights = model.net[-1].weight  # (classes, 64)
    by_hand, velocity = weights.detach().clone(), torch.zeros_like(weights)
    steps = []
    for _ in range(2):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        gradient, before = weights.grad, by_hand
        by_hand, velocity = sgd_step(before, gradient, velocity, lr, momentum)
        optimizer.step()
        steps.append([loss.detach(), before, gradient, velocity, by_hand])
    return steps


def show_steps(
    model: nn.Module, batch: Batch, lr: float, momentum: float
) -> None:
    console.section("Two steps by hand, for the last layer's weights")
    console.code(sgd_step)
    model = copy.deepcopy(model)
    steps = take_two_steps(model, batch, lr, momentum)
    shown = steps[0][2].abs().argmax()  # where the first gradient is largest
    rows = [
        [f"{loss:.4f}", *(f"{tensor.flatten()[shown]:.6f}" for tensor in rest)]
        for loss, *rest in steps
    ]
    titles = ["loss before", "weight", "gradient", "velocity", "weight after"]
    console.table(titles, rows)
    (before, *_), (after, *_, by_hand) = steps
    console.say(
        f"On a copy of the network, from velocity 0; lr is {lr:g}, momentum "
        f"{momentum:g}. The first step {'raised' if after > before else 'cut'} "
        f"the loss of this batch from {before:.4f} to {after:.4f}. That is the "
        f"weight with the largest gradient; all {by_hand.numel()} are compared "
        "with the optimizer torch.optim.SGD, which moves every weight so."
    )
    if by_hand.isfinite().all():  # with an absurd lr they are not
        allowed = 1e-5 * by_hand.abs().max().item()
        console.agrees("by hand = SGD", by_hand, model.net[-1].weight, allowed)


def show_loop() -> None:
    console.section("The loop")
    console.say(
        "Read replica as model and skip autocast: both are for larger "
        "machines. no_grad: a try needs no gradients. argmax(1): the class of "
        "the highest logit. To see it go wrong: python cli.py pitfalls-demo"
    )
    console.code(train, evaluate)
    console.say("The table has a row for each epoch:")
    for column, meaning in COLUMNS.items():
        console.say(f"  {column}: {meaning}")
    console.ask("After epoch 1, which is lower: train loss or val loss?")
    console.ask("Which class will be hardest? What will it be taken for?")


def show_history(history: list[dict[str, float]], classes: int) -> None:
    """Say what the table's first and last rows mean."""
    first, last = history[0], history[-1]
    train_loss, val_loss = first["train_loss"], first["val_loss"]
    lower = "val" if val_loss < train_loss else "train"
    console.say(
        f"Epoch 1: {lower} loss is lower ({train_loss:.4f} in training, "
        f"{val_loss:.4f} held out). Train loss is a mean over the epoch, its "
        "first steps included; val loss comes after the last."
    )
    lowest = min(history, key=lambda row: row["val_loss"])
    if last["val_loss"] > 0.99 * math.log(classes):
        console.say(
            f"Val loss is still near ln {classes}: hardly anything is learned. "
            "Try more epochs, or another --lr."
        )
    elif last["val_loss"] > 1.2 * lowest["val_loss"]:
        console.say(
            f"Since epoch {lowest['epoch']} val loss has risen from "
            f"{lowest['val_loss']:.4f} to {last['val_loss']:.4f}, train loss "
            f"is {last['train_loss']:.4f}: the network knows its training "
            "images better than new ones. It overfits; so held-out images "
            "choose the epoch (here by accuracy)."
        )


def show_test(
    training: Training, model: nn.Module, test_set: ImageSet | None
) -> None:
    """Try the best epoch's weights on images that have chosen nothing."""
    best = training.load_best()
    console.section("The test images, at the end")
    console.say(
        f"The weights are those of epoch {best['epoch']}, with the highest "
        f"val accuracy: {best['val_accuracy']:.1%}."
    )
    if test_set is None:
        console.say("There is no folder test/, so they go untested.")
        return training.end()
    _, predictions = evaluate(model, test_set)
    accuracy = test_set.accuracy(predictions)
    console.say(f"It gets {accuracy:.1%} of the test images right.")
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
        batch = train_set[:batch_size]
        show_start(training, model, train_set, batch)
        show_steps(model, batch, lr, momentum)
        show_loop()
        train(training, model, optimizer, train_set, val_set)
        show_history(training.history, len(train_set.classes))
        show_test(training, model, test_set)
        console.remember(
            "optimizer = torch.optim.SGD(model.parameters(), lr, momentum)",
            "loss = F.cross_entropy(model(images), labels)  # of a batch",
            "optimizer.zero_grad(); loss.backward(); optimizer.step()",
        )
        console.say(
            "Exercise: if the gradient never changed, how large would the "
            "velocity grow with momentum 0.9? Which --lr then makes up for "
            "--momentum 0? Try it with --epochs 2."
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
