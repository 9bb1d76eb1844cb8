"""Image folders as people have them: damaged, mixed, mislabelled, huge."""

import os
import shutil
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from shared.datasets import image_folder


def write_picture(
    path: Path, number: int = 0, size: tuple[int, int] = (40, 30)
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    chance, shape = np.random.default_rng(number), (size[1], size[0], 3)
    pixels = chance.integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    """train/ and test/ with 12 and 3 pictures of cats and of dogs."""
    animals = tmp_path / "animals"
    for split, count in (("train", 12), ("test", 3)):
        for name in ("cat", "dog"):
            for number in range(count):
                path = animals / split / name / f"{number:02}.jpg"
                write_picture(path, number)
    return animals


@pytest.fixture
def read(folder, tmp_path) -> Callable:
    all_sets = partial(image_folder.image_folder, folder, tmp_path / "cache")
    return lambda: [images for images in all_sets() if images]


@pytest.fixture
def error(read, capsys) -> Callable[[], str]:
    """Read the folder, which must fail with exit code 1.

    Returns the one sentence that it says.
    """

    def read_and_fail() -> str:
        with pytest.raises(typer.Exit) as stopped:
            read()
        assert stopped.value.exit_code == 1
        sentence, next_step = capsys.readouterr().err.splitlines()[-2:]
        assert sentence.startswith("Error: ")
        assert next_step.startswith("Next: ")
        return sentence

    return read_and_fail


def test_pictures_of_any_size_become_32x32_with_sorted_classes(read, folder):
    write_picture(folder / "train" / "cat" / "large.png", size=(500, 300))
    train, test = read()
    assert train.images.shape == (25, 3, 32, 32)
    assert test.images.shape == (6, 3, 32, 32)
    assert train.classes == test.classes == ["cat", "dog"]
    assert train.labels.tolist() == [0] * 13 + [1] * 12


def test_pixels_are_those_that_pillow_reads(read, folder):
    path = folder / "train" / "cat" / "00.png"
    (folder / "train" / "cat" / "00.jpg").unlink()
    write_picture(path, size=(32, 32))
    train, _ = read()
    expected = np.asarray(Image.open(path)).transpose(2, 0, 1)
    assert np.array_equal(train.images[0].numpy(), expected)


@pytest.mark.parametrize("name", ["valid", "val"])
def test_a_folder_to_choose_by_may_stand_alone_or_beside_test(
    folder, name, tmp_path
):
    shutil.copytree(folder / "test", folder / name)
    write_picture(folder / name / "cat" / "more.png")
    read = partial(image_folder.image_folder, folder, tmp_path / "cache")
    assert [len(images) for images in read()] == [24, 7, 6]
    shutil.rmtree(folder / "test")
    train, val, test = read()
    assert (len(train), len(val), test) == (24, 7, None)


def test_a_second_start_decodes_nothing_and_a_changed_folder_everything(
    read, folder, monkeypatch
):
    decoded = []
    decode = image_folder._decode

    def counted(path: Path, size: int) -> np.ndarray | None:
        decoded.append(path)
        return decode(path, size)

    monkeypatch.setattr(image_folder, "_decode", counted)
    first, _ = read()
    assert len(decoded) == 30
    again, _ = read()
    assert len(decoded) == 30
    assert again.images.equal(first.images)
    write_picture(folder / "train" / "dog" / "new.jpg")
    assert len(read()[0]) == 25
    assert len(decoded) == 61
    os.utime(folder / "test" / "cat" / "00.jpg", (1, 1))
    read()
    assert len(decoded) == 92


def test_a_damaged_cache_is_made_anew(read, tmp_path):
    first, _ = read()
    (cache,) = (tmp_path / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:5000])
    assert read()[0].images.equal(first.images)


def test_without_a_cache_it_still_works(read, tmp_path, capsys):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(read()[0]) == 24
    assert "can't keep the decoded images" in capsys.readouterr().err


