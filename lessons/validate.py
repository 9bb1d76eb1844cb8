"""A trained network on pictures that it has never seen.

train-cifar leaves its network's numbers in a file. Here that network names
the class of pictures, its answer, and how sure it is; it learns nothing any
more. Your own pictures come to it as the training images came: upright, in
three colours, 32 x 32. Without --image it gets the test images of its run.

    python cli.py validate --image dog.png
"""

from functools import partial
from pathlib import Path

import torch
import typer
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from shared import answers, console, options
from shared.board import board
from shared.datasets.embedded import framed
from shared.datasets.image_set import ImageSet
from shared.device import pick_device
from shared.figures import show_guesses
from shared.training import trained

WORDS = {
    "confidence": "softmax's number for a class; of an answer: the highest",
    "confusion matrix": "how often a class (row) was taken for each (column)",
}


# ---- By hand ----------------------------------------------------------------
def confidences(logits: Tensor) -> Tensor:
    """Softmax of one picture's logits (classes,)."""
    powers = torch.exp(logits - logits.max())  # e^1000 would be infinite
    return powers / powers.sum()


def top3(logits: Tensor) -> Tensor:
    """The classes of the three highest logits, the highest first."""
    left, found = logits.clone(), []
    for _ in range(min(3, len(logits))):
        found.append(left.argmax())
        left[found[-1]] = -torch.inf  # so that it isn't found again
    return torch.stack(found)


