"""A trained network behind a web page, and an address for programs.

The page shows what the network makes of a picture; a program gets the same
as text. The network was trained elsewhere: here it is loaded once, and only
answers. What comes from outside may be no picture, or one made to fill the
memory, so it is looked at before it is decoded.

    python cli.py serve
    python cli.py serve --explain
"""

import time
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
import typer
from flask import Flask, render_template, request
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from shared import console, options, serving
from shared.board import board
from shared.datasets.as_files import png
from shared.datasets.image_folder import decoded
from shared.datasets.image_set import in_grey
from shared.practice import uploads
from shared.training.served import Served, Shape, open_served

WORDS = {
    "endpoint": "an address of a server with one task, such as /predict",
    "JSON": "lists, names and numbers as text that most programs can read",
    "status": "a number with each answer; 200: done, from 400 on: an error",
    "micro-batch": "what came within some milliseconds, as one batch",
}
MOST_PIXELS = 25_000_000  # of a picture: its width times its height


# ---- By hand ----------------------------------------------------------------
def read_picture(upload: BinaryIO, shape: Shape, edge: int = 0) -> Tensor:
    """The uint8 (C, H, H) of an upload; or it raises an HTTPException."""
    with serving.sound(upload) as picture:  # opened: its head was read
        if picture.width * picture.height > MOST_PIXELS:
            raise RequestEntityTooLarge("Over 25 million pixels: shrink it.")
        pixels = decoded(picture, shape[1] + 2 * edge)  # (H, H, 3)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    middle = slice(edge, edge + shape[1])
    image = image[:, middle, middle]
    return image if shape[0] == 3 else in_grey(image[None])[0]


def predict(model: nn.Module, image: Tensor) -> Tensor:
    """The confidence in each class (classes,) for one image (C, H, W)."""
    image = image.to(next(model.parameters()).device)
    with torch.inference_mode():  # no graph: nobody will call backward()
        logits = model(image[None])  # a batch of one
    return logits[0].softmax(0).cpu()


def answer(served: Served, upload: BinaryIO) -> dict[str, Any]:
    """What goes back as JSON: the classes, the surest first, and the rest."""
    began = time.perf_counter()
    image = read_picture(upload, served.shape, served.edge)
    shares, labels = predict(served.model, image).sort(descending=True)
    return {
        "classes": [served.classes[label] for label in labels],
        "probabilities": shares.tolist(),
        "milliseconds": 1000 * (time.perf_counter() - began),
        "model": served.name,
        "seen": serving.data_url(image),  # a PNG, for the page
    }


def create_app(served: Served) -> Flask:
    """A factory: it makes the application around a loaded model."""
    app = Flask("serve", root_path=str(serving.PAGE), template_folder=".")
    app.config["MAX_CONTENT_LENGTH"] = serving.MOST_BYTES

    @app.get("/")
    def page() -> str:
        return render_template("page.html", served=served)

    @app.get("/healthz")
    def health() -> dict[str, str]:
        return {"status": "ok", "model": served.name}

    @app.post("/predict")
    def ask() -> dict[str, Any]:
        return answer(served, serving.uploaded(request))

    app.register_error_handler(HTTPException, serving.refuse)
    app.after_request(serving.guard)
    return app


# ---- Mistakes ---------------------------------------------------------------
def wrong_twice(net: nn.Module, image: Tensor) -> str:
    """The model was still in training mode. This small one has dropout, which
    sets other numbers to 0 each time. CifarNet has none, and hides it."""
    net.train()
    return f"{predict(net, image)[0]:.3f}, then {predict(net, image)[0]:.3f}"


def right_twice(net: nn.Module, image: Tensor) -> str:
    """eval() once, after loading, as open_served() does."""
    net.eval()
    return f"{predict(net, image)[0]:.3f}, then {predict(net, image)[0]:.3f}"


def wrong_small(upload: bytes) -> str:
    """The file was small, its picture isn't: 8,000 x 8,000 pixels of 3 bytes.
    A check that comes after decoding comes when the memory is taken."""
    pixels = Image.open(BytesIO(upload)).convert("RGB").tobytes()
    return f"{len(upload):,} bytes became {len(pixels):,}"


def right_small(upload: bytes) -> str:
    """look at the file's head, where width and height stand. open() decodes no
    pixels; that is done when they are first used."""
    pixels = prod(Image.open(BytesIO(upload)).size)
    return f"{pixels:,} pixels{': refused' * (pixels > MOST_PIXELS)}"


