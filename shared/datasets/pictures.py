"""A picture of the user's own: whatever it is, upright RGB, or one sentence."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from shared.console import fail
from shared.datasets import embedded

MOST = 1024  # pixels: a larger picture is shrunk, its shape kept


def shrunk(image: Tensor, most: int) -> Tensor:
    """An image (H, W) or (3, H, W) with its longer side at most so many pixels.

    Pixels are averaged. Without it, a high picture would fill the terminal.
    """
    size = image.shape[-2:]
    scale = min(1, most / max(size))
    size = [max(1, round(scale * length)) for length in size]
    small = adaptive_avg_pool2d(image.reshape(-1, *image.shape[-2:]), size)
    return small if image.dim() == 3 else small[0]


def load_picture(path: Path | str) -> Image.Image:
    """Read a picture file as upright RGB, its longer side at most MOST pixels.

    What can't be read ends the command with exit code 1.
    """
    path = Path(path)
    anew = "save it anew as PNG or JPEG"
    if path.is_dir():
        fail(f"{path} is a folder, not a picture.", "name one file in it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            image.draft("RGB", (MOST, MOST))  # a JPEG is decoded at that size
            picture = as_rgb(image)
    except FileNotFoundError:
        fail(f"There is no picture {path}.", "check the path")
    except Image.DecompressionBombError:
        fail(f"{path} has more pixels than can be read safely.", "shrink it")
    except UnidentifiedImageError:
        fail(f"{path} is not a picture that can be read.", anew)
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        fail(f"{path} is damaged: {error}.", anew)
    picture.thumbnail((MOST, MOST))
    return picture


def as_rgb(image: Image.Image) -> Image.Image:
    """Any picture as upright 8-bit RGB; of an animation, the first picture.

    It may be CMYK, or 16-bit grey, or have a palette. What is transparent
    becomes white.
    """
    image = ImageOps.exif_transpose(image)
    # 16 bits: convert() would cut all above 255 off to white
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def own_or_photograph(path: Path | None, photograph: str) -> Tensor:
    """Pixels (H, W, 3) uint8 of a picture file or, without one, embedded ones.

    A picture more than 16 times as long as wide ends the command with exit
    code 1: nothing could be seen of it.
    """
    if path is None:
        pixels = embedded.photograph(photograph).permute(1, 2, 0) * 255
        return pixels.round().byte().contiguous()
    picture = load_picture(path)
    short, long = sorted(picture.size)
    if long > 16 * short:
        problem = f"{path} is {long // short} times as long as wide."
        fail(problem, "cut it to at most 16 times")
    return torch.from_numpy(np.array(picture))
