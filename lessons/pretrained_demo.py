"""Begin with a network that others have trained.

ResNet18 learned from ImageNet: 1.28 million photographs of 1,000 classes.
Its last layer, the head, gives a number for each class; the rest is its
backbone. You have other classes, and few images: put a new head on that
backbone, and freeze the backbone, so that only the head learns.

    python cli.py pretrained-demo --step
"""

from copy import deepcopy

import torch
import typer
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.models import ResNet18_Weights

from shared import console, figures
from shared.board import board
from shared.datasets.pictures import own_or_photograph
from shared.options import LOGS, LogDir, Picture
from shared.practice import ready_made, tuning
from shared.practice.ready_made import Weights, counted, sizes, vgg_on_paper

WORDS = {
    "pretrained": "trained before, by others, on many other images",
    "fine-tune": "go on training a pretrained network, on your own images",
    "head": "the last layer: a number for each class comes out of it",
    "backbone": "all of the network before its head",
    "freeze": "keep parameters as they are: they get no gradient",
}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)  # red, green, blue
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


# ---- By hand ----------------------------------------------------------------
def replace_head(model: nn.Module, classes: int) -> str:
    """Put a new linear layer in the place of the last; return its name."""
    layers = dict(model.named_modules())  # its own name is ""
    names = [n for n, m in layers.items() if isinstance(m, nn.Linear)]
    assert any(names), "there is no linear layer in this model"
    outer, _, inner = names[-1].rpartition(".")  # "classifier", "6"
    old = layers[names[-1]]
    new = nn.Linear(old.in_features, classes, bias=old.bias is not None)
    setattr(layers[outer], inner, new.to(old.weight))  # device and dtype
    return names[-1]


