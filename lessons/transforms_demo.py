"""Transforms: from a picture to numbers that a network can use.

Most pictures hold whole numbers from 0 to 255: how much red, green and blue
each pixel has. A network is a chain of calculations that learns from them.
It takes float32 tensors, channels first; many at once must have one size.
For channel c, row i and column j:
    ToTensor:   image[c, i, j] = pixels[i, j, c] / 255
    Normalize:  (image[c] - mean[c]) / std[c]
Random transforms change a picture anew each time it is used.

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
    """scale=True divides uint8 by 255. Floats it leaves as they are, from 0 to
    255 too, and so does v1's ToTensor: divide those yourself."""
    white = torch.full((1, 1, 1), 255, dtype=torch.uint8)
    image = v2.ToDtype(torch.float32, scale=True)(white)
    return v2.Normalize([0.5], [0.5])(image)


def wrong_night() -> Tensor:
    """Day and night are the same. Each one's own mean and std took its light
    away: that night is half as bright can't be told any more."""
    day = torch.tensor([[[0.25, 0.5, 0.75]]])
    both = [v2.Normalize([x.mean()], [x.std()])(x) for x in (day, day / 2)]
    return torch.cat(both, 1)  # day, then night


def right_night() -> Tensor:
    """the same mean and std for all, of the pictures that are learned from:
    here of day. The root of (0.25**2 + 0 + 0.25**2) / (3 - 1) is 0.25."""
    day = torch.tensor([[[0.25, 0.5, 0.75]]])
    normal = v2.Normalize([day.mean()], [day.std()])  # 0.5 and 0.25
    return torch.cat([normal(day), normal(day / 2)], 1)


def wrong_exam() -> Tensor:
    """One picture, several inputs. So chance decides what a test finds."""
    transform = v2.RandomCrop(1)
    return torch.cat([transform(PICTURE) for _ in range(5)], 2)


def right_exam() -> Tensor:
    """a second transform, for testing, with nothing random in it: CenterCrop
    for RandomCrop, no flip, no rotation, no ColorJitter."""
    transform = v2.CenterCrop(1)
    return torch.cat([transform(PICTURE) for _ in range(5)], 2)


def wrong_size() -> Tensor:
    """A white picture is 62.5 % black. CenterCrop fills up: white is only 32 *
    48 / (64 * 64) = 0.375 of it. RandomCrop(64) would raise an error."""
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
        "0.5 = 0.6. So 0 to 1 becomes -1 to 1. What for? Say that a network "
        "learns w and b in w * v + b. The gradient is v for w, 1 for b, and at "
        "its simplest learning moves each in proportion: v = 204 moves w 204 "
        "times as far as b, v = 0.6 moves it 0.6 times as far."
    )


def check(pictures: dict[str, Tensor]) -> None:
    ours = {n: normalize(to_tensor(p), HALF, HALF) for n, p in pictures.items()}
    scaled, half = v2.ToDtype(torch.float32, True), v2.Normalize(HALF, HALF)
    ways = {"v1": [v1.ToTensor()], "v2": [v2.ToImage(), scaled]}
    console.say(
        "For / 255, older programs use torchvision.transforms (v1): ToTensor()"
        ". New ones use torchvision.transforms.v2: ToImage(), then ToDtype("
        "torch.float32, scale=True). Both have this lesson's other transforms, "
        "and Compose: several, one after another. noise: random pixels."
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
    console.section(f"Eight views of a picture read as {short} x {long}")
    console.code(views)
    console.ask("How long is the longer side of picture 1?")
    named = views(image)
    console.pictures(named, "views", width=18)
    console.say(
        f"64 * {long} // {short} = {max(named['1 small'].shape)}, rounded down:"
        " but for that, picture 1 keeps its ratio. Picture 2 does if it was "
        "square. 4, 6 and 7 come out anew in each call (brightness=0.5: 0.5 to "
        "1.5 times as bright); p=1 makes 5 and 8 certain."
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
        f"{len(ours.unique(dim=0))}. In 32 x 32 pixels with a border of 4 all "
        "round, 40 x 40, a window of 32 has 40 - 32 + 1 = 9 places each way: "
        "up to 9 * 9 * 2 = 162 looks."
    )
    torch.manual_seed(0)  # the same random numbers again
    both = v2.Compose([v2.RandomCrop(2), v2.RandomHorizontalFlip(p=0.5)])
    theirs = torch.cat([both(PICTURE) for _ in range(1000)])
    console.agrees("crop_and_flip = RandomCrop, then flip", ours, theirs, 0)
    console.say(
        "A Dataset calls its transform in __getitem__: an example looks new "
        "each time. Its label must stay true: a mirrored 3 is no 3."
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
        "import torch; from torchvision.transforms import v2; half = [0.5] * 3",
        "end = v2.ToDtype(torch.float32, scale=True), v2.Normalize(half, half)",
        "v2.Compose([v2.ToImage(), v2.Resize(36), v2.RandomCrop(32), *end])",
    )
    console.say(
        "For testing, CenterCrop(32) in place of RandomCrop(32). Normalize is "
        "last: others, such as ColorJitter, expect numbers from 0 to 1.\n"
        "Exercise: a transform that makes any picture 32 x 32, its ratio kept "
        "and nothing cut off. Mistake 4 is one half, help(v2.Resize) has the "
        "other. A white tensor (3, 427, 640) must get the mean 21 / 32."
    )
    looks = {str(n): crop_and_flip(named["1 small"], 48) for n in range(1, 13)}
    with board("transforms-demo", logdir, "IMAGES: views, looks") as writer:
        writer.add_figure("views", pictures_figure(named, "8 views of one"))
        writer.add_figure("looks", pictures_figure(looks, "12 looks of view 1"))
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
