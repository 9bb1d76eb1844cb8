"""maxpool-demo: its mistakes, its claims (its cases: test_exercises.py)."""

import re
from itertools import product
from math import ceil

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from lessons import maxpool_demo as lesson
from shared.datasets.embedded import photograph
from shared.datasets.pictures import shrunk
from shared.models import CifarNet


def test_the_mean_of_whole_numbers_fails_or_is_cut_off():
    with pytest.raises(NotImplementedError, match="for 'Byte'"):
        lesson.wrong_bytes()
    assert lesson.tempting_bytes().tolist() == [[[1]]]
    assert lesson.tempting_bytes().dtype == torch.int64
    assert lesson.right_bytes().item() == pytest.approx(10 / 9)
    image = lesson.IMAGE.reshape(1, 5, 5)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.bool):
        with pytest.raises(NotImplementedError):
            F.avg_pool2d(image.to(dtype), 3)
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        largest = F.max_pool2d(image.to(dtype), 3, ceil_mode=True)
        assert largest.tolist() == [[[2, 3], [5, 1]]]


def test_a_pooling_layer_has_nothing_to_learn():
    with pytest.raises(AttributeError, match="no attribute 'weight'"):
        lesson.wrong_count()
    assert lesson.right_count() == 0


def test_channels_last_are_pooled_silently():
    assert lesson.wrong_orange().tolist() == [[[1]], [[1]]]
    assert lesson.right_orange().tolist() == [[[1]], [[0.5]], [[0]]]


def test_a_window_that_pytorch_leaves_out_has_no_pixel():
    """Wherever PyTorch has fewer windows than the formula, rounded up, says.

    A window may not start outside of the input and the padding on its left.
    """
    fewer = 0
    for size, k, stride in product(range(1, 12), range(1, 7), range(1, 7)):
        for padding in range(k // 2 + 1):
            number = 1 + ceil((size + 2 * padding - k) / stride)
            row = torch.zeros(1, 1, size)
            how = (1, k), (1, stride), (0, padding)
            ours = lesson.starts(size, k, stride, padding, True)
            if number < 1:
                assert not ours
                with pytest.raises(RuntimeError, match="too small"):
                    F.max_pool2d(row, *how, ceil_mode=True)
                continue
            windows = F.max_pool2d(row, *how, ceil_mode=True).size(2)
            assert windows == len(ours)
            if windows < number:
                fewer += 1
                assert windows == number - 1
                assert -padding + stride * windows >= size
            assert ours[-1] < size
    assert fewer > 100


@pytest.mark.parametrize("padding", [2, 3])
def test_more_padding_than_half_a_window_is_refused_as_by_pytorch(padding):
    image = torch.zeros(1, 9, 9)
    with pytest.raises(RuntimeError, match="at most half"):
        F.max_pool2d(image, 3, 1, padding)
    with pytest.raises(AssertionError):
        lesson.pool(image, torch.amax, 3, 1, padding, False)


def test_padding_is_a_0_in_a_mean_and_never_the_largest():
    image = torch.full((1, 2, 2), -4.0)
    assert (F.max_pool2d(image, 2, 2, 1) == -4).all()
    assert (F.avg_pool2d(image, 2, 2, 1) == -1).all()  # three zeros, one -4
    assert (lesson.MEAN(image, 2, 2, 1) == -4).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.half, torch.float64])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_strides_larger_than_a_window_and_pictures_that_are_not_contiguous(
    dtype, ceil_mode
):
    torch.manual_seed(0)
    for k, stride in product((1, 2, 3), (1, 3, 4, 7)):
        image = torch.randn(2, 9, 7, 3).permute(0, 3, 2, 1).to(dtype)
        how = k, stride, k // 2
        ours = lesson.pool(image, torch.amax, *how, ceil_mode)
        theirs = F.max_pool2d(image, *how, ceil_mode=ceil_mode)
        assert torch.equal(ours, theirs)
        ours = lesson.pool(image, torch.mean, *how, ceil_mode)
        theirs = lesson.MEAN(image, *how, ceil_mode=ceil_mode)
        near = 1e-2 if dtype == torch.half else 1e-6
        torch.testing.assert_close(ours, theirs, rtol=near, atol=near)


def test_empty_batches_stay_empty_and_pictures_too_small_have_no_window():
    empty = torch.zeros(0, 3, 5, 5)
    for mode in (False, True):
        ours = lesson.pool(empty, torch.amax, 3, 3, 0, mode)
        assert ours.shape == F.max_pool2d(empty, 3, ceil_mode=mode).shape
    pixel = torch.zeros(1, 1, 1)
    assert lesson.pool(pixel, torch.amax, 2, 2, 0, False).shape == (1, 0, 0)
    with pytest.raises(RuntimeError, match="too small"):
        F.max_pool2d(pixel, 2)
    assert lesson.pool(pixel, torch.amax, 2, 2, 0, True).shape == (1, 1, 1)


def same_after_a_move(x: torch.Tensor, k: int) -> float:
    both = torch.stack([x, x.roll(1, 2)])
    old, new = F.max_pool2d(both, k, ceil_mode=True)
    return (old == new).float().mean().item()