def preprocess(picture: Tensor) -> Tensor:
    """(3, H, W) uint8 to (3, 224, 224), as ResNet18's weights want it."""
    short = min(picture.shape[1:])  # this side becomes 256
    size = [256 * side // short for side in picture.shape[1:]]
    pixels = picture[None].float()  # (1, 3, H, W)
    pixels = interpolate(pixels, size, mode="bilinear", antialias=True)
    top, left = (round((side - 224) / 2) for side in size)
    pixels = pixels[0, :, top : top + 224, left : left + 224]  # the middle
    return (pixels.round() / 255 - MEAN) / STD  # ImageNet's, of each colour


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
    """append it to classifier, a Sequential: there it reads 1,000 logits."""
    vgg = vgg_on_paper()
    vgg.classifier.add_module("7", nn.Linear(1000, 10, device="meta"))
    return counted(vgg)


def wrong_pixels(nets: list, images: Tensor) -> str:
    """These pixels are not normalised. They are from 0 to 1. Five networks that
    learned from normalised ones read so many of 297 unseen digits right."""
    return tuning.read_right(nets, images)


def right_pixels(nets: list, images: Tensor) -> str:
    """prepare images as in training (preprocess does it for ResNet18)."""
    return tuning.read_right(nets, (images - 0.31) / 0.38)


def wrong_paper(nets: list, yours: tuple, images: Tensor) -> str:
    """Train mode moved the running statistics, though no parameter of the
    backbone changed. They are those of black on white now, and the old head
    reads so many digits right. After 40 white on black it still reads 96%."""
    nets = deepcopy(nets)
    for net in nets:  # net[3] is its head
        new = net[:3].append(nn.Linear(64, 2))  # another on the same backbone
        freeze_but(new, "3")
        tuning.learn(new.train(), 1 - yours[0], yours[1])  # black on white
    return tuning.read_right(nets, tuning.normalise(images))


def right_paper(nets: list, yours: tuple, images: Tensor) -> str:
    """call eval() on what is frozen, after each train() of the network. The new
    task may pay: from 320 digits its head reads 85% right, 90% without."""
    nets = deepcopy(nets)
    for net in nets:
        new = net[:3].append(nn.Linear(64, 2))
        freeze_but(new, "3")
        new.train()[:3].eval()
        tuning.learn(new, 1 - yours[0], yours[1])
    return tuning.read_right(nets, tuning.normalise(images))


# ---- The lesson -------------------------------------------------------------
def show_heads() -> None:
    console.section("On paper: VGG16 gets a head for ten classes")
    console.code(replace_head)
    console.ask("Linear(4096, 1000) goes, Linear(4096, 10) comes. Smaller by?")
    plain, ours, theirs = (vgg_on_paper() for _ in range(3))
    replace_head(ours, 10)
    rows = [("for 1,000", counted(plain)), ("for ten", counted(ours))]
    theirs.classifier[6] = nn.Linear(4096, 10, device="meta")
    console.table(["head", "VGG16, older than ResNet18, has"], rows)
    console.say(
        "n inputs, m outputs: n * m weights and m biases. 4096 * 1000 + 1000 = "
        "4,097,000 go, 4096 * 10 + 10 = 40,970 come: 4,056,030 less. That is "
        "only 3% of VGG16: its classifier[0] reads 512 * 7 * 7 = 25088 numbers "
        "and has 25088 * 4096 + 4096 = 102,764,544. (On device meta, as VGG16 "
        "is here, tensors have shapes, but no numbers.)"
    )
    what = "all sizes as with classifier[6] = nn.Linear(4096, 10)"
    console.agrees(what, sizes(ours), sizes(theirs), 0)


def show_picture(model: nn.Module, picture: Tensor) -> Tensor:
    console.section("ResNet18's weights want a picture prepared")
    console.code(preprocess)
    console.ask("300 rows, 400 columns, all 128: which columns stay? what red?")
    grey = torch.full((3, 300, 400), 128, dtype=torch.uint8)
    ours, prepared = preprocess(grey), preprocess(picture)
    console.say(
        "256 rows, 256 * 400 // 300 = 341 columns; of both the middle 224, "
        "here columns 58 to 281: (341 - 224) / 2 = 58.5, and round() goes to "
        "the even number. 128 / 255 = 0.50196; ImageNet's reds have mean 0.485 "
        f"and std 0.229: (0.50196 - 0.485) / 0.229 = {ours[0, 0, 0]:.3f}."
    )
    theirs = ResNet18_Weights.DEFAULT.transforms()
    console.agrees("all 128: preprocess = transforms", ours, theirs(grey), 1e-5)
    console.agrees("the picture, too", prepared, theirs(picture), 1e-5)
    three = ready_made.three(model, prepared)
    console.say(f"The most probable classes (guessing: 0.1% each): {three}.")
    return prepared


def show_freezing(model: nn.Module, image: Tensor) -> None:
    console.section("What freezing saves: ResNet18 and ten classes")
    console.code(freeze_but)
    console.ask("With a new head, all else frozen: how many parameters learn?")
    head = replace_head(model, 10)
    rows = [("all layers", *ready_made.gradients(model, image))]
    freeze_but(model, head)
    rows.append(("the head", *ready_made.gradients(model, image)))
    heads = ["learns", "tensors", "parameters", "gradients", "kept"]
    console.table(heads, rows)
    console.say(
        "11,689,512 were there; 512 * 1000 + 1000 go, 512 * 10 + 10 = 5,130 "
        "come. A gradient takes 4 bytes: 11,181,642 * 4 is 44.727 MB. Kept for "
        "backward, for each image, is what layers read: 512 numbers if only "
        "the head learns. But forward still goes through every layer."
    )


def adapt(net: nn.Module, classes: int, way: str) -> None:
    head = replace_head(net.train(), classes)
    if way == "head only":
        freeze_but(net, head)
        net[:3].eval()  # the last mistake shows why


def show_tuning(nets: list[nn.Module]) -> dict[str, Tensor]:
    console.section("Measured: a near task and a far one")
    console.say(
        "Five small networks read 0 to 9: Linear(64, 64), batch norm, ReLU and "
        "a head. Fine-tune them, in 100 steps, to tell odd from even: head "
        "only, 64 * 2 + 2 = 130 parameters, all: 64 * 64 + 64 + 2 * 64 more. "
        "Others know only 0 to 4 and learn 5 to 9. Those anew start at random."
    )
    console.ask("20 digits, odd or even: which is ahead, head only or all?")
    right = tuning.measured(["anew", "all layers", "head only"], nets, adapt)
    console.say(
        "Guessing: 50, and 20 for 5 to 9. Odd or even is near, and few digits "
        "are enough. The old head needs none: ask only whether the digit that "
        f"it reads is odd, and {tuning.odd_by_digit(nets)} are right. 5 to 9 "
        "are far: head only does worse than anew, all layers no better."
    )
    return right


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
    console.say(said)
    show_freezing(model, prepared)
    tuned = show_tuning(nets := tuning.pretrained_nets())
    console.mistakes(__name__, **tuning.given(nets))
    console.remember(
        "import torch, torchvision.models as models\n"
        'net = models.resnet18(weights="DEFAULT")  # None: random numbers\n'
        "prepare = models.ResNet18_Weights.DEFAULT.transforms()",
        "net.requires_grad_(False); net.fc = torch.nn.Linear(512, 10)",
        "net.eval()  # after each net.train(), while all but fc is frozen",
    )
    console.say(
        "Exercise: let only layer4 and fc learn, only they in train mode. "
        "Check: 8,398,858 parameters require grad; net(torch.rand(2, 3, 64, "
        "64)) adds 1 to net.layer4[0].bn1.num_batches_tracked, 0 to net.bn1's."
    )
    with board("pretrained-demo", logdir, "IMAGES: both figures") as writer:
        two = {"picture": picture / 255, "prepared": prepared * STD + MEAN}
        figure = figures.pictures_figure(two, "Resized, its middle cut out", 2)
        writer.add_figure("preprocess", figure)
        writer.add_figure("adapted", tuning.figure(tuned))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
