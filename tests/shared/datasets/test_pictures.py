"""Pictures of the user's own, of every kind that people have."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from shared.datasets.embedded import photograph
from shared.datasets.pictures import (
    MOST,
    as_rgb,
    load_picture,
    own_or_photograph,
    shrunk,
)

RED = (204, 0, 51)  # which a palette has, too
NO_SUCH_FILE = {("CMYK", "png"), ("CMYK", "bmp"), ("CMYK", "gif"),
                ("RGBA", "jpg"), ("P", "jpg")}  # fmt: skip


def save(picture: Image.Image, path: Path, **options) -> Path:
    picture.save(path, **options)
    return path


def pixel(path: Path) -> list[int]:
    picture = load_picture(path)
    assert picture.mode == "RGB"
    return np.asarray(picture)[0, 0].tolist()


MODES = ("RGB", "RGBA", "P", "CMYK")
KINDS = ("png", "jpg", "tif", "webp", "gif", "bmp")


@pytest.mark.parametrize(
    ("mode", "kind"), sorted({*product(MODES, KINDS)} - NO_SUCH_FILE)
)
def test_every_mode_and_format_is_read_as_rgb(tmp_path, mode, kind):
    picture = Image.new("RGB", (6, 4), RED).convert(mode)
    path = save(picture, tmp_path / f"a.{kind}")
    assert np.abs(np.subtract(pixel(path), RED)).max() < 12


def test_grey_stays_grey_in_8_bits_and_in_16(tmp_path):
    eight = save(Image.new("L", (3, 3), 77), tmp_path / "8.png")
    assert pixel(eight) == [77, 77, 77]
    numbers = np.full((3, 3), 128 * 256 + 5, np.uint16)
    sixteen = save(Image.fromarray(numbers), tmp_path / "16.png")
    assert pixel(sixteen) == [128, 128, 128]


def test_what_is_transparent_becomes_white(tmp_path):
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert pixel(save(clear, tmp_path / "a.png")) == [255, 255, 255]
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert as_rgb(half).getpixel((0, 0)) == (127, 127, 127)
    palette = Image.new("P", (2, 2), 0)
    path = save(palette, tmp_path / "p.gif", transparency=0)
    assert pixel(path) == [255, 255, 255]


def test_a_photograph_taken_sideways_stands_upright(tmp_path):
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("red", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: to be shown turned clockwise
    path = save(picture, tmp_path / "a.png", exif=exif)
    upright = load_picture(path)
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 0, 0)
    assert upright.getpixel((10, 35)) == (0, 0, 0)


def test_one_pixel_is_a_picture(tmp_path):
    path = save(Image.new("RGB", (1, 1), RED), tmp_path / "a.png")
    assert load_picture(path).size == (1, 1)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_huge_one_is_shrunk_in_its_shape(tmp_path, kind):
    huge = Image.new("RGB", (12_000, 9_000), RED)
    path = save(huge, tmp_path / f"a.{kind}")
    picture = load_picture(path)
    assert picture.size == (MOST, MOST * 9 // 12)
    assert np.abs(np.subtract(pixel(path), RED)).max() < 12


def cut(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "There is no picture"),
        (lambda path: path.mkdir(), "is a folder, not a picture"),
        (lambda path: path.write_text("a dog"), "is not a picture"),
        (lambda path: path.write_bytes(b""), "is not a picture"),
        (cut, "is damaged: "),
    ],
    ids=["missing", "folder", "text", "empty", "truncated"],
)
def test_what_is_no_picture_ends_with_one_sentence(
    tmp_path, capsys, make, said
):
    path = tmp_path / "dog.png"
    make(path)
    with pytest.raises(typer.Exit) as stopped:
        load_picture(path)
    assert stopped.value.exit_code == 1
    problem, next_step = capsys.readouterr().err.splitlines()
    assert problem.startswith("Error: ")
    assert str(path) in problem
    assert said in problem
    assert next_step.startswith("Next: ")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3, 427, 640), (3, 16, 24)),
        ((640, 427), (24, 16)),
        ((1, 900), (1, 24)),
        ((3, 900, 1), (3, 24, 1)),
        ((3, 5, 4), (3, 5, 4)),  # small ones stay as they are
    ],
)
def test_shrunk_keeps_the_form_and_averages(size, expected):
    image = torch.rand(size)
    small = shrunk(image, 24)
    assert small.shape == expected
    torch.testing.assert_close(
        shrunk(torch.ones(size), 24), torch.ones(expected)
    )
    if size == expected:
        assert torch.equal(small, image)


def test_a_picture_of_one_s_own_or_the_embedded_photograph(tmp_path):
    china = own_or_photograph(None, "china")
    assert china.shape == (427, 640, 3)
    assert china.dtype == torch.uint8
    assert torch.equal(china / 255, photograph("china").permute(1, 2, 0))
    path = save(Image.new("RGB", (3, 2), RED), tmp_path / "own.png")
    own = own_or_photograph(path, "china")
    assert own.tolist() == [[[*RED]] * 3] * 2


def test_a_picture_that_is_too_narrow_is_refused(tmp_path, capsys):
    for size, right in (((16, 1), True), ((17, 1), False), ((1, 17), False)):
        path = save(Image.new("RGB", size), tmp_path / "narrow.png")
        if right:
            assert own_or_photograph(path, "china").shape == (1, 16, 3)
            continue
        with pytest.raises(typer.Exit):
            own_or_photograph(path, "china")
        assert "17 times as long as wide" in capsys.readouterr().err
