"""A trained network on pictures that it has never seen.

train-cifar leaves its network's numbers in a file. Here that network gives
each picture one class, and says how sure it is. It learns nothing any more.
Your own pictures come to it as the training images came: upright, in three
colours, 32 x 32. Without --image it gets its run's test images.

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

AT_HOME = """import numpy, torch
from PIL import Image, ImageOps
a = ImageOps.exif_transpose(Image.open("a.png")).convert("RGB")
a = numpy.array(a.resize((32, 32), Image.BILINEAR))
image = torch.tensor(a).permute(2, 0, 1)  # (3, 32, 32)
with torch.no_grad(): print(model.eval()(image[None]).softmax(1))"""


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
    makes them 0 to 1; Normalize divides by 255 again: 0.004 at most,
    black pictures, all with one answer. Guessing is as good."""
    return share_right(predict(model, test.images / 255), test)


def tempting_bright(model: nn.Module, test: ImageSet) -> str:
    """leave Normalize out: they are small already."""
    return share_right(predict(model.net, test.images / 255), test)


def right_bright(model: nn.Module, test: ImageSet) -> str:
    """0 to 255, as in training. Normalize divides by 255, subtracts the mean of
    the training images, divides by their std. Leave it out, and no error comes:
    the picture has less contrast, as training never had. How much that costs
    differs from network to network."""
    return share_right(predict(model, test.images), test)


def wrong_far(model: nn.Module, photos: Tensor, test: ImageSet) -> str:
    """The subject fills a tenth of the photograph. Of 101 rows 32 are left, so
    of its own 32 only 32 * 32 / 101, about 10: too small for this network."""
    small = F.interpolate(photos, 32, mode="bilinear", antialias=True)
    return share_right(predict(model, small), test)


def right_far(model: nn.Module, photos: Tensor, test: ImageSet) -> str:
    """cut the subject out first, and shrink what is left, if need be."""
    subject = photos[:, :, 34:66, 34:66]  # 32 x 32: no need to shrink
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
        f"confidence. top3, the three best classes: {top3(logits).tolist()}."
    )
    console.ask("All logits double, to 2, 0, 4, -2. Is class 2 as sure?")
    double = confidences(2 * logits)[2]
    console.say(
        f"No, more: 1 / (0.1353 + 0.0183 + 1 + 0.0025) = {double:.4f}, for the "
        "same answer."
    )
    batch = torch.cat([logits[None], torch.randn(100, 4)])
    ours = torch.stack([confidences(row) for row in batch])
    console.agrees("confidences = softmax", ours, batch.softmax(1), 1e-6)
    ours = torch.stack([top3(row) for row in batch])
    console.agrees("top3 = topk(3).indices", ours, batch.topk(3).indices, 0)


def show_file(path: Path, kept: dict) -> None:
    console.section("From the file to answers")
    console.say(f"The checkpoint: {console.short(path)}")
    console.code(predict)
    names = ", ".join(kept["classes"][:10])
    console.say(
        f"Its activation: {kept['settings']['activation']}. Its classes, from "
        f"label 0 on: {names}. model is "
        "Normalize and, as model.net, CifarNet; load_state_dict filled both. "
        'map_location="cpu" has read it, so what a GPU wrote loads without one.'
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


def show_test(
    path: Path, model: nn.Module, test: ImageSet, writer: SummaryWriter
) -> None:
    logits = predict(model, test.images).cpu()
    show_counting(test, logits.argmax(1))
    accuracy = test.accuracy(logits.argmax(1))
    before = trained.compared(path, accuracy)
    console.say(
        f"It gets {accuracy:.1%} of the test images right{before}. Guessing "
        f"would get about {1 / len(test.classes):.0%}."
    )
    show_guesses(writer, test, logits.argmax(1), 0)
    answers.show_sureness(test, logits, writer)
    answers.show_nothing(partial(predict, model), test.classes)
    test = test.limited(1000)
    console.say(
        f"Mistakes, with {len(test):,} of the test images, pixels 0 to 255. "
        "photos: each of them amid a photograph of 101 x 101 pixels."
    )
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
            "Give it pictures as training did: same size, channels, numbers.",
            "A confidence compares the classes with each other, no more.",
            "With a model that normalises, as this one does:\n" + AT_HOME,
        )
        console.say(
            "Lay white under a transparent picture first, as is done here.\n"
            "Exercise: write number(logits, labels). The logits divided by it "
            "have a mean confidence equal to the share of right answers. "
            "Four rows 2, 0 with labels 0, 0, 0, 1 must give 2 / ln 3 = 1.8205."
        )
    if own:
        own.complain()
    console.next_lesson(__name__)


if __name__ == "__main__":
    typer.run(run)