def confusion(labels: Tensor, found: Tensor, classes: int) -> Tensor:
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    for label, answer in zip(labels.tolist(), found.tolist(), strict=True):
        counts[label, answer] += 1
    return counts


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes) of uint8 images (N, 3, 32, 32), 500 at once."""
    model.eval()
    device = next(model.parameters()).device
    return torch.cat([model(some.to(device)) for some in images.split(500)])


# ---- Mistakes ---------------------------------------------------------------
def wrong_bright(model: nn.Module, test: ImageSet) -> str:
    """The pixels came with another normalisation than in training. ToTensor
    makes them 0 to 1; Normalize divides by 255 again: 0.004 at most, black."""
    return share_right(predict(model, test.images / 255), test)


def tempting_bright(model: nn.Module, test: ImageSet) -> str:
    """leave Normalize out: they are small already."""
    return share_right(predict(model.net, test.images / 255), test)


def right_bright(model: nn.Module, test: ImageSet) -> str:
    """0 to 255, as in training. Normalize divides by 255, subtracts the mean of
    the training images, divides by their std. Leave it out, and no error comes,
    but the network learned from other numbers."""
    return share_right(predict(model, test.images), test)


def wrong_far(model: nn.Module, photos: Tensor, test: ImageSet) -> str:
    """The subject fills a tenth of the photograph. Each test image stood in one
    of 101 x 101 pixels. 32 rows are left of 101, so of its own 32 only 10."""
    small = F.interpolate(photos, 32, mode="bilinear", antialias=True)
    return share_right(predict(model, small), test)


def right_far(model: nn.Module, photos: Tensor, test: ImageSet) -> str:
    """cut the subject out before you shrink it, or train with such pictures."""
    subject = photos[:, :, 34:66, 34:66]  # 32 x 32
    return share_right(predict(model, subject), test)


# ---- The lesson -------------------------------------------------------------
def share_right(logits: Tensor, test: ImageSet) -> str:
    return f"{test.accuracy(logits.argmax(1)):.1%} right"


def show_paper_case() -> None:
    console.section("On paper: from four logits to confidences")
    console.code(confidences)
    logits = torch.tensor([1.0, 0, 2, -1])
    powers, shares = (logits - 2).exp(), confidences(logits)
    rows = zip("0123", logits, powers, shares, strict=True)
    cells = [[k, f"{n:.0f}", f"{p:.4f}", f"{s:.4f}"] for k, n, p, s in rows]
    console.table(["class", "logit", "e^(logit - 2)", "confidence"], cells)
    console.say(
        f"The powers add up to {powers.sum():.4f}, and 1 / {powers.sum():.4f} "
        f"= {shares[2]:.4f}. Subtracting a number from all logits changes no "
        f"share. top3, the three best classes: {top3(logits).tolist()}."
    )
    console.ask("All logits double, to 2, 0, 4, -2. Is class 2 as sure?")
    double = confidences(2 * logits)[2]
    console.say(
        f"Doubled, class 2 has {double:.4f}: the same answer, more surely."
    )
    batch = torch.cat([logits[None], torch.randn(100, 4)])
    ours = torch.stack([confidences(row) for row in batch])
    console.agrees("confidences = softmax", ours, batch.softmax(1), 1e-6)
    ours = torch.stack([top3(row) for row in batch])
    console.agrees("top3 = topk(3).indices", ours, batch.topk(3).indices, 0)


def show_file(path: Path, kept: dict) -> None:
    console.section("From the file to answers")
    console.say(f"The checkpoint: {console.short(path)}")
    console.code(predict, trained.rebuild)
    names = ", ".join(kept["classes"][:10])
    console.say(
        f"Its classes, from label 0 on: {names}. They and the normalisation "
        'are in the file. It was read with map_location="cpu", so what a GPU '
        "wrote loads without one."
    )


def show_counting(test: ImageSet, taken_for: Tensor) -> None:
    console.section("The test images: which class is taken for which?")
    console.code(confusion)
    six = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 1, 1, 0, 2]])
    console.ask("Classes 0 0 1 1 1 2, answers 0 1 1 1 0 2. The first row?")
    paper = confusion(*six, 3)
    console.matrices({"labels, answers": six, "confusion matrix": paper})
    console.say(
        "Of two pictures of class 0, one was taken for 0 and one for 1: a row "
        "of 1 1 0. Right is the diagonal, 1 + 2 + 1 = 4 of 6."
    )
    pairs = torch.stack([test.labels, taken_for])
    for pair, classes in ((six, 3), (pairs, len(test.classes))):
        theirs = confusion_matrix(*pair, labels=range(classes))
        what = f"confusion = scikit-learn's, {pair.size(1):,} pictures"
        ours = confusion(*pair, classes)
        console.agrees(what, ours, torch.from_numpy(theirs), 0)


def show_nothing(model: nn.Module, classes: list[str]) -> None:
    console.section("Pictures of nothing")
    console.ask("A white square: which class will it say, and how sure?")
    noise = torch.randint(0, 256, (3, 32, 32))
    images = torch.stack([torch.full_like(noise, 255), noise])
    found = predict(model, images).softmax(1).max(1)
    rows = zip(("white", "noise"), *found, strict=True)
    cells = [[name, classes[k], f"{share:.1%}"] for name, share, k in rows]
    console.table(["picture", "class", "confidence"], cells)
    console.say(
        f"It must name a class; {1 / len(classes):.0%} for each, which is to "
        "guess, would be honest. A high confidence doesn't say that it "
        "has ever seen such a picture."
    )


def show_test(
    path: Path, model: nn.Module, test: ImageSet, writer: SummaryWriter
) -> None:
    logits = predict(model, test.images).cpu()
    show_counting(test, logits.argmax(1))
    accuracy = test.accuracy(logits.argmax(1))
    before = trained.compared(path, accuracy)
    console.say(f"It gets {accuracy:.1%} of the test images right{before}.")
    console.say(f"Guessing would get about {1 / len(test.classes):.0%}.")
    show_guesses(writer, test, logits.argmax(1), 0)
    answers.show_sureness(test, logits, writer)
    show_nothing(model, test.classes)
    test = test.limited(1000)
    console.say(f"The mistakes are made on {len(test):,} of the test images.")
    given = {"test": test, "photos": framed(test.images)}
    console.mistakes(__name__, model=model, **given)


def run(
    image: options.OwnPictures = None,
    checkpoint: options.Checkpoint = None,
    as_json: options.AsJson = False,
    activation: options.OtherActivation = None,
    device: options.Device = "auto",
    logdir: options.LogDir = options.LOGS,
) -> None:
    """Try a trained CNN on its test images, or on your own."""
    torch.manual_seed(0)
    path = checkpoint or trained.newest_best(logdir)
    kept = trained.read_trained(path, activation)
    model = trained.rebuild(kept).to(pick_device(device))
    ask = partial(predict, model)
    if as_json:
        return answers.print_json(path, kept, ask, image)
    own = answers.answer(image, ask) if image else None
    console.opening(__doc__)
    console.words(WORDS)
    test = None if own else trained.tested_images(kept)
    show_paper_case()
    show_file(path, kept)
    look = f"IMAGES: {'pictures' if own else 'figures'}"
    with board("validate", logdir, look) as writer:
        if own:
            answers.show_answers(own, kept["classes"], writer)
        else:
            show_test(path, model, test, writer)
        console.remember(
            "import numpy, torch; from PIL import Image, ImageOps",
            'a = ImageOps.exif_transpose(Image.open("a.png")).convert("RGB")\n'
            "a = numpy.array(a.resize((32, 32), Image.BILINEAR))",
            "image = torch.tensor(a).permute(2, 0, 1)  # (3, 32, 32)\n"
            "with torch.no_grad(): print(model.eval()(image[None]).softmax(1))",
        )
        console.say(
            "Lay white under a transparent picture first, as is done here.\n"
            "Exercise: write number(logits, labels); logits divided by it have "
            "their accuracy as mean confidence. Four rows 2, 0 with labels 0, "
            "0, 0, 1 give 2 / ln 3 = 1.8205. Find it by held-out images."
        )
    if own:
        own.complain()
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
