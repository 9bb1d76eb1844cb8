"""Begin with a network that others have trained.

ResNet18 learned from 1.28 million photographs of 1,000 classes. Its last
layer, the head, gives a number for each class; the rest is its backbone.
You have other classes, and few images: put a new head on that backbone.
Freeze the backbone, and only the head learns.

    python cli.py pretrained-demo --step
"""

from copy import deepcopy
from typing import Annotated, Literal

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import ResNet18_Weights

from shared import console, figures
from shared.board import board
from shared.datasets.pictures import own_or_photograph
from shared.options import LOGS, LogDir, Picture
from shared.practice import ready_made, tuning
from shared.practice.ready_made import counted, gradients, vgg_on_paper
from shared.practice.tuning import learn, normalise, read_right

WORDS = {
    "pretrained": "trained before, by others, on many other images",
    "fine-tune": "go on training a pretrained network, on your own images",
    "head": "the last layer: a number for each class comes out of it",
    "backbone": "all of the network before its head",
    "freeze": "keep parameters as they are: they get no gradient",
}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # red, green, blue
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
Weights = Annotated[
    Literal["none", "imagenet"], typer.Option(help="imagenet: a 47 MB file.")
]


# ---- By hand ----------------------------------------------------------------
def replace_head(model: nn.Module, classes: int) -> str:
    """Put a new linear layer in the place of the last; return its name."""
    layers = dict(model.named_modules())  # "classifier.6": Linear(...)
    name = [n for n, m in layers.items() if isinstance(m, nn.Linear)][-1]
    assert name, "the model is itself a linear layer"
    place, _, last = name.rpartition(".")  # "classifier", "6"
    old = layers[name]
    new = nn.Linear(old.in_features, classes, old.bias is not None)
    setattr(layers[place], last, new.to(old.weight))  # its device and dtype
    return name


def preprocess(picture: Tensor) -> Tensor:
    """(3, H, W) uint8 to (3, 224, 224), as ResNet18's weights want it."""
    height, width = picture.shape[1:]
    short = min(height, width)  # this side becomes 256
    size = 256 * height // short, 256 * width // short
    pixels = picture[None].float()  # (1, 3, H, W)
    pixels = interpolate(pixels, size, mode="bilinear", antialias=True)
    top, left = (round((side - 224) / 2) for side in size)
    pixels = pixels[0, :, top : top + 224, left : left + 224]  # the middle
    return (pixels.round() / 255 - MEAN) / STD


