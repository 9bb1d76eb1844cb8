"""The whole training loop, on pictures.

A network says what is in a picture; the loss says how wrong it is. Each
step takes a batch of training images and moves the weights a little, to
make the loss of that batch fall. After each epoch the network is tried on
held-out images, which choose the best epoch. The test images are looked at
once, at the end: what does it make of pictures that it has never seen?

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
    "logits": "its output, one number for each class (kind of picture)",
    "loss": "one number for how wrong the network is; training lowers it",
    "batch": "the images of one step",
    "epoch": "one round through the training images, in whole batches",
    "learning rate": "lr: a step is lr times the velocity",
    "momentum": "the share of the velocity that is kept for the next step",
    "held out": "kept out of training, to choose the best epoch by",
}
COLUMNS = {
    "train loss": "the mean over the training images, during the epoch",
    "val loss": "the mean over the held-out images, after it (validation)",
    "val accuracy": "the share of them whose class is found",
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
    """One step of a weight: its new value, and its velocity."""
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
    filters, *kernels = model.net[0].weight.shape  # 32, [3, 5, 5]
    size = math.prod(kernels) + 1
    console.say(
        f"{total:,} parameters are learned: weights, and biases. The first "
        f"Conv2d has {filters} filters of {' x '.join(map(str, kernels))} "
        f"numbers and a bias: {filters} * {size} = {filters * size:,}. "
        "Normalize brings each channel to mean 0 and spread 1, MaxPool2d "
        "keeps the largest of each 2 x 2 numbers, Flatten lays a picture's "
        "numbers in a row. The class with the highest logit is the answer."
    )


def show_loss(model: nn.Module, batch: Batch, epochs: int) -> None:
    console.section("The loss of one image, and of knowing nothing")
    images, labels = batch
    with torch.no_grad():
        logits = model(images)  # (N, classes)
    shown = " ".join(f"{logit:.2f}" for logit in logits[0, :10])
    own = logits[0, labels[0]] - logits[0].logsumexp(0)  # ln of softmax
    console.say(
        f"Image 1's logits: {shown}. Softmax makes probabilities of them: e "
        "to the power of each, divided by the sum of these. Its own class "
        f"gets {own.exp():.6f}; its loss is −ln of that, {abs(own):.4f}."
    )
    theirs = F.cross_entropy(logits[:1], labels[:1])
    console.agrees("−ln = F.cross_entropy", -own, theirs, 1e-5)
    console.ask("What is the loss of a network that knows nothing?")
    loss, classes = F.cross_entropy(logits, labels), logits.size(1)
    console.say(
        f"Who knows nothing gives each of {classes} classes 1/{classes}, and "
        f"−ln(1/{classes}) is {math.log(classes):.2f}. A loss near that has "
        f"learned nothing. This batch's, after {epochs} epochs: {loss:.2f}."
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
    by_hand, weights = steps[-1][-1], model.net[-1].weight
    console.say(
        f"lr is {lr:g}, momentum {momentum:g}. That is the weight with the "
        f"largest gradient; all {weights.numel()} are compared with "
        "PyTorch's optimizer, torch.optim.SGD, which does it to every weight."
    )
    if by_hand.isfinite().all():  # with an absurd lr they are not
        allowed = 1e-5 * by_hand.abs().max().item()
        console.agrees("by hand = optimizer.step()", by_hand, weights, allowed)


def show_loop() -> None:
    console.section("The loop")
    console.say(
        "Without torchrun replica is the model itself; in float32 autocast "
        "does nothing; track keeps the loss for the table."
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
    console.say(
        f"Epoch 1: train loss {first['train_loss']:.2f}, val loss "
        f"{first['val_loss']:.2f}. Train loss was measured while the network "
        "learned, val loss afterwards."
    )
    lowest = min(history, key=lambda row: row["val_loss"])
    if lowest["val_loss"] >= math.log(classes):
        console.say("Val loss is no better than that of knowing nothing.")
    elif last["train_loss"] < lowest["val_loss"] < last["val_loss"]:
        console.say(
            f"Since epoch {lowest['epoch']} val loss has risen from "
            f"{lowest['val_loss']:.2f} to {last['val_loss']:.2f}, while train "
            f"loss fell to {last['train_loss']:.2f}: the network knows its "
            "training images better than new ones, it overfits. That is why "
            "held-out images choose the epoch."
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
            "Exercise: guess what --activation none, --momentum 0 and both "
            "cost in val accuracy; then run each, with --seed 0 and 1. "
            "(Without ReLU the network isn't linear: MaxPool2d bends, too.)"
        )
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