@pytest.mark.parametrize(("k", "seed"), [*product((2, 3, 4, 5), range(5))])
def test_of_random_pixels_as_many_stay_as_it_says(k, seed):
    torch.manual_seed(seed)
    noise = torch.rand(3, 60 * k, 60 * k)
    expected = (k - 1) / (k + 1)
    assert same_after_a_move(noise, k) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_of_slopes_nothing_stays_and_of_both_photographs_less_than_of_noise(k):
    slope = torch.arange(60.0 * k).expand(1, 8, 60 * k)
    assert same_after_a_move(slope, k) == 0
    for name in ("china", "flower"):
        image = shrunk(photograph(name), 25 * k)
        assert 0.05 < same_after_a_move(image, k) < (k - 1) / (k + 1)


def numbers(output: str, pattern: str) -> list[float]:
    (found,) = re.findall(pattern, " ".join(output.split()))
    return [float(number) for number in found]


STAY = r"Random pixels: (\d+)% of the outputs\. Picture: (\d+)%\."
LIGHT = r"picture (\d\.\d\d), largest (\d\.\d\d), mean (\d\.\d\d)\."


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, only_run, width, tmp_path
):
    result = run_cli("maxpool-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "[ 2 ]            ┌ 2  3 ┐        [ 1.11 ]         ┌ 1.11 1.33 ┐",
        "                 └ 5  1 ┘                         └ 2.17 1.00 ┘",
        "✓ pool = PyTorch's: largest difference",
        "✓ pool = PyTorch's, 200 random images: largest difference",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert line in result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert [*"3230210"] in rows
    assert [*"522143", "-1", "1", "3"] in rows
    assert width(result.output) <= 80
    picture, largest, mean = numbers(result.output, LIGHT)
    assert picture == pytest.approx(mean, abs=0.02) and largest > mean + 0.05
    noise, photo = numbers(result.output, STAY)
    assert 47 <= noise <= 53 and 20 <= photo <= 32
    events = read_events(only_run(tmp_path, "maxpool-demo"))
    assert events.Tags()["images"] == ["pooled"]
    (pooled,) = events.Images("pooled")
    assert (pooled.width, pooled.height) == (440, 540)


def test_what_it_says_of_train_cifar_s_network():
    first, _ = (m for m in CifarNet() if isinstance(m, nn.Linear))
    assert first.weight.shape == (64, 1024)
    assert 64 * 4 * 4 == 1024
    flat = nn.Linear(64 * 32 * 32, 64, device="meta")
    assert flat.weight.numel() == 64 * 32 * 32 * 64 == 4_194_304


@pytest.mark.parametrize("k", [2, 4, 5])
def test_windows_of_another_size_change_the_screen(run_cli, tmp_path, k):
    plain = run_cli("maxpool-demo", "--logdir", tmp_path).output
    words = ("--kernel-size", k, "--logdir", tmp_path)
    result = run_cli("maxpool-demo", *words)
    assert result.exit_code == 0, result.output
    assert f"largest, {k} x {k}" in result.output
    assert "largest, 3 x 3" in result.output  # the worked case stays
    assert numbers(result.output, STAY) != numbers(plain, STAY)
    assert numbers(result.output, LIGHT) != numbers(plain, LIGHT)


@pytest.mark.parametrize("size", [(1, 1), (1, 16), (16, 1), (300, 20), (9, 9)])
def test_a_picture_of_one_s_own_is_pooled(
    run_cli, read_events, only_run, tmp_path, size
):
    path = tmp_path / "own.png"
    Image.new("RGBA", size, (255, 0, 0, 128)).save(path)
    logs = tmp_path / "logs"
    result = run_cli("maxpool-demo", "--image", path, "--logdir", logs)
    assert result.exit_code == 0, result.output
    columns, rows = (max(1, round(min(1, 75 / max(size)) * n)) for n in size)
    said = " ".join(result.output.split())
    assert f" of {rows} x {columns} pixels: picture" in said
    picture, largest, mean = numbers(result.output, LIGHT)
    assert picture == largest == mean
    assert numbers(result.output, STAY)[1] == 100  # the same everywhere
    assert read_events(only_run(logs, "maxpool-demo")).Images("pooled")


def test_pictures_that_can_t_be_read_exit_1(run_cli, tmp_path):
    narrow = tmp_path / "narrow.png"
    Image.new("RGB", (17, 1)).save(narrow)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(narrow.read_bytes()[:40])
    for path in (narrow, damaged, tmp_path / "none.png", tmp_path):
        result = run_cli("maxpool-demo", "--image", path)
        assert result.exit_code == 1
        problem, next_step = result.stderr.splitlines()
        assert problem.startswith("Error: ") and str(path) in problem
        assert next_step.startswith("Next: ")


@pytest.mark.parametrize(
    "words",
    [("--kernel-size", 1), ("--kernel-size", 6), ("--kernel-size", "x")],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("maxpool-demo", *words).exit_code == 2


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("maxpool-demo", "--logdir", tmp_path).output
    first, second, third = re.findall(r"│ • (.*?) *│", output)
    exec(first, names := {})
    assert eval(second, names) == eval(third, names) == (64, 32, 16, 16)
    assert "(64, 32, 16, 16)" in second and "the same" in third


def test_the_exercise_has_an_answer():
    image = lesson.IMAGE[None]
    smallest = -F.max_pool2d(-image, 3, ceil_mode=True)
    assert smallest.tolist() == [[[0, 0], [0, 1]]]
    dark = 1 - torch.eye(3)[None]
    assert -F.max_pool2d(-dark, 3) == 0  # the ink is kept
