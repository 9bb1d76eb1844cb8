"""Transforms: from a picture to numbers that a network can use.

Most pictures hold whole numbers from 0 to 255: how much red, green and blue
each pixel has. A network is a program that learns from examples. It takes
float32 tensors, channels first; many at once must all have one size.
For channel c, row i and column j:
    ToTensor:   image[c, i, j] = pixels[i, j, c] / 255
    Normalize:  (image[c] - mean[c]) / std[c]
A random transform can give another result each time it is called.

    python cli.py transforms-demo --image PATH
"""

import torch
import typer
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2

from shared import console
from shared.board import board
from shared.datasets.pictures import own_or_photograph
from shared.figures import pictures_figure
from shared.options import LOGS, LogDir, Picture

WORDS = {
    "transform": "a function that makes a picture into another, or a tensor",
    "normalise": "subtract a mean, divide by std (standard deviation: spread)",
    "augmentation": "random transforms in training: one picture, many looks",
}
RED, WHITE, BLACK, ORANGE = [255, 0, 0], [255] * 3, [0] * 3, [204, 102, 51]
PIXELS = torch.tensor([[RED, WHITE], [BLACK, ORANGE]], dtype=torch.uint8)
PICTURE = torch.arange(9.0).view(1, 3, 3)
HALF = torch.tensor([0.5, 0.5, 0.5])


# ---- By hand ----------------------------------------------------------------
def to_tensor(pixels: Tensor) -> Tensor:
    """Whole numbers (H, W, C) become an image (C, H, W) from 0 to 1."""
    return pixels.permute(2, 0, 1).float() / 255


