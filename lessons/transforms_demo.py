"""Transforms: from a picture to numbers that a network can use.

A picture has any size, and its pixels hold whole numbers from 0 to 255: so
much red, green, blue. A network is a chain of calculations that learns from
pictures. It wants them as float32 tensors of one size, channels first:
    ToTensor:   image[c, i, j] = pixels[i, j, c] / 255
    Normalize:  (image[c] - mean[c]) / std[c]        for each channel c
Random transforms change a picture a little each time it is used.

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
    "transform": "makes of a picture another picture, or a tensor",
    "normalise": "subtract a mean, divide by std (standard deviation: spread)",
    "augmentation": "random transforms: one picture, many looks of it",
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
    """mean and std have a number for each channel: (C,)."""
    return (image - mean[:, None, None]) / std[:, None, None]  # (C, 1, 1)


def crop_and_flip(image: Tensor, size: int) -> Tensor:
    """A random window of size x size, mirrored with probability 0.5."""
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
    """scale=True divides uint8 by 255. (It leaves floats alone. So does v1.)"""
    white = torch.full((1, 1, 1), 255, dtype=torch.uint8)
    image = v2.ToDtype(torch.float32, scale=True)(white)
    return v2.Normalize([0.5], [0.5])(image)


def wrong_night() -> Tensor:
    """Day and night are the same. Each one's own mean took its light away."""
    day = torch.tensor([[[0.25, 0.5, 0.75]]])
    both = [v2.Normalize([x.mean()], [x.std()])(x) for x in (day, day / 2)]
    return torch.cat(both, 1)  # day, then night


def right_night() -> Tensor:
    """one mean and one std for all, of the pictures that are learned from: say
    of day. Its std is the root of (0.25**2 + 0 + 0.25**2) / (3 - 1)."""
    day = torch.tensor([[[0.25, 0.5, 0.75]]])
    normal = v2.Normalize([day.mean()], [day.std()])  # 0.5 and 0.25
    return torch.cat([normal(day), normal(day / 2)], 1)


def wrong_exam() -> Tensor:
    """One picture, five inputs. A test with chance in it can't be repeated."""
    transform = v2.RandomCrop(1)
    return torch.cat([transform(PICTURE) for _ in range(5)], 2)


def right_exam() -> Tensor:
    """a second transform for testing, the same but for CenterCrop."""
    transform = v2.CenterCrop(1)
    return torch.cat([transform(PICTURE) for _ in range(5)], 2)


def wrong_order() -> Tensor:
    """Two greys are lost. ColorJitter cuts their -1 and -0.5 off to 0."""
    image = torch.tensor([[[0.25, 0.375, 0.5, 0.75]]])
    twice = v2.ColorJitter(brightness=(2, 2))  # always twice as bright
    return v2.Compose([v2.Normalize([0.5], [0.5]), twice])(image)


def right_order() -> Tensor:
    """Normalize last. Now only 1.5 is cut off, to 1: too bright is white."""
    image = torch.tensor([[[0.25, 0.375, 0.5, 0.75]]])
    twice = v2.ColorJitter(brightness=(2, 2))
    return v2.Compose([twice, v2.Normalize([0.5], [0.5])])(image)


def wrong_size() -> Tensor:
    """A white picture is 62.5 % black. RandomCrop(64) would raise an error."""
    white = torch.ones(3, 32, 48)
    return v2.CenterCrop(64)(white).mean()


def right_size() -> Tensor:
    """Resize(64) first: then the shorter side is 64, whatever it was."""
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
    console.ask("Orange has 204 of red. What do the two make of 204?")
    image = to_tensor(PIXELS)
    made = {"image": image, "normal": normalize(image, HALF, HALF)}
    for name, (red, green, blue) in made.items():
        console.matrices({f"{name}, red": red, "green": green, "blue": blue})
    console.say(
        "Orange's red: 204 / 255 = 0.8; with mean and std 0.5, (0.8 - 0.5) / "
        "0.5 = 0.6: 2v - 1 for any v. What for? A network learns w and b in w "
        "* v + b by their gradients, v and 1. 204 moves w 204 times as far."
    )


def check(pictures: dict[str, Tensor]) -> None:
    ours = {n: normalize(to_tensor(p), HALF, HALF) for n, p in pictures.items()}
    scaled, half = v2.ToDtype(torch.float32, True), v2.Normalize(HALF, HALF)
    ways = {"v1": [v1.ToTensor()], "v2": [v2.ToImage(), scaled]}
    console.say(
        "v1 is torchvision.transforms, with ToTensor(). v2, for new programs, "
        "is torchvision.transforms.v2, with ToImage() and then "
        "ToDtype(torch.float32, scale=True). The other names are in both."
    )
    for name, first in ways.items():
        both = v2.Compose([*first, half])
        theirs = {n: both(p.numpy()) for n, p in pictures.items()}
        named = f"by hand = {name} ({', '.join(pictures)})"
        console.agrees(named, ours, theirs, 1e-6)


def views(image: Tensor) -> dict[str, Tensor]:
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
    console.section(f"Eight views of a picture of {short} x {long} pixels")
    console.code(views)
    console.ask("How long is the longer side of picture 1?")
    named = views(image)
    console.pictures(named, "views", width=18)
    console.say(
        f"64 * {long} // {short} = {max(named['1 small'].shape)}, rounded down:"
        " picture 1 keeps its ratio. Picture 2 does if it was square before."
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
        "A window has 2 * 2 places, mirrored or not: 8 looks. 1,000 calls made "
        f"{len(ours.unique(dim=0))}. 32 x 32 pixels, padded by 4 all round, "
        "have 40 - 32 + 1 = 9 places each way: 9 * 9 * 2 = 162 looks."
    )
    torch.manual_seed(0)  # the same random numbers again
    both = v2.Compose([v2.RandomCrop(2), v2.RandomHorizontalFlip(p=0.5)])
    theirs = torch.cat([both(PICTURE) for _ in range(1000)])
    console.agrees("crop_and_flip = RandomCrop, then flip", ours, theirs, 0)
    console.say(
        "A Dataset calls its transform whenever an item is asked for: the item "
        "changes, its label must stay true. A mirrored 3 is no 3."
    )


def run(image: Picture = None, logdir: LogDir = LOGS) -> None:
    """Make a picture a tensor, and one picture many."""
    torch.manual_seed(0)
    console.opening(__doc__)
    console.words(WORDS)
    show_paper_case()
    picture = own_or_photograph(image, "china")
    noise = torch.randint(0, 256, (7, 5, 3), dtype=torch.uint8)
    check({"PIXELS": PIXELS, "photo": picture, "noise": noise})
    named = show_photograph(to_tensor(picture))
    show_looks()
    console.mistakes(__name__)
    console.remember(
        "import torch; from torchvision.transforms import v2; half = [0.5]",
        "end = v2.ToDtype(torch.float32, scale=True), v2.Normalize(half, half)",
        "v2.Compose([v2.ToImage(), v2.RandomCrop(32), *end])  # or CenterCrop",
    )
    console.say(
        "Exercise: make any picture 32 x 32, not distorted and not cut. Half "
        "of it is mistake 5. White of 427 x 640 must get the mean 21 / 32."
    )
    looks = {str(n): crop_and_flip(named["1 small"], 48) for n in range(1, 13)}
    with board("transforms-demo", logdir, "IMAGES: views, looks") as writer:
        writer.add_figure("views", pictures_figure(named, "8 transforms"))
        writer.add_figure("looks", pictures_figure(looks, "12 looks of 1"))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
