"""Embedded pictures as real files."""

import errno
from io import BytesIO

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from shared.datasets import as_files
from shared.datasets.as_files import (
    annotation_files,
    dataset_files,
    png,
    written,
)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_holds_the_pixels(channels):
    pixels = torch.randint(0, 256, (channels, 4, 5), dtype=torch.uint8)
    read = np.array(Image.open(BytesIO(png(pixels))))
    assert (read == pixels.permute(1, 2, 0).squeeze(2).numpy()).all()


def test_files_are_there_and_then_gone():
    with written({"a/b/c.txt": b"1", "d": b""}) as folder:
        assert (folder / "a" / "b" / "c.txt").read_bytes() == b"1"
        assert (folder / "d").exists()
    assert not folder.exists()


def test_an_error_inside_is_the_lesson_s_own():
    with pytest.raises(OSError, match="mine"), written({}) as folder:
        raise OSError("mine")
    assert not folder.exists()


def test_a_full_disk_is_one_sentence(monkeypatch, capsys):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(as_files.Path, "write_bytes", full)
    with pytest.raises(typer.Exit) as stopped, written({"a": b""}):
        pass
    assert stopped.value.exit_code == 1
    problem, next_step = capsys.readouterr().err.splitlines()
    assert "No space left" in problem
    assert "TMPDIR" in next_step


@pytest.mark.parametrize("make", [dataset_files, annotation_files])
def test_the_files_are_the_same_each_time(make):
    assert make() == make()
