"""What a trained network says of pictures: as a table, bars, JSON."""

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
import typer
from rich.markup import escape
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from shared import console
from shared.datasets.checks import several
from shared.datasets.image_set import ImageSet
from shared.datasets.own_pictures import picture_files, read_batches
from shared.figures import confusion_matrix, images_figure, pictures_figure
from shared.training.trained import tested_images

SHOWN = 8  # pictures
BARS = 3  # pictures with bars
WORST = 3  # rows of mistakes
SURE = (0, 0.5, 0.9, 0.99, 1.01)  # steps of confidence
ROWS = 10  # of a long table, above and below


class Answers(NamedTuple):
    """Files with logits (N, classes), the first few pictures, what failed."""

    files: list[Path]
    logits: Tensor
    seen: dict[Path, Tensor]  # (3, 32, 32) in [0, 1]
    damaged: dict[Path, str]

    def complain(self) -> None:
        """Where pictures could not be read: name them, end with exit code 1."""
        if self.damaged:
            number = len(self.damaged)
            total = f"{number:,} of {len(self.files) + number:,} pictures"
            named = [f"{file} ({why})" for file, why in self.damaged.items()]
            rest = "; the others are answered" * bool(self.files)
            console.fail(
                f"{total} can't be read: {several(named)}.",
                f"save them anew as PNG or JPEG{rest}",
            )


def answer(paths: list[Path], predict: Callable[[Tensor], Tensor]) -> Answers:
    """Read the files, and the pictures in folders; keep only the logits.

    predict(images) is given at most 500 at once, (N, 3, 32, 32) uint8. Where
    none can be read, the command ends with exit code 1.
    """
    answers = Answers([], torch.empty(0), {}, {})
    logits = []
    for some, images in read_batches(picture_files(paths), answers.damaged):
        logits.append(predict(images).float().cpu())
        for file, image in zip(some[:SHOWN], images / 255, strict=False):
            if len(answers.seen) < SHOWN:
                answers.seen[file] = image
        answers.files.extend(some)
    if not logits:
        answers.complain()
    return answers._replace(logits=torch.cat(logits))


def sorted_rows(answers: Answers, classes: list[str]) -> list[dict[str, Any]]:
    """For each file its three best classes, the surest file first."""
    best = answers.logits.softmax(1).topk(min(3, len(classes)))
    found = zip(answers.files, best.values, best.indices, strict=True)
    rows = [
        {
            "image": str(file),
            "top3": [
                {"class": classes[k], "label": k, "confidence": share}
                for share, k in zip(s.tolist(), i.tolist(), strict=True)
            ],
        }
        for file, s, i in found
    ]
    return sorted(rows, key=lambda r: -r["top3"][0]["confidence"])


def show_answers(
    answers: Answers, classes: list[str], writer: SummaryWriter
) -> None:
    """Show the first pictures as the network sees them, and all answers."""
    console.section("Your pictures, as the network sees them")
    width = 32 if len(answers.seen) <= 2 else 18
    named = {f.name: image for f, image in answers.seen.items()}
    console.pictures(named, "pictures", width)
    rows = sorted_rows(answers, classes)
    top = {row["image"]: row["top3"] for row in rows}
    titles = {}
    for number, (file, image) in enumerate(answers.seen.items(), start=1):
        first = top[str(file)][0]
        said = f"{first['class']}, {first['confidence']:.1%}"
        titles[f"{number}: {_end(file.name, 20)}\n{said}"] = image
    title = "The pictures as the network sees them: its answer, its confidence"
    figure = pictures_figure(titles, title, min(4, max(3, len(titles))))
    writer.add_figure("pictures", figure)
    for file in list(answers.seen)[:BARS]:
        console.console.print(f"[bold]{escape(_end(file.name, 70))}[/]")
        console.table(["class", "confidence", ""], map(_bar, top[str(file)]))
    if len(rows) > 1:
        _table(rows)
    console.say(
        "Whatever a picture shows, one of its classes is named. Its test "
        "images, and mistakes to make: the same command without --image."
    )


def _bar(found: dict[str, Any]) -> tuple[str, str, str]:
    share = found["confidence"]
    name = escape(found["class"][:20])
    return name, f"{share:.1%}", "█" * round(40 * share)


def _table(rows: list[dict[str, Any]]) -> None:
    shown = rows
    if len(rows) > 2 * ROWS:
        shown = rows[:ROWS] + rows[-ROWS:]
    cells = []
    for row in shown:
        best, *rest = row["top3"]
        others = [f"{r['class'][:10]} {r['confidence']:.0%}" for r in rest]
        name = escape(_end(row["image"], 18))
        share = f"{best['confidence']:.1%}"
        cells.append([name, share, *map(escape, [best["class"][:10], *others])])
    if len(shown) < len(rows):
        cells.insert(ROWS, ["…", "…", *["…"] * len(rows[0]["top3"])])
    titles = ["picture", "confidence", "class", "then", "then"]
    console.table(titles[: len(cells[0])], cells)
    if len(shown) < len(rows):
        console.say(
            f"{len(rows):,} pictures, the surest above: these are the first "
            f"and the last {ROWS}. --json has them all."
        )