def wrong_phone(photos: list[Image.Image], served: Served) -> str:
    """The sensor lay on its side. A phone then saves what the sensor saw, with
    a note how to turn it, which Pillow leaves undone. These ten digits were
    made so here; how many survive depends on the network."""
    return uploads.as_if_upright(photos, served)


def right_phone(photos: list[Image.Image], served: Served) -> str:
    """turn it as the note says, before anything else. decoded() does so, in
    training, in validate and here: training and server must prepare alike."""
    upright = map(ImageOps.exif_transpose, photos)
    return uploads.as_if_upright(upright, served)


# ---- The lesson -------------------------------------------------------------
def show_way(served: Served, picture: bytes) -> None:
    console.section("From a file to confidences")
    console.code(read_picture, predict)
    console.say(
        "sound() reads the head of the file, decoded() makes its pixels: "
        "upright, in three colours, as large as in training (edge: what is "
        "cut off). A bad file raises an exception, which has a status."
    )
    console.section("Three endpoints")
    console.code(answer, create_app)
    client = create_app(served).test_client()  # asks it without a network
    sent = {"data": picture, "content_type": "image/png"}
    found = client.post("/predict", **sent).get_json()
    console.say(
        "Flask calls the function below an address; waitress listens there. "
        "/healthz is for programs that watch the server. Of a handwritten 7, "
        f"/predict said in {found['milliseconds']:.1f} ms: class "
        f"{found['classes'][0]}, confidence {found['probabilities'][0]:.4f} "
        f"(a guess: {1 / len(found['classes']):.1f})."
    )
    ours, theirs = torch.tensor(found["probabilities"]), uploads.seven(served)
    console.agrees("/predict = the model, asked alone", ours, theirs, 1e-6)


def show_refusals(served: Served) -> None:
    console.section("What it refuses")
    console.ask("A text, named a.png: does it look at the name, or inside?")
    rows = uploads.refusals(create_app(served).test_client())
    console.table(["sent", "status", "error"], rows)
    console.say(
        "It looks inside; a name can say anything. A sender has "
        f"{serving.SENDING} seconds, and holds none of waitress's "
        f"{serving.LIMITS['threads']} threads until its request is whole."
    )
    console.section("A checkpoint from a stranger")
    console.say(
        "A pickle can name functions to call when it is loaded. One that calls "
        "Path.touch, to make a file, was given to torch.load with "
        "weights_only=True, which raised an error. Was the file made? "
        f"{uploads.a_pickle_has_run()}. So --checkpoint takes plain data, and "
        "no code. save-load-demo lets such code run."
    )


def show_model(served: Served, writer: SummaryWriter) -> None:
    console.section("One model in memory, for one picture or for many")
    console.ask("64 pictures at once: how many times as fast as one by one?")
    taken = uploads.milliseconds(served)  # of a picture, among so many
    rows = [[str(count), f"{ms:.2f}"] for count, ms in taken.items()]
    console.table(["pictures at once", "ms a picture"], rows)
    for count, ms in taken.items():
        writer.add_scalar("milliseconds/a_picture", ms, count)
    numbers = sum(one.numel() for one in served.model.state_dict().values())
    console.say(
        f"64 at once are {taken[1] / taken[64]:.1f} times as fast: each layer "
        "is called once, not 64 times. A server with many users collects a "
        "micro-batch; its first picture waits for the others. All threads of "
        f"waitress read one model, of {numbers:,} numbers."
    )


def walk_through(served: Served, logdir: Path) -> None:
    console.opening(__doc__)
    console.words(WORDS)
    look = "SCALARS: milliseconds; its step is how many pictures at once"
    with board("serve", logdir, look) as writer:
        show_way(served, png(uploads.ten_digits()[7]))
        show_refusals(served)
        show_model(served, writer)
        console.mistakes(__name__, served=served, **uploads.for_mistakes())
        console.remember(
            "model = model.eval()  # once, after loading",
            "with torch.inference_mode(): logits = model(image[None])",
            "Look at each upload's size before you decode it.",
        )
        uploads.exercise(create_app(served).test_client(), served.model)
    console.next_lesson(__name__)


def run(
    checkpoint: options.ServedCheckpoint = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    explain: options.Explain = False,
    device: options.Device = "auto",
    logdir: options.LogDir = options.LOGS,
) -> None:
    """Put a trained network on a web page, and in an API."""
    served = open_served(checkpoint, logdir, device)
    if explain:
        return walk_through(served, logdir)
    listening = serving.listen(host, port)
    raise typer.Exit(serving.run(create_app(served), listening, served.card))


if __name__ == "__main__":
    typer.run(run)
