"""A few pictures of yours, and a network that has seen many others.

Transfer learning: take a network that was trained for another task, put a
new head on its backbone, and train it for yours. Phase one trains the head
alone: the backbone is frozen. Phase two trains all layers, at a smaller
learning rate, beginning with the best weights of phase one. Does that beat
a network that begins with random numbers? That depends on how many pictures
you have: here it is measured.

    python cli.py train-flowers
    python cli.py train-flowers --data FOLDER --weights imagenet
"""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import replace
from typing import NamedTuple

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torchvision.models import resnet18

from shared import console, options
from shared.datasets import few_pictures
from shared.datasets.class_names import write_class_names
from shared.datasets.image_set import ImageSet
from shared.datasets.sources import Sets
from shared.figures_flowers import show_marked, show_network, show_versions
from shared.models import Normalize
from shared.practice import few_digits, rivals
from shared.practice.rates import one_weight, rates_of
from shared.training import LogDir, Resume, RunFolder, Training
from shared.training.weights import Weights, load_backbone

WORDS = {
    "transfer learning": "to begin a task with what was learned at another",
    "from scratch": "beginning with random numbers",
    "nearest mean": "the class whose mean output is closest to the image's",
}
LOOK = "SCALARS: loss, accuracy; IMAGES: input, predictions; HPARAMS: settings"
MEAN, STD = Tensor([0.485, 0.456, 0.406]), Tensor([0.229, 0.224, 0.225])
HEAD = ("net.10.", "net.12.", "net.fc.")  # CifarNet's; ResNet18's is net.fc
EXERCISE = (
    "Exercise: in a phase between the two, let ResNet18's layer4 learn, too, "
    "and batch norm move there only. Check, for 5 classes: 8,396,293 "
    "parameters learn, and net.bn1.running_mean stays."
)


class Plan(NamedTuple):
    head_epochs: int
    lr: float
    start: nn.Module  # a copy of the model, as it was before it learned