def normalize(image: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """mean, std: one number a channel, (C,). None adds a size of 1."""
    return (image - mean[:, None, None]) / std[:, None, None]  # (C, 1, 1)


def crop_and_flip(image: Tensor, size: int) -> Tensor:
    """... in an index stands for all dimensions before rows and columns."""
    top = torch.randint(0, image.size(-2) - size + 1, (1,)).item()
    left = torch.randint(0, image.size(-1) - size + 1, (1,)).item()
    window = image[..., top : top + size, left : left + size]
    return window.flip(-1) if torch.rand(1) < 0.5 else window


# ---- Mistakes ---------------------------------------------------------------
def wrong_white() -> Tensor:
    """White should be 1. ToDtype alone leaves 255: (255 - 0.5) / 0.5 = 509."""
    white = torch.full((1, 1, 1), 255, dtype=torch.uint8)
    image = v2.ToDtype(torch.float32)(white)
    return v2.Normalize([0.5], [0.5])(image)


def right_white() -> Tensor:
    """scale=True divides uint8 by 255 (float32 it leaves alone)."""
    white = torch.full((1, 1, 1), 255, dtype=torch.uint8)
    image = v2.ToDtype(torch.float32, scale=True)(white)
    return v2.Normalize([0.5], [0.5])(image)


def wrong_night() -> Tensor:
    """Day and night come out the same. Each was normalised with its own mean
    and std, and it can't be seen any more that night is half as bright."""
    day = torch.tensor([[[0.25, 0.5, 0.75]]])
    both = [v2.Normalize([x.mean()], [x.std()])(x) for x in (day, day / 2)]
    return torch.cat(both, 1)  # day, then night


def right_night() -> Tensor:
    """the same mean and std for all, of the pictures that you train with: here
    of day. The root of (0.25**2 + 0 + 0.25**2) / (3 - 1) is 0.25."""
    day = torch.tensor([[[0.25, 0.5, 0.75]]])
    normal = v2.Normalize([day.mean()], [day.std()])  # 0.5 and 0.25
    return torch.cat([normal(day), normal(day / 2)], 1)


def wrong_exam() -> Tensor:
    """Five tests of one picture see different pixels. A network can answer
    differently each time: chance has a say in how good it seems."""
    transform = v2.RandomCrop(1)  # for training, and for testing
    return torch.cat([transform(PICTURE) for _ in range(5)], 2)


def right_exam() -> Tensor:
    """a second transform for testing, with nothing random in it: CenterCrop in
    place of RandomCrop; no random flip, rotation, grey or ColorJitter."""
    transform = v2.CenterCrop(1)  # for testing alone
    return torch.cat([transform(PICTURE) for _ in range(5)], 2)


def wrong_size() -> Tensor:
    """A white picture is mostly black. CenterCrop fills up with 0: white is
    32 * 48 / (64 * 64) = 0.375 of it. RandomCrop(64) would raise an error."""
    white = torch.ones(3, 32, 48)
    return v2.CenterCrop(64)(white).mean()


def right_size() -> Tensor:
    """Resize(64) first: then the shorter side is 64; nothing is missing."""
    white = torch.ones(3, 32, 48)
    return v2.Compose([v2.Resize(64), v2.CenterCrop(64)])(white).mean()


# ---- The lesson -------------------------------------------------------------
def show_paper_case() -> None:
    console.section("A picture small enough for paper")
    console.say(
        f"PIXELS has 2 rows and 2 columns: red {RED}, white {WHITE}; black "
        f"{BLACK}, orange {ORANGE}. Its shape is (2, 2, 3)."
    )
    console.code(to_tensor, normalize)
    console.ask("What becomes of orange's red, 204, with mean 0.5 and std 0.5?")
    image = to_tensor(PIXELS)
    made = {"image": image, "normalised": normalize(image, HALF, HALF)}
    for name, (red, green, blue) in made.items():
        console.matrices({f"{name}, red": red, "green": green, "blue": blue})
    console.say(
        "Orange's red: 204 / 255 = 0.8, and (0.8 - 0.5) / 0.5 = 0.6. So x "
        "becomes 2 * x - 1, and 0 to 1 becomes -1 to 1. What for? Let w and b "
        "be 0, v a number of a pixel, and w * v + b meant to be 1. The loss (w "
        "* v + b - 1)**2 has the gradients -2 * v and -2. After one step with "
        "lr = 0.1, w is 0.2 * v, b is 0.2, and w * v + b is 0.2 * v * v + 0.2: "
        "for v = 0.6 that is 0.272, nearer to 1; for v = 204 it is 8323.4."
    )


def check(pictures: dict[str, Tensor]) -> None:
    ours = {n: normalize(to_tensor(p), HALF, HALF) for n, p in pictures.items()}
    scaled, half = v2.ToDtype(torch.float32, True), v2.Normalize(HALF, HALF)
    ways = {"v1": [v1.ToTensor(), half], "v2": [v2.ToImage(), scaled, half]}
    console.say(
        "Older programs use torchvision.transforms (v1): ToTensor(). New ones "
        "use its v2: ToImage(), then ToDtype(torch.float32, scale=True). Both "
        "have the others, too, and Compose, which calls several in turn."
    )
    for name, way in ways.items():
        theirs = {n: v2.Compose(way)(p.numpy()) for n, p in pictures.items()}
        named = f"by hand = {name} ({', '.join(pictures)})"
        console.agrees(named, ours, theirs, 1e-6)


def transformed(image: Tensor) -> dict[str, Tensor]:
    small = v2.Resize(64)(image)  # the shorter side; the other follows
    middle = v2.CenterCrop(64)(small)
    return {
        "1 small": small,
        "2 square": v2.Resize((64, 64))(image),
        "3 the middle": middle,
        "4 a window": v2.RandomCrop(48)(middle),
        "5 mirrored": v2.RandomHorizontalFlip(p=1)(middle),  # p: probability
        "6 rotated": v2.RandomRotation((20, 45))(middle),  # degrees
        "7 colours": v2.ColorJitter(brightness=0.5, hue=0.2)(middle),
        "8 grey": v2.RandomGrayscale(p=1)(middle),
    }


def show_photograph(image: Tensor) -> dict[str, Tensor]:
    short, long = sorted(image.shape[1:])
    console.section(f"Eight transforms of a picture read as {short} x {long}")
    console.code(transformed)
    console.ask("How long is the longer side of picture 1?")
    named = transformed(image)
    console.pictures(named, "transforms", width=18)
    console.say(
        f"Picture 1: 64 * {long} // {short} = {max(named['1 small'].shape)}. "
        "But for rounding down, Resize(64) keeps the ratio; Resize((64, 64)) "
        "makes a square of everything. 4, 6 and 7 are random (brightness=0.5: "
        "0.5 to 1.5 times as bright); p=1 makes 5 and 8 certain."
    )
    return named


def show_looks() -> None:
    console.section("Augmentation: how many looks has a picture?")
    console.code(crop_and_flip)
    console.ask("Windows of 2 x 2 from 3 x 3, mirrored or not: how many?")
    torch.manual_seed(0)
    ours = torch.cat([crop_and_flip(PICTURE, 2) for _ in range(1000)])
    looks = {f"look {n}": ours[n - 1] for n in range(1, 6)}
    console.matrices({"PICTURE": PICTURE[0]} | looks)
    console.say(
        "A window has 2 * 2 places, mirrored or not: 2 * 2 * 2 = 8 looks. 1,000"
        f" calls made {len(ours.unique(dim=0))}. A Dataset calls its transform "
        "in __getitem__: an example can look new each time. Its label must "
        "stay true: a mirrored 3 is no 3."
    )
    torch.manual_seed(0)  # the same random numbers again
    both = v2.Compose([v2.RandomCrop(2), v2.RandomHorizontalFlip(p=0.5)])
    theirs = torch.cat([both(PICTURE) for _ in range(1000)])
    console.agrees("crop_and_flip = RandomCrop, then flip", ours, theirs, 0)


def run(image: Picture = None, logdir: LogDir = LOGS) -> None:
    """Make a picture a tensor, and one picture many."""
    picture = own_or_photograph(image, "china")
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    noise = torch.randint(0, 256, (7, 5, 3), dtype=torch.uint8)
    check({"PIXELS": PIXELS, "photo": picture, "random": noise})
    named = show_photograph(to_tensor(picture))
    show_looks()
    console.mistakes(__name__)
    console.remember(
        "import torch; from torchvision.transforms import v2; half = [0.5] * 3",
        "end = v2.ToDtype(torch.float32, scale=True), v2.Normalize(half, half)",
        "train = v2.Compose([v2.ToImage(), v2.Resize(36), v2.RandomCrop(32),"
        " *end])",
    )
    console.say(
        "train takes RGB pictures, such as picture.convert('RGB'). For "
        "testing, CenterCrop(32) in place of RandomCrop(32). Normalize is "
        "last: others, such as ColorJitter, expect 0 to 1. half suits any "
        "picture; with the mean((0, 2, 3)) and std((0, 2, 3)) of your training "
        "images (N, C, H, W) these get mean 0 and std 1.\n"
        "Exercise: a transform to 32 x 32 that keeps the ratio and cuts "
        "nothing off, for sides up to 32 : 1. Mistake 4 is one half, "
        "help(v2.Resize) has the other. torch.ones(3, 427, 640), white, must "
        "get the mean 21 / 32: 21 of 32 rows are white."
    )
    looks = {str(n): crop_and_flip(named["1 small"], 48) for n in range(1, 13)}
    with board("transforms-demo", logdir, "IMAGES: transforms, looks") as log:
        log.add_figure("transforms", pictures_figure(named, "8 transforms"))
        log.add_figure("looks", pictures_figure(looks, "12 looks of picture 1"))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
