"""Picture files and folders of the user's own, read batch by batch."""

import warnings
from collections.abc import Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from shared.console import fail, progress
from shared.datasets.image_folder import SUFFIXES, small_rgb

AT_ONCE = 500  # pictures in memory


def picture_files(paths: list[Path]) -> list[Path]:
    """The files themselves and, sorted, the pictures in and below folders.

    What is not there, and a folder without pictures, end the command with exit
    code 1.
    """
    files = []
    for path in paths:
        if not path.exists():
            fail(f"There is no picture {path}.", "check the path")
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and not any(p[0] == "." for p in file.relative_to(path).parts)
            and file.is_file()
        )
        if not inside:
            fail(f"The folder {path} holds no picture.", "name another one")
        files += inside
    return list(dict.fromkeys(files))


def read_batches(
    files: list[Path], damaged: dict[Path, str]
) -> Iterator[tuple[list[Path], Tensor]]:
    """Files, and their pictures (N, 3, 32, 32) uint8, at most 500 at once.

    Those that can't be read are left out, and come into damaged with why.
    """
    with progress("pictures") as bar, ThreadPool() as pool:
        task = bar.add_task("reading pictures", total=len(files))
        for first in range(0, len(files), AT_ONCE):
            some = files[first : first + AT_ONCE]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                read = zip(some, pool.map(_read, some), strict=True)
            bar.advance(task, len(some))
            whole = {}
            for file, result in read:
                (damaged if isinstance(result, str) else whole)[file] = result
            if whole:
                pixels = torch.from_numpy(np.stack([*whole.values()]))
                yield list(whole), pixels.permute(0, 3, 1, 2).contiguous()


def _read(path: Path) -> np.ndarray | str:
    """The picture, or why there is none."""
    try:
        return small_rgb(path)
    except UnidentifiedImageError:
        return "not a picture"
    except Exception as error:  # Pillow raises a dozen kinds of them
        return str(error).splitlines()[0][:60] if str(error) else "damaged"
