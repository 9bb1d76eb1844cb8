"""Uploads to try a server on: a phone's pictures, black ones, and worse."""

import pickle
import statistics
import time
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from flask.testing import FlaskClient
from PIL import ExifTags, Image
from torch import Tensor, nn
from werkzeug.test import TestResponse

from shared import console
from shared.datasets.as_files import png
from shared.datasets.embedded import photo_digits
from shared.datasets.image_set import in_grey
from shared.timings import undisturbed
from shared.training.served import Served


def ten_digits() -> Tensor:
    """The first ten test images of photo-digits: 0 to 9, (10, 3, 32, 32)."""
    return photo_digits()[1].images[:10]


def by_phone(image: Tensor) -> Image.Image:
    """The file of an image (3, H, W), on its side, with a phone's note.

    That note is the tag Orientation of Exif; 6 means a quarter clockwise.
    """
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = 6
    picture = Image.open(BytesIO(png(image)))
    lying = picture.transpose(Image.Transpose.ROTATE_90)  # anticlockwise
    lying.save(file, "png", exif=exif)
    return Image.open(file)


def black(size: int) -> bytes:
    """A PNG file of size x size black pixels, one bit each."""
    file = BytesIO()
    Image.new("1", (size, size)).save(file, "png")
    return file.getvalue()


def for_mistakes() -> dict[str, Any]:
    """What serve's mistakes are made with; the same each time."""
    torch.manual_seed(0)
    return {
        "net": nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(12, 2)),
        "image": torch.ones(3, 2, 2),
        "upload": black(8000),
        "photos": [by_phone(image) for image in ten_digits()],
    }


def as_if_upright(pictures: Iterable[Image.Image], served: Served) -> str:
    """How many of the ten digits, as they lie, are answered as if upright."""
    lying = [torch.from_numpy(np.array(picture)) for picture in pictures]
    images = torch.stack(lying).permute(0, 3, 1, 2)
    answers = _answers(images, served), _answers(ten_digits(), served)
    both = zip(*answers, strict=True)
    same = [one == other for one, other in both]
    return f"{sum(same)} of {len(same)} answered as the upright picture is"


def _answers(images: Tensor, served: Served) -> list[int]:
    with torch.inference_mode():
        return served.model(_prepared(images, served)).argmax(1).tolist()


def _prepared(images: Tensor, served: Served) -> Tensor:
    """Images (N, 3, H, W) as training had them, and without serve's code."""
    size, edge = served.shape[1], served.edge
    sides = (size + 2 * edge,) * 2
    large = [
        Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        .resize(sides, Image.Resampling.BILINEAR)
        .crop((edge, edge, edge + size, edge + size))
        for image in images
    ]
    pixels = torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2)
    pixels = in_grey(pixels) if served.shape[0] == 1 else pixels
    return pixels.to(served.device)


def seven(served: Served) -> Tensor:
    """The model's confidences for a handwritten 7, the highest first."""
    with torch.inference_mode():
        logits = served.model(_prepared(ten_digits()[7:8], served))[0]
    return logits.softmax(0).sort(descending=True).values.cpu()


def milliseconds(served: Served) -> dict[int, float]:
    """For each number of pictures at once: the median time of one of them."""
    taken = {}
    with undisturbed(served.device), torch.inference_mode():
        for count in (1, 4, 16, 64):
            images = torch.zeros(count, *served.shape, device=served.device)
            times = []
            for _ in range(15):
                began = time.perf_counter()
                served.model(images.byte()).cpu()  # waits for a GPU
                times.append(time.perf_counter() - began)
            taken[count] = 1000 * statistics.median(times) / count
    return taken


def refusals(client: FlaskClient) -> list[list[str]]:
    """What a server answers to what it should not take: rows for a table."""
    text, large = BytesIO(b"Hello"), BytesIO(bytes(11 * 1024 * 1024))
    plain = {"data": "Hello", "content_type": "text/plain"}
    answers = {
        "a text, named a.png": client.post(
            "/predict", data={"image": (text, "a.png")}
        ),
        "8,000 x 8,000 pixels": client.post(
            "/predict", data=black(8000), content_type="image/png"
        ),
        "11 MB": client.post("/predict", data={"image": (large, "a.png")}),
        "type text/plain": client.post("/predict", **plain),
        "GET, not POST": client.get("/predict"),
        "/cat": client.get("/cat"),
    }
    return [
        [sent, f"{answer.status_code}", answer.get_json()["error"]]
        for sent, answer in answers.items()
    ]


def exercise(client: FlaskClient, model: nn.Module) -> None:
    """Say what it is, and how far it is solved."""
    console.say(
        "Exercise: add POST /predict-many, which takes a form with the field "
        "image several times, asks the model once for all of them, and "
        'answers {"answers": [...]}, each as from /predict. As yet: '
        f"{_solved(client, model)}"
    )


def _solved(client: FlaskClient, model: nn.Module) -> str:
    files = [png(image) for image in ten_digits()]

    def many(files: list[bytes]) -> TestResponse:
        form = [(BytesIO(file), "a.png") for file in files]
        return client.post("/predict-many", data={"image": form})

    calls: list[None] = []
    with model.register_forward_hook(lambda *_: calls.append(None)):
        reply = many(files)
    if reply.status_code != 200:
        return f"status {reply.status_code} for ten digits."
    found = (reply.get_json(silent=True) or {}).get("answers", [])
    if len(found) != len(files):
        return f"{len(found)} answers for {len(files)} digits."
    for number, (file, ours) in enumerate(zip(files, found, strict=True)):
        sent = {"image": (BytesIO(file), "a.png")}
        one = client.post("/predict", data=sent).get_json()
        both = [tuple(each["probabilities"]) for each in (one, ours)]
        off = (torch.tensor(both[0]) - torch.tensor(both[1])).abs().max()
        if one["classes"][0] != ours["classes"][0] or off > 1e-4:
            return f"picture {number} is answered otherwise by /predict."
    if len(calls) != 1:
        return f"right, but the model was asked {len(calls)} times."
    status = many([*files, b"Hello"]).status_code
    if status != 400:
        return f"right, but status {status} where one file is a text, not 400."
    return "solved!"


class Gift:
    """A pickle that says: to load me, call Path.touch."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


def a_pickle_has_run() -> bool:
    """Give torch.load a pickle that calls code; say whether it was called."""
    with TemporaryDirectory() as folder:
        mark = Path(folder, "it-has-run")
        file = BytesIO(pickle.dumps(Gift(mark), protocol=2))
        with suppress(pickle.UnpicklingError):
            torch.load(file, weights_only=True)
        return mark.exists()