def freeze_but(model: nn.Module, head: str) -> list[str]:
    """Freeze all but the head; return the names of what learns."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(f"{head}."))
    return [n for n, p in model.named_parameters() if p.requires_grad]


# ---- Mistakes ---------------------------------------------------------------
def wrong_seven() -> str:
    """The new layer is never called. VGG's own forward calls features, avgpool
    and classifier. The 10,010 new parameters are counted, and never learn."""
    vgg = vgg_on_paper()
    vgg.add_module("7", nn.Linear(1000, 10, device="meta"))
    return counted(vgg)


def right_seven() -> str:
    """add it to classifier: a Sequential calls in turn all that is in it."""
    vgg = vgg_on_paper()
    vgg.classifier.add_module("7", nn.Linear(1000, 10, device="meta"))
    return counted(vgg)


def wrong_pixels(nets: list, images: Tensor) -> str:
    """The preprocessing is missing. These pixels are in [0, 1], the weights had
    normalised ones. Of 297 digits, five networks read so many right."""
    return read_right(nets, images)


def right_pixels(nets: list, images: Tensor) -> str:
    """prepare images as those did who trained it: weights.transforms()."""
    return read_right(nets, normalise(images))


def wrong_paper(nets: list, yours: tuple, images: Tensor) -> str:
    """The backbone changed. No parameter did, but each batch in train mode
    moves the running statistics of batch norm. So many of the old digits are
    read right, by the old head: a program that serves both tasks is broken."""
    for net in (nets := deepcopy(nets)):
        old = net[3]
        freeze_but(net, replace_head(net, 2))
        learn(net.train(), 1 - yours[0], yours[1])  # 1 - ...: black on white
        net[3] = old
    return read_right(nets, normalise(images))


def right_paper(nets: list, yours: tuple, images: Tensor) -> str:
    """call eval() on what is frozen, after each train() of the network."""
    for net in (nets := deepcopy(nets)):
        old = net[3]
        freeze_but(net, replace_head(net, 2))
        net.train()[:3].eval()  # [:3]: the three layers before the head
        learn(net, 1 - yours[0], yours[1])
        net[3] = old
    return read_right(nets, normalise(images))


# ---- The lesson -------------------------------------------------------------
def show_heads() -> None:
    console.section("On paper: VGG16 gets a head for ten classes")
    console.code(replace_head)
    console.ask("Linear(4096, 1000) goes, Linear(4096, 10) comes. Smaller by?")
    plain, longer, ours, theirs = (vgg_on_paper() for _ in range(4))
    longer.classifier.append(nn.Linear(1000, 10, device="meta"))
    replace_head(ours, 10)
    theirs.classifier[6] = nn.Linear(4096, 10, device="meta")
    ways = {"as it is": plain, "append a layer": longer, "replace it": ours}
    console.table(["head", ""], [(n, counted(vgg)) for n, vgg in ways.items()])
    console.say(
        "n inputs, m outputs: n * m weights and m biases. 4096 * 1000 + 1000 = "
        "4,097,000 go, 4096 * 10 + 10 = 40,970 come: 138,357,544 - 4,097,000 + "
        "40,970 = 134,301,514. That is only 3% less: 102,764,544 are in the "
        "first linear layer, 25088 * 4096 + 4096. Appended, Linear(1000, 10) "
        "brings 10,010 more. Device meta has shapes without numbers: no memory."
    )
    pair = ([p.numel() for p in m.parameters()] for m in (ours, theirs))
    what = "sizes = those after classifier[6] = nn.Linear(4096, 10)"
    console.agrees(what, *map(torch.tensor, pair), 0)


def show_picture(model: nn.Module, picture: Tensor) -> Tensor:
    console.section("ResNet18's weights want a picture prepared")
    console.code(preprocess)
    console.ask("300 rows, 400 columns, all 128. What is left, which numbers?")
    grey = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    ours, prepared = preprocess(grey), preprocess(picture)
    console.say(
        "256 rows, 256 * 400 // 300 = 341 columns; of both the middle 224, "
        "from column round((341 - 224) / 2) = 58 on. 128 / 255 = 0.50196, and "
        f"red is (0.50196 - 0.485) / 0.229 = {ours[0, 0, 0]:.3f}."
    )
    theirs = ResNet18_Weights.DEFAULT.transforms()
    console.agrees("all 128: preprocess = transforms", ours, theirs(grey), 1e-5)
    console.agrees("the picture, too", prepared, theirs(picture), 1e-5)
    three = ready_made.three(model, prepared)
    console.say(f"Highest of 1,000 classes (guessing: 0.1% each): {three}.")
    return prepared


def show_freezing(model: nn.Module, image: Tensor) -> None:
    console.section("What freezing saves: ResNet18 and ten classes")
    console.code(freeze_but)
    console.ask("How many of its 11,689,512 parameters will learn?")
    head = replace_head(model, 10)
    rows = [("all layers", *gradients(model, image))]
    freeze_but(model, head)
    rows.append(("the head", *gradients(model, image)))
    console.table(["learns", "tensors", "parameters", "gradients"], rows)
    console.say(
        "Its head had 512 * 1000 + 1000 = 513,000, the new one has 512 * 10 + "
        "10 = 5,130: 11,689,512 - 513,000 + 5,130 = 11,181,642. A gradient "
        "takes 4 bytes, and Adam keeps two numbers more. Not saved: an image "
        "still goes through every layer."
    )


def adapt(net: nn.Module, way: str) -> None:
    head = replace_head(net.train(), 2)
    if way == "head only":
        freeze_but(net, head)
        net[:3].eval()  # the last mistake shows why


def show_tuning(nets: list[nn.Module]) -> Figure:
    console.section("Measured: is a digit odd or even?")
    console.say(
        "Five small networks have learned to tell 0 to 9, from 1,000 digits. "
        "Fine-tune them to odd or even, in 100 steps: a new head of 64 * 2 + 2 "
        "= 130 parameters, or all 4,418. Five others begin anew, at random."
    )
    console.ask("130 parameters learn, or 4,418: which reads more?")
    right = tuning.measured(["anew", "head only", "all layers"], nets, adapt)
    return figures.spread_figure(tuning.COLUMNS, right)


def run(
    weights: Weights = "none", image: Picture = None, logdir: LogDir = LOGS
) -> None:
    """Give a trained network a new head; keep the rest."""
    console.opening(__doc__)
    console.words(WORDS)
    show_heads()
    picture = own_or_photograph(image, "flower").permute(2, 0, 1)  # (3, H, W)
    model, said = ready_made.resnet(weights)
    prepared = show_picture(model, picture)
    console.say(
        f"ResNet18's numbers are {said}. Older programs ask for pretrained "
        "ones by pretrained=True: a warning says that weights= replaces it."
    )
    show_freezing(model, prepared)
    tuned = show_tuning(nets := tuning.pretrained_nets())
    given = {"nets": nets, "images": tuning.unseen_digits()[0]}
    console.mistakes(__name__, yours=tuning.new_task(40), **given)
    console.remember(
        "import torch, torchvision  # weights=None: random numbers\n"
        'net = torchvision.models.resnet18(weights="DEFAULT")',
        "net.requires_grad_(False); net.fc = torch.nn.Linear(512, 10)",
        "net.eval()  # after each net.train(): batch norm stays as it is",
    )
    console.say(
        "Exercise: let layer4 learn, too. Change freeze_but so that it takes "
        'a list of names: with ["layer4", "fc"], 8,398,858 parameters learn.'
    )
    with board("pretrained-demo", logdir, "IMAGES, both") as writer:
        two = {"picture": picture / 255, "prepared": prepared * STD + MEAN}
        figure = figures.pictures_figure(two, "Resized, its middle cut out", 2)
        writer.add_figure("preprocess", figure)
        writer.add_figure("odd or even", tuned)
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
