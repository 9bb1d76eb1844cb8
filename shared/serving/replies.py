"""What came with a request, and what goes back beside the answer."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from typing import BinaryIO
from urllib.parse import urlsplit

from flask import Request, request
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    UnsupportedMediaType,
)
from werkzeug.wrappers import Response

from shared.datasets.as_files import png

PAGE = Path(__file__).resolve().parent / "page"
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
ONE_AT_A_TIME = Lock()  # large pictures, decoded side by side, fill a memory
MOST_BYTES = 10 * 1024 * 1024  # of a request
MOST_EDGE = 20_000  # pixels; shrinking a line of millions takes seconds
RAW = "application/octet-stream"
OWN_CODE = {  # what the page may do: talk to this server, and nothing else
    "Content-Security-Policy": "default-src 'self'; "
    "img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
SAY = {
    400: "This is no request that can be understood.",
    404: "Only /, /predict and /healthz are here.",
    405: "/predict takes POST; / and /healthz take GET.",
    413: f"Too large: at most {MOST_BYTES >> 20} MB are read.",
    500: "The server made a mistake. Its terminal says which.",
}


def uploaded(sent: Request) -> BinaryIO:
    """The file in the form's field image, or else the body itself.

    Raises BadRequest where it isn't there, UnsupportedMediaType where the body
    is something else.
    """
    kind = sent.mimetype
    if kind == "multipart/form-data":
        if "image" not in sent.files:
            raise BadRequest("The form has no file in its field image.")
        return sent.files["image"].stream
    if kind.startswith("image/") or kind == RAW:
        return BytesIO(sent.get_data())
    raise UnsupportedMediaType(
        f"Send a form or image/png, not {kind[:40] or 'no type'}."
    )


def own_names_only() -> None:
    """Raises BadRequest where the server was asked for by a foreign name."""
    asked = request.headers.get("Host", "localhost")
    with suppress(ValueError):
        name = urlsplit(f"//{asked}").hostname
        if name == "localhost" or ip_address(name or "").is_loopback:
            return
    raise BadRequest("Only localhost and loopback addresses are served.")


@contextmanager
def sound(upload: BinaryIO) -> Iterator[Image.Image]:
    """An uploaded picture, opened: its head is read, nothing is decoded.

    What is no picture, or breaks off while it is decoded, raises BadRequest;
    far too many pixels raise RequestEntityTooLarge.
    """
    try:
        with ONE_AT_A_TIME, Image.open(upload, "r", FORMATS) as image:
            if max(image.size) > MOST_EDGE:
                problem = f"An edge of over {MOST_EDGE:,} pixels: shrink it."
                raise RequestEntityTooLarge(problem)
            yield image
    except HTTPException:
        raise
    except Image.DecompressionBombError:
        raise RequestEntityTooLarge("Far too many pixels: shrink it.") from None
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        problem = f"This is not a picture that can be read ({kinds})."
        raise BadRequest(problem) from None
    except Exception:  # Pillow raises a dozen kinds for damaged files
        raise BadRequest("The picture is damaged: save it anew.") from None


def data_url(image: Tensor) -> str:
    """An image (C, H, W) uint8 as an address that holds all of a PNG file."""
    packed = base64.b64encode(png(image)).decode()
    return f"data:image/png;base64,{packed}"


def refuse(error: HTTPException) -> Response:
    """An error as JSON: {"error": one sentence}, with its status."""
    is_ours = error.description != type(error).description
    sentence = error.description if is_ours else SAY.get(error.code)
    answer = error.get_response()  # it has the headers, such as Allow
    answer.data = json.dumps({"error": sentence or f"{error.name}."}) + "\n"
    answer.content_type = "application/json"
    return answer


def guard(answer: Response) -> Response:
    """Whatever ends up in the page: it may talk to this server alone."""
    answer.headers.update(OWN_CODE)
    return answer