def _end(name: str, most: int) -> str:
    """The end of a long name: that is where pictures differ."""
    return name if len(name) <= most else "…" + name[1 - most :]


def show_sureness(
    test: ImageSet, logits: Tensor, writer: SummaryWriter
) -> None:
    """Show how often answers of each confidence are right, and the worst."""
    console.section("How sure it is, and how right")
    console.ask("Of answers that are 50 to 90% sure, how many are right?")
    sure, answers = logits.softmax(1).max(1)
    right, rows = (answers == test.labels).float(), []
    for low, high in pairwise(SURE):
        some = (low <= sure) & (sure < high)
        if some.any():
            means = f"{sure[some].mean():.1%}", f"{right[some].mean():.1%}"
            until = f"{low:.0%} to {min(high, 1):.0%}"
            rows.append([until, f"{some.sum():,}", *means])
    console.table(["confidence", "pictures", "its mean", "right"], rows)
    sureness, hits = sure.mean(), right.mean()
    verdict = "less" if sureness < hits else "more"
    doubled = (2 * logits).softmax(1).amax(1).mean()
    console.say(
        "If it could judge itself, its mean and right would be about equal in "
        "each row; a row of few pictures says little. In all it is "
        f"{sureness:.1%} sure and {hits:.1%} right: {verdict} sure than it "
        f"should be. Doubled logits: {doubled:.1%} sure, of the same answers."
        + " Its surest mistakes:"
        * (not right.all())
    )
    _show_worst(test, logits, writer)


def _show_worst(test: ImageSet, logits: Tensor, writer: SummaryWriter) -> None:
    """Show the mistakes that a network was surest of."""
    sure, answers = logits.softmax(1).max(1)
    wrong = (answers != test.labels).nonzero().flatten()
    order = wrong[sure[wrong].argsort(descending=True)][:SHOWN].tolist()
    if not order:
        return
    rows, titles = [], {}
    for place, k in enumerate(order, start=1):
        taken = test.classes[answers[k]]
        label, share = test.classes[test.labels[k]], f"{sure[k]:.1%}"
        titles[k] = f"{place}: {taken}, {share}\nis {label}"
        rows.append([f"{place}", *map(escape, (label, taken)), share])
    console.table(["picture", "is", "taken for", "confidence"], rows[:WORST])
    shown = (test.images[order] / 255).cpu()
    names = (f"{place}: {taken}" for place, _, taken, _ in rows)
    named = dict(zip(names, shown, strict=True))
    console.pictures(named, "figures/surest", width=18)
    figure = images_figure(test, titles, ["red"] * len(titles))
    figure.suptitle("Wrong, and sure of it: its answer, its confidence")
    writer.add_figure("figures/surest", figure, 0)


def show_nothing(
    predict: Callable[[Tensor], Tensor], classes: list[str]
) -> None:
    """Show its answers to a white square and to noise."""
    console.section("Pictures of nothing")
    console.ask("A white square: which class will it say, and how sure?")
    noise = torch.randint(0, 256, (3, 32, 32))
    images = torch.stack([torch.full_like(noise, 255), noise])
    found = predict(images).softmax(1).max(1)
    rows = zip(("white", "noise"), *found, strict=True)
    cells = [[name, classes[k], f"{share:.1%}"] for name, share, k in rows]
    console.table(["picture", "class", "confidence"], cells)
    console.say(
        f"It must name a class; {1 / len(classes):.0%} for each, which is to "
        "guess, would be honest. A high confidence doesn't say that it "
        "has ever seen such a picture."
    )


def print_json(
    path: Path,
    kept: dict[str, Any],
    predict: Callable[[Tensor], Tensor],
    images: list[Path] | None,
) -> None:
    """Print one JSON object: the answers to images, or to the test images."""
    about = {"checkpoint": str(path), "classes": kept["classes"]}
    if images:
        answers = answer(images, predict)
        about["images"] = sorted_rows(answers, kept["classes"])
        typer.echo(json.dumps(about, indent=2))
        return answers.complain()
    with redirect_stdout(sys.stderr):  # what it says on the way is no JSON
        test = tested_images(kept)
        answers = predict(test.images).argmax(1).cpu()
    counts = confusion_matrix(test.labels, answers, len(test.classes))
    right = counts.diag() / counts.sum(1)
    about |= {
        "data": test.name,
        "test_images": len(test),
        "test_accuracy": test.accuracy(answers),
        "class_accuracy": [None if n != n else n for n in right.tolist()],
        "confusion": counts.tolist(),
    }
    typer.echo(json.dumps(about, indent=2))