def huge_png(path: Path) -> None:
    """A decompression bomb.

    It is a PNG of 30,000 x 30,000 pixels that is only some kilobytes.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    size = (30_000).to_bytes(4, "big")
    header = chunk(b"IHDR", size + size + b"\x01\x00\x00\x00\x00")
    rows = zlib.compress(bytes(30_000 // 8 + 1) * 30_000, 9)
    start, end = b"\x89PNG\r\n\x1a\n" + header, chunk(b"IEND", b"")
    path.write_bytes(start + chunk(b"IDAT", rows) + end)


DAMAGES = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-400]),
    "text": lambda path: path.write_text("this is no picture"),
    "empty": lambda path: path.write_bytes(b""),
    "bomb": huge_png,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_picture_is_named_and_left_out(damage, read, folder, capsys):
    path = folder / "train" / "cat" / "05.jpg"
    intact, _ = read()
    DAMAGES[damage](path)
    train, test = read()
    said = capsys.readouterr().err
    assert str(path) in said
    assert said.splitlines()[-1].endswith("animals: 1")
    assert (len(train), len(test)) == (23, 6)
    assert train.labels.tolist() == [0] * 11 + [1] * 12
    assert train.images[5].equal(intact.images[6])  # the next one moved up
    read()  # from the cache, and still it says so
    assert str(path) in capsys.readouterr().err


def test_more_than_a_tenth_damaged_is_too_much(error, folder):
    for number in range(3):
        (folder / "train" / "dog" / f"{number:02}.jpg").write_bytes(b"")
    assert "3 of 24 pictures can't be read" in error()


def test_missing_empty_and_flat_folders(error, folder):
    (folder / "test").rename(folder / "later")
    assert "no folder test" in error()
    (folder / "train").rename(folder / "earlier")
    assert "no folder train" in error()
    folder.rename(folder.with_name("moved"))
    assert "no data folder" in error()
    folder.mkdir()
    assert "no folder train" in error()


def test_one_class_cannot_be_told_apart(error, folder):
    for split in ("train", "test"):
        (folder / split / "dog").rename(folder / f"{split}-dogs")
    assert "needs at least two class folders, and has 1" in error()


def test_a_class_without_pictures(error, folder):
    (folder / "train" / "owl").mkdir()
    (folder / "train" / "owl" / ".hidden.jpg").write_text("")
    (folder / "train" / "owl" / "notes.txt").write_text("")
    assert "owl holds no picture" in error()


def test_classes_must_be_the_same_in_both(error, folder):
    (folder / "test" / "dog").rename(folder / "test" / "wolf")
    sentence = error()
    assert "dog" in sentence
    assert "wolf" in sentence


def test_a_class_of_which_nothing_can_be_read(error, folder):
    for number in range(40):
        write_picture(folder / "test" / "dog" / f"more-{number}.jpg", number)
    for path in (folder / "test" / "cat").iterdir():
        path.write_bytes(b"")
    assert "No picture of class cat" in error()


def test_cmyk_jpeg_16_bit_png_and_animation_are_read(read, folder):
    cats = folder / "train" / "cat"
    Image.new("CMYK", (50, 50), (0, 255, 255, 0)).save(cats / "a.jpg")
    Image.fromarray(np.full((50, 50), 32_768, np.uint16)).save(cats / "b.png")
    colours = ("blue", "white")
    frames = [Image.new("RGB", (50, 50), colour) for colour in colours]
    frames[0].save(cats / "c.gif", save_all=True, append_images=frames[1:])
    train, _ = read()
    cmyk, grey, blue = train.images[12:15, :, 16, 16].tolist()
    assert cmyk[0] > 200
    assert max(cmyk[1:]) < 60
    assert grey == [128, 128, 128]
    assert blue == [0, 0, 255]


def test_another_size_is_decoded_anew(read, folder, tmp_path):
    assert read()[0].images.shape[2:] == (32, 32)
    train, *_ = image_folder.image_folder(folder, tmp_path / "cache", size=96)
    assert train.images.shape == (24, 3, 96, 96)
    assert read()[0].images.shape[2:] == (32, 32)
