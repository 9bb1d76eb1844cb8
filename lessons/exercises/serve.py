"""Cases for lessons/serve.py."""

from functools import partial
from io import BytesIO
from typing import Any

import torch
from flask import Flask
from PIL import Image
from torch import Tensor, nn

from shared.datasets.as_files import png
from shared.datasets.image_set import in_grey
from shared.practice.cases import Cases, call
from shared.serving import data_url
from shared.training.served import Served


def read_picture() -> Cases:
    """serving.sound(upload) opens it: its width and height are known then.

    decoded(picture, size) gives RGB (size, size, 3); the network wants the
    channels first.

    With an edge, the picture becomes that much larger on each side, and its
    middle is cut out: [:, edge : edge + size, edge : edge + size].

    For one channel: in_grey takes a batch, and gives one.
    """
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    yield call(BytesIO(png(image)), (3, 32, 32)), image
    yield call(BytesIO(png(image)), (1, 32, 32)), in_grey(image[None])[0]
    yield call(BytesIO(png(image)), (3, 22, 22), 5), image[:, 5:-5, 5:-5]
    yield call(BytesIO(png(image)), (3, 30, 30), edge=1), image[:, 1:-1, 1:-1]
    white = torch.full((3, 40, 70), 255, dtype=torch.uint8)
    yield call(BytesIO(png(white)), (3, 8, 8)), white[:, :8, :8]
    yield call(BytesIO(png(white)), (1, 28, 28)), white[:1, :28, :28]
    for kind in ("BMP", "GIF", "WEBP", "TIFF", "PPM"):
        file = BytesIO()
        Image.new("RGB", (3, 3), "white").save(file, kind)
        yield call(file, (3, 3, 3)), white[:, :3, :3]


def predict() -> Cases:
    """The network takes a batch: image[None] is one of one.

    torch.inference_mode() keeps no graph. softmax makes confidences of logits.
    """
    for shape, classes in (((1, 2, 2), 2), ((3, 4, 4), 10), ((3, 1, 1), 3)):
        net = Whole(shape, classes)
        image = torch.randint(0, 256, shape, dtype=torch.uint8)
        logits = net(image[None])[0].detach()
        yield call(net, image), logits.softmax(0)
        yield call(net, image), _without_graph


def _without_graph(out: Tensor) -> None:
    assert not out.requires_grad, "it keeps a graph"


class Whole(nn.Module):
    """uint8 images (N, C, H, W) in, logits (N, classes) out."""

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(torch.Size(shape).numel(), classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1) / 255)


def answer() -> Cases:
    """read_picture, then predict: confidences in the order of the labels.

    sort(descending=True) gives the values, and the labels that they had.
    """
    classes = ["cat", "dog", "emu"]
    for shape in ((3, 4, 4), (1, 4, 4), (3, 1, 1)):
        served = Served("a.pt", Whole(shape, 3), classes, shape, {})
        image = torch.randint(0, 256, (3, *shape[1:]), dtype=torch.uint8)
        seen = image if shape[0] == 3 else in_grey(image[None])[0]
        shares = served.model(seen[None])[0].softmax(0).detach()
        look = partial(_found, shares, classes, data_url(seen))
        yield call(served, BytesIO(png(image))), look


def _found(
    shares: Tensor, classes: list[str], seen: str, out: dict[str, Any]
) -> None:
    order = shares.argsort(descending=True)
    assert out["classes"] == [classes[label] for label in order], out
    torch.testing.assert_close(Tensor(out["probabilities"]), shares[order])
    assert out["model"] == "a.pt"
    assert out["milliseconds"] > 0
    assert out["seen"] == seen


def create_app() -> Cases:
    """@app.get("/healthz") above a function makes an endpoint of it.

    serving.uploaded(request) is the file; read_picture and predict do the rest.

    app.register_error_handler(HTTPException, serving.refuse) makes errors JSON.
    """
    classes, shape = ["cat", "dog", "emu"], (3, 4, 4)
    served = Served("a.pt", Whole(shape, 3), classes, shape, {"file": "a.pt"})
    image = torch.randint(0, 256, shape, dtype=torch.uint8)

    def answers(app: Flask) -> None:
        client, file = app.test_client(), png(image)
        sent = client.post("/predict", data={"image": (BytesIO(file), "a")})
        found = sent.get_json()
        shares = served.model(image[None])[0].softmax(0).detach()
        _found(shares, classes, data_url(image), found)
        raw = client.post("/predict", data=file, content_type="image/png")
        assert raw.get_json()["probabilities"] == found["probabilities"]
        assert client.get("/healthz").get_json()["status"] == "ok"
        assert "cat" in client.get("/").text

    def refuses(app: Flask) -> None:
        client, large = app.test_client(), BytesIO()
        Image.new("1", (6000, 6000)).save(large, "png")
        kind = {"content_type": "image/png"}
        sent = {
            400: client.post("/predict", data=b"Hello", **kind),
            404: client.get("/cat"),
            405: client.get("/predict"),
            413: client.post("/predict", data=large.getvalue(), **kind),
            415: client.post("/predict", data="Hello"),
        }
        found = {status: answer.status_code for status, answer in sent.items()}
        assert found == {status: status for status in sent}, found
        assert all(answer.get_json()["error"] for answer in sent.values())

    yield call(served), answers
    yield call(served), refuses
    grey = Served("b.pt", Whole((1, 4, 4), 3), classes, (1, 4, 4), {})

    def shows(app: Flask) -> None:
        sent = {"image": (BytesIO(png(image)), "a")}
        found = app.test_client().post("/predict", data=sent).get_json()
        assert found["seen"].startswith("data:image/png;base64,")
        shares = grey.model(in_grey(image[None]))[0].softmax(0)
        best = shares.max().item()
        assert abs(found["probabilities"][0] - best) < 1e-5, found

    yield call(grey), shows
