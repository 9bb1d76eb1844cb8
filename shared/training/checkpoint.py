"""Checkpoints that survive a kill: a file is replaced whole, or not at all."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file in one step.

    A kill at any moment leaves the old one or the new one. The bytes go to
    path + ".part" in the same folder, reach the disk, and are then renamed.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def save_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain Python values.

    It is written whole or not at all. Raises OSError when it can't be written;
    an older checkpoint at path is then still there.
    """
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what save_checkpoint wrote, onto the CPU.

    Raises ValueError when the file is no checkpoint or is damaged, OSError when
    it can't be read.
    """
    try:
        # torch.load does not compare the checksums
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():
                raise zipfile.BadZipFile
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(f"{path} is damaged or no checkpoint") from error
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise ValueError(f"{path} holds a {kind}, not a checkpoint")
    return checkpoint
