"""Grey images, MNIST's kind: embedded, of MNIST's files, of pictures."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from shared.datasets import sources
from shared.datasets.embedded import digits

CPU = torch.device("cpu")


def write_mnist(root: Path, counts: tuple[int, int] = (40, 20)) -> None:
    """MNIST's four files, of the first embedded digits."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    both = zip(("train", "t10k"), digits(28), counts, strict=True)
    for name, images, count in both:
        pixels = images.images[:count].numpy().tobytes()
        labels = images.labels[:count].byte().numpy().tobytes()
        head = struct.pack(">4I", 2051, count, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels)
        head = struct.pack(">2I", 2049, count)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + labels)


def test_the_embedded_digits_are_enlarged_and_a_tenth_is_held_out():
    train, val, test = sources.load_grey("digits", CPU, None, 0)
    assert [len(some) for some in (train, val, test)] == [1350, 150, 297]
    assert train.images.shape[1:] == (1, 28, 28)


def test_a_folder_with_mnist_raw_is_read_as_mnist(tmp_path):
    write_mnist(tmp_path)
    train, val, test = sources.load_grey(str(tmp_path), CPU, None, 0)
    assert [len(some) for some in (train, val, test)] == [36, 4, 20]
    assert (train.name, train.images.dtype) == ("MNIST", torch.uint8)
    assert torch.equal(test.images, digits(28)[1].images[:20])
    assert torch.equal(test.labels, digits(28)[1].labels[:20])


@pytest.mark.parametrize("harm", ["cut", "gone", "empty"])
def test_damaged_mnist_files_are_one_sentence(tmp_path, harm, capsys):
    write_mnist(tmp_path)
    file = tmp_path / "MNIST/raw/t10k-images-idx3-ubyte"
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: 100 if harm == "cut" else 0])
    with pytest.raises(typer.Exit) as stopped:
        sources.load_grey(str(tmp_path), CPU, None, 0)
    assert stopped.value.exit_code == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "damaged or not whole" in said
    assert "copy it again" in said


def test_mnist_that_is_not_there_names_the_download(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sources, "DATA", tmp_path)
    with pytest.raises(typer.Exit):
        sources.load_grey("mnist", CPU, None, 0)
    assert "python cli.py data get mnist" in capsys.readouterr().err


def test_coloured_pictures_become_grey_as_pillow_makes_them(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sources, "DATA", tmp_path)
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, (4, 28, 28, 3), np.uint8)
    for place, some in enumerate(pixels):
        for split in ("train", "test"):
            path = tmp_path / "own" / split / "ab"[place % 2] / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(some).save(path)
    *_, test = sources.load_grey(str(tmp_path / "own"), CPU, None, 0)
    assert test.images.shape == (4, 1, 28, 28)
    theirs = [Image.fromarray(pixels[k]).convert("L") for k in (0, 2, 1, 3)]
    ours = test.images[:, 0].numpy().astype(int)
    assert np.abs(ours - np.stack(theirs)).max() <= 1  # rounded, or cut off
