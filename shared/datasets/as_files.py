"""Embedded pictures written out as real files, for lessons about files."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image
from torch import Tensor

from shared.console import fail
from shared.datasets.embedded import digits, photograph

PAPER = ["image_1.png 0", "", "my flower.png 1", "image_3.png",
         "image_4.png zero", "image_9.png 1"]  # fmt: skip
Files = dict[str, bytes]  # "3/000.png": what is in it


def png(pixels: Tensor) -> bytes:
    """A PNG file of (C, H, W) uint8: 1 channel, 3, or 4 with alpha."""
    grey = pixels.size(0) == 1
    shown = pixels[0] if grey else pixels.permute(1, 2, 0)  # (H, W, C)
    file = BytesIO()
    Image.fromarray(shown.contiguous().numpy()).save(file, "png")
    return file.getvalue()


def dataset_files() -> Files:
    """Handwritten digits, as class folders and with what goes wrong there.

    all/3 and all/8 hold all of them, five/3 and five/8 three and two; files has
    one that is cut short, mac what a Mac leaves beside pictures, and trio one
    in colours, one grey, and a logo: black on nothing.
    """
    train, _ = digits(28)
    files = {}
    for digit, few in ((3, 3), (8, 2)):
        images = train.images[train.labels == digit]  # (N, 1, 28, 28)
        for k, image in enumerate(images):
            files[f"all/{digit}/{k:03}.png"] = png(image)
            if k < few:
                files[f"five/{digit}/{k:03}.png"] = png(image)
            if k < 6:
                files[f"files/{digit}-{k}.png"] = png(image)
    files["files/8-2.png"] = files["files/8-2.png"][:300]
    files |= {"mac/.DS_Store": b"Bud1", "mac/._000.png": b"Mac OS X"}
    files |= {"mac/000.png": png(image), "trio/grey.png": png(image)}
    colour = image.expand(3, 28, 28)
    logo = torch.cat([0 * colour, image])  # as opaque as there is ink
    return files | {
        "trio/colour.png": png(colour),
        "trio/logo.png": png(logo),
    }


def annotation_files() -> Files:
    """Pieces of two photographs with a list, and a list that needs mending.

    In list.txt a temple is 0 and a flower 1; paper.txt is as Windows has it.
    """
    temple, flower = photograph("china"), photograph("flower")
    pieces = {  # (0, temple) at row 80, column 150, and so on
        "image_0.png": (flower, 90, 210),
        "image_1.png": (temple, 80, 150),
        "image_2.png": (flower, 200, 200),
        "image_3.png": (temple, 150, 90),
        "image_4.png": (temple, 220, 200),
        "image_5.png": (flower, 240, 320),
        "image_6.png": (temple, 240, 80),
        "my flower.png": (flower, 120, 300),
    }
    files, lines = {}, []
    for name, (photo, top, left) in pieces.items():
        piece = photo[:, top : top + 100, left : left + 100]
        files[name] = png((255 * piece).round().byte())
        lines.append(f"{name} {int(photo is flower)}\n")
    files["list.txt"] = "".join(lines).encode()
    paper = "\r\n".join(PAPER).encode("utf-8-sig")
    return files | {"paper.txt": paper}


@contextmanager
def written(files: Files) -> Iterator[Path]:
    """A temporary folder that holds these files.

    It is gone afterwards. Where it can't be written, the command ends with
    exit code 1.
    """
    with ExitStack() as stack:
        try:
            temporary = TemporaryDirectory(ignore_cleanup_errors=True)
            root = Path(stack.enter_context(temporary)).resolve()
            for name, content in files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError as error:
            fail(
                f"Can't write a temporary folder: {error.strerror}.",
                "free some space, or set TMPDIR to a folder to write in",
            )
        yield root