# ---- By hand ----------------------------------------------------------------
def phase(epoch: int, head_epochs: int, lr: float) -> tuple[bool, float]:
    """Does only the head learn in this epoch, and at which learning rate?"""
    if epoch <= head_epochs:
        return True, lr * 0.1 ** ((epoch - 1) // 10)  # StepLR's: 10 and 0.1
    return False, lr / 10


def begin_epoch(model: nn.Module, only: tuple[str, ...] | None) -> None:
    """Freeze all but the parameters whose names begin so; None: nothing."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(only is None or name.startswith(only))
    model.train(only is None)  # eval() freezes batch norm's statistics, too


def nearest_mean(known: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    """For each row of new (M, F): the class whose mean row is the nearest.

    labels (N,) are the classes of the known rows (N, F).
    """
    classes = labels.unique()
    means = torch.stack([known[labels == k].mean(0) for k in classes])
    return classes[torch.cdist(new, means).argmin(1)]


def train(
    training: Training,
    model: nn.Module,
    optimizer: Adam,
    sets: Sets,
    plan: Plan,
) -> None:
    """Both phases in one loop; which it is depends on the epoch alone."""
    train_set, val_set, _ = sets
    before = None
    for epoch in training.epochs():
        only_head, lr = phase(epoch, plan.head_epochs, plan.lr)
        if epoch == plan.head_epochs + 1 > 1:
            turn(training, model, optimizer, plan.start)
        begin_epoch(model, HEAD if only_head else None)
        optimizer.param_groups[0]["lr"] = lr
        if only_head is not before:
            replica, before = training.parallel(model), only_head
        for images, labels in training.batches(train_set, epoch):
            loss = F.cross_entropy(replica(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()  # what has no gradient stays as it is
            training.track(loss)
        training.end_epoch(**validate(model, val_set))


def turn(
    training: Training, model: nn.Module, optimizer: Adam, start: nn.Module
) -> None:
    """Between the phases: back to the best weights of phase one."""
    training.load_best()
    optimizer.state.clear()  # Adam's moments belonged to other weights
    check_frozen(model, start)


@torch.no_grad()
def outputs(model: nn.Module, images: ImageSet) -> Tensor:
    """The model's output for each image: logits (N, classes), say."""
    model.eval()
    return torch.cat([model(batch) for batch, _ in images.batches(250)])


def validate(model: nn.Module, images: ImageSet) -> dict[str, float]:
    """The mean loss an image, and the share whose class is found."""
    logits = outputs(model, images)
    loss = F.cross_entropy(logits, images.labels).item()
    return {"val_loss": loss, "val_accuracy": images.accuracy(logits.argmax(1))}


# ---- The lesson -------------------------------------------------------------
def resnet(classes: int) -> nn.Sequential:
    """uint8 images (N, 3, 64, 64) in, logits (N, classes) out."""
    normalize = Normalize(MEAN, STD)  # ImageNet's, whatever the pictures
    net = resnet18(num_classes=classes)
    return nn.Sequential(OrderedDict(normalize=normalize, net=net))


def new_network(data: str | None, classes: int) -> nn.Sequential:
    """Random numbers: CifarNet for digits, ResNet18 for your pictures."""
    net = resnet(classes) if data else few_digits.network()
    return net.to(memory_format=torch.channels_last)


def show_few() -> None:
    console.section("Measured: with how few images does carrying over help?")
    console.say(
        "Five CifarNets know the digits 0 to 4. They are to learn 5 to 9, with "
        "a new head: in one row the last layer, as in pretrained-demo; in all "
        "others, and from here on, CifarNet's two linear layers. Each "
        f"way takes {few_digits.STEPS} steps on the same images; each seed has "
        "its own."
    )
    console.code(begin_epoch)
    console.ask("With 5 images of each class, which of the four is ahead?")
    few_digits.say_where(few_digits.measured(begin_epoch, HEAD))


def show_rates(head_epochs: int, lr: float) -> None:
    console.section("On paper: the learning rate of each epoch")
    console.code(phase)
    console.ask(
        "lr is 0.02, and 20 epochs are the head's. The rate of epoch 1, 11, 21?"
    )
    rates = [phase(epoch, 20, 0.02)[1] for epoch in range(1, 21)]
    ours = torch.tensor(rates, dtype=torch.float64)
    schedule = torch.optim.lr_scheduler.StepLR(one_weight(0.02), 10, 0.1)
    console.say(
        "0.02 at first, 0.02 * 0.1 = 0.002 from epoch 11 on. From epoch 21 on "
        "all layers learn, at 0.02 / 10 = 0.002."
    )
    what = "epochs 1 to 20 = StepLR(optimizer, 10, 0.1)"
    console.agrees(what, ours, rates_of(schedule, 20), 1e-15)
    console.say(
        f"In this run --head-epochs is {head_epochs}, and --lr is {lr:g}."
    )


def show_start(
    training: Training, model: nn.Module, sets: Sets, begun: str
) -> None:
    if not (training.settings["data"] or training.history):
        show_few()
    show_versions(training.writer, sets[0], training.step)
    show_network(model, sets[1].images[:16], begun, HEAD)


def show_loop(start: nn.Module, sets: Sets, digits: bool) -> None:
    console.section("The loop")
    console.code(train)
    console.say(
        "replica is the model. turn loads the weights of the best epoch of "
        "phase one, empties Adam's moments, and checks that the backbone is "
        "what it was. A row for epoch 1, each fifth and the last: train loss, "
        "the mean over its batches; val loss, over the held-out images, after "
        "it; val accuracy, the share of these whose class is found. Mistakes "
        "in such a loop: python cli.py pitfalls-demo"
    )
    val_loss = validate(start, sets[1])["val_loss"]
    rivals.say_guessing(val_loss, len(sets[0].classes), digits)
    console.ask("When all layers learn, will more held-out images be right?")


def check_frozen(model: nn.Module, start: nn.Module) -> None:
    """All but the head is what it was, batch norm's statistics included."""
    ours, theirs = (
        {n: v for n, v in m.state_dict().items() if not n.startswith(HEAD)}
        for m in (model, start)
    )
    console.agrees("phase one left the backbone as it was", ours, theirs, 0)


def by_nearest_mean(start: nn.Module, known: ImageSet, new: ImageSet) -> Tensor:
    """What the backbone alone, before any training, makes of new images."""
    backbone = deepcopy(start)
    for name, _ in start.net.named_children():
        if f"net.{name}.".startswith(HEAD):
            setattr(backbone.net, name, nn.Identity())
    known = replace(known, images=few_pictures.middle(known.images))
    return nearest_mean(
        outputs(backbone, known), known.labels, outputs(backbone, new)
    )


def show_test(
    training: Training, model: nn.Module, sets: Sets, plan: Plan
) -> None:
    """Try the best epoch's weights, and their rivals, on the test images."""
    best, (train_set, val_set, test_set) = training.load_best(), sets
    rivals.say_best(best, training.history, plan.head_epochs)
    console.section("The test images, looked at once, at the end")
    if not test_set:
        console.say(
            "There is no folder test/. The held-out images stand in for it, "
            "and flatter what was trained: they chose the epoch."
        )
    tried = test_set or val_set
    fresh = new_network(training.settings["data"], len(tried.classes))
    rivals.from_scratch(training, fresh.to(training.device), sets, validate)
    found = {
        "the commonest class": rivals.commonest(train_set, tried),
        "nearest mean": by_nearest_mean(plan.start, train_set, tried),
        "from scratch": outputs(fresh, tried).argmax(1),
        "this run": outputs(model, tried).argmax(1),
    }
    kind = "test" if test_set else "held-out"
    shares = rivals.say(found, tried, kind)
    show_marked(training, tried, found["this run"], kind)
    training.end(**({"test_accuracy": shares["this run"]} if test_set else {}))


def first_numbers(model: nn.Module, weights: str | None, seed: int) -> str:
    """Give the backbone what it begins with; say in words what that is."""
    if hasattr(model.net, "fc"):
        return load_backbone(model.net, "fc", weights or "none")
    known = few_digits.pretrained(seed)
    model.load_state_dict(few_digits.with_new_head(known, HEAD).state_dict())
    return "pretrained, on the digits 0 to 4"


def run(
    context: typer.Context,
    run_folder: RunFolder = None,
    resume: Resume = False,
    data: few_pictures.Pictures = None,
    weights: Weights = None,
    head_epochs: few_pictures.HeadEpochs = 5,
    epochs: options.Epochs = 10,
    batch_size: options.BatchSize = 8,
    lr: options.LearningRate = 0.001,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    logdir: LogDir = options.LOGS,
) -> None:
    """Carry a trained network over to pictures of yours."""
    if weights and not data:
        problem = "they are ResNet18's, for pictures of your own: add --data."
        raise typer.BadParameter(problem, param_hint="--weights")
    console.opening(__doc__)
    console.words(WORDS)
    with Training(context, LOOK, every=5) as training:
        where = training.device, limit, seed
        if data:
            sets = few_pictures.load_pictures(data, *where)
        else:
            sets = few_digits.sets(*where)
        torch.manual_seed(seed)
        model, begun = new_network(data, len(sets[0].classes)), "as it was"
        if not training.history:  # a run that goes on has its numbers
            begun = first_numbers(model, weights, seed)
        plan = Plan(head_epochs, lr, deepcopy(model.to(training.device)))
        optimizer = Adam(model.parameters(), lr)
        parts = {"model": model, "optimizer": optimizer, "start": plan.start}
        training.begin(*sets, **parts)
        write_class_names(training.folder, sets[0].classes)
        show_start(training, model, sets, begun)
        show_rates(head_epochs, lr)
        show_loop(plan.start, sets, digits=not data)
        train(training, model, optimizer, sets, plan)
        if len(training.history) <= head_epochs:  # there was no turn
            check_frozen(model, plan.start)
        show_test(training, model, sets, plan)
        console.remember(
            "net = torchvision.models.resnet18(weights='DEFAULT').eval()",
            "net.requires_grad_(False); net.fc = torch.nn.Linear(512, classes)",
            "phase two: net.requires_grad_(True).train(), a tenth of the rate",
        )
        console.say(EXERCISE)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
