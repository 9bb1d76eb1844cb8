"""transforms-demo: its mistakes, and what it says of torchvision."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1
from torchvision.transforms import v2

from lessons import transforms_demo as lesson


def test_mistakes_are_wrong_and_their_mends_are_right():
    assert lesson.wrong_white().tolist() == [[[509]]]
    assert lesson.right_white().tolist() == [[[1]]]
    assert lesson.wrong_night().tolist() == [[[-1, 0, 1], [-1, 0, 1]]]
    assert lesson.right_night().tolist() == [[[-1, 0, 1], [-1.5, -1, -0.5]]]
    assert lesson.right_exam().tolist() == [[[4] * 5]]
    assert lesson.wrong_size() == 0.375 == 1 - 0.625
    assert lesson.right_size() == 1


def test_the_std_of_day_is_as_the_mend_says():
    day = torch.tensor([0.25, 0.5, 0.75])
    assert day.std() == ((0.25**2 + 0 + 0.25**2) / (3 - 1)) ** 0.5 == 0.25


@pytest.mark.parametrize("seed", range(5))
def test_a_test_with_chance_in_it_differs_from_one_without(seed):
    torch.manual_seed(seed)
    looks = [lesson.wrong_exam().unique().numel() for _ in range(20)]
    assert max(looks) > 1  # and 9 * 9**-5 to be all the same, each time
    assert {lesson.right_exam().unique().item() for _ in range(20)} == {4}


def test_a_window_larger_than_the_picture_raises_as_it_says():
    for version in (v1, v2):
        with pytest.raises(ValueError, match="larger than"):
            version.RandomCrop(64)(torch.ones(3, 32, 48))
    for rows, columns in ((32, 48), (48, 32), (1, 1), (64, 64), (300, 200)):
        white = torch.ones(3, rows, columns)
        mended = v2.Compose([v2.Resize(64), v2.CenterCrop(64)])(white)
        torch.testing.assert_close(mended, torch.ones(3, 64, 64))


def test_floats_stay_as_they_are_in_v1_and_in_v2():
    white = np.full((2, 2, 3), 255, np.float32)
    both = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    assert v1.ToTensor()(white).min() == both(white).min() == 255


def test_one_s_own_mean_alone_does_not_make_day_and_night_the_same():
    day = torch.tensor([0.25, 0.5, 0.75])
    night = day / 2
    assert (day - day.mean()).tolist() == [-0.25, 0, 0.25]
    assert (night - night.mean()).tolist() == [-0.125, 0, 0.125]


def test_what_is_advised_for_testing_gives_one_input():
    inputs = {lesson.right_exam().unique().item() for _ in range(20)}
    assert inputs == {4}
    torch.manual_seed(0)
    flipped = v2.Compose([v2.CenterCrop(2), v2.RandomHorizontalFlip()])
    looks = torch.stack([flipped(lesson.PICTURE) for _ in range(50)])
    assert len(looks.unique(dim=0)) == 2  # so a flip must go, too


def test_what_to_remember_takes_any_picture_of_three_channels():
    half = [0.5] * 3
    end = v2.ToDtype(torch.float32, scale=True), v2.Normalize(half, half)
    for window in (v2.RandomCrop(32), v2.CenterCrop(32)):
        both = v2.Compose([v2.ToImage(), v2.Resize(36), window, *end])
        for shape in ((20, 50, 3), (400, 300, 3), (1, 1, 3)):
            image = both(np.full(shape, 255, np.uint8))
            assert image.shape == (3, 32, 32)
            torch.testing.assert_close(
                image.as_subclass(torch.Tensor), torch.ones(3, 32, 32)
            )


@pytest.mark.parametrize("seed", range(5))
def test_which_transforms_are_random_is_as_it_says(seed):
    torch.manual_seed(seed)
    image = torch.rand(3, 70, 100)
    several = [lesson.transformed(image) for _ in range(5)]
    changing = {
        name[0]
        for name in several[0]
        if any(not torch.equal(v[name], several[0][name]) for v in several)
    }
    assert changing == {"4", "6", "7"}


def test_the_other_names_are_in_v1_and_in_v2_and_do_the_same():
    image = torch.rand(3, 20, 30)
    for name, settings in {
        "Normalize": ([0.5], [0.5]),
        "Resize": (10,),
        "CenterCrop": (10,),
        "RandomCrop": (10,),
        "RandomHorizontalFlip": (1,),
        "RandomGrayscale": (1,),
    }.items():
        torch.manual_seed(0)
        one = getattr(v1, name)(*settings)(image)
        torch.manual_seed(0)
        other = getattr(v2, name)(*settings)(image)
        torch.testing.assert_close(one, other)
    for name in ("RandomRotation", "ColorJitter", "Compose"):
        assert hasattr(v1, name) and hasattr(v2, name)


@pytest.mark.parametrize("shape", [(427, 640), (640, 427), (70, 64), (3, 40)])
def test_the_longer_side_is_rounded_down(shape):
    short, long = sorted(shape)
    resized = v2.Resize(64)(torch.rand(3, *shape)).shape[1:]
    assert sorted(resized) == [64, 64 * long // short]


@pytest.mark.parametrize(("v", "wanted"), [(0.6, 0.272), (204, 8323.4)])
def test_one_step_leads_where_it_says(v, wanted):
    w, b = torch.zeros(2, dtype=torch.float64, requires_grad=True).unbind()
    for_w, for_b = torch.autograd.grad((w * v + b - 1) ** 2, (w, b))
    assert (for_w.item(), for_b.item()) == (-2 * v, -2)
    after = (w - 0.1 * for_w) * v + (b - 0.1 * for_b)
    assert after.item() == pytest.approx(wanted)


def test_with_mean_and_std_a_half_x_becomes_2_x_minus_1():
    x = torch.linspace(0, 1, 256).expand(3, 1, 256)
    made = lesson.normalize(x, lesson.HALF, lesson.HALF)
    torch.testing.assert_close(made, 2 * x - 1)
    assert (made.min(), made.max()) == (-1, 1)


def test_a_std_of_0_gives_infinities_by_hand_and_an_error_in_torchvision():
    image = torch.tensor([[[0.25, 0.5, 0.75]]])
    mean, std = torch.tensor([0.5]), torch.tensor([0.0])
    made = lesson.normalize(image, mean, std).flatten()
    assert made[[0, 2]].tolist() == [-torch.inf, torch.inf]
    assert made[1].isnan()
    for version in (v1, v2):
        with pytest.raises(ValueError, match="division by zero"):
            version.Normalize(mean.tolist(), std.tolist())(image)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [(3, 8, 11), (1, 5, 4), (4, 2, 3, 7, 6)])
def test_crop_and_flip_is_torchvision_s_with_the_same_random_numbers(
    shape, dtype
):
    both = v2.Compose([v2.RandomCrop(3), v2.RandomHorizontalFlip(p=0.5)])
    image = torch.rand(shape).to(dtype)
    for one in (image, image.transpose(-1, -2)):  # that is not contiguous
        for seed in range(10):
            torch.manual_seed(seed)
            ours = [lesson.crop_and_flip(one, 3) for _ in range(5)]
            torch.manual_seed(seed)
            theirs = [both(one) for _ in range(5)]
            assert all(map(torch.equal, ours, theirs))
            assert {part.dtype for part in ours} == {dtype}


@pytest.mark.parametrize("shape", [(1, 3, 5), (1, 5, 3), (1, 3, 3)])
def test_where_a_side_is_the_window_s_the_looks_are_the_same(shape):
    # v2 draws no number for that side, so one seed gives other looks
    both = v2.Compose([v2.RandomCrop(3), v2.RandomHorizontalFlip(p=0.5)])
    image = torch.arange(float(torch.tensor(shape).prod())).view(shape)
    torch.manual_seed(0)
    ours = torch.stack([lesson.crop_and_flip(image, 3) for _ in range(200)])
    theirs = torch.stack([both(image) for _ in range(200)])
    assert ours.unique(dim=0).equal(theirs.unique(dim=0))
    windows = (shape[1] - 2) * (shape[2] - 2)
    assert len(ours.unique(dim=0)) == 2 * windows


@pytest.mark.parametrize("seed", range(5))
def test_a_thousand_calls_make_all_8_looks_with_any_seed(seed):
    torch.manual_seed(seed)
    calls = [lesson.crop_and_flip(lesson.PICTURE, 2) for _ in range(1000)]
    _, counts = torch.cat(calls).unique(dim=0, return_counts=True)
    assert len(counts) == 8
    assert counts.min() > 80  # 125 are expected, give or take 10


def test_mean_and_std_of_training_images_become_0_and_1():
    images = torch.rand(20, 3, 8, 9) * torch.rand(3, 1, 1)
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3))
    normal = v2.Normalize(mean, std)(images)
    zero, one = torch.zeros(3), torch.ones(3)
    torch.testing.assert_close(normal.mean((0, 2, 3)), zero, atol=1e-5, rtol=0)
    torch.testing.assert_close(normal.std((0, 2, 3)), one)


def test_after_normalize_colour_jitter_cuts_off_what_is_below_0():
    dark, half = torch.full((3, 2, 2), 0.2), [0.5] * 3
    normal = v2.Normalize(half, half)
    jitter = v2.ColorJitter(brightness=(1.5, 1.5))
    torch.testing.assert_close(normal(jitter(dark)), (dark * 1.5 - 0.5) / 0.5)
    assert jitter(normal(dark)).unique().tolist() == [0]


def test_the_exercise_has_an_answer():
    whole = [v2.Resize(None, max_size=32), v2.CenterCrop(32)]
    square = v2.Compose(whole)(torch.ones(3, 427, 640))
    assert square.shape == (3, 32, 32)
    assert square.mean() == 21 / 32
    assert v2.Compose(whole)(torch.ones(3, 640, 427)).mean() == 21 / 32
    for shape in ((640, 427), (5, 5), (32, 32), (9, 100), (1, 32), (9, 288)):
        square = v2.Compose(whole)(torch.ones(3, *shape))
        rows, columns = (max(1, int(32 * side / max(shape))) for side in shape)
        wanted = rows * columns / 32**2
        assert square.mean().item() == pytest.approx(wanted)
    with pytest.raises(RuntimeError, match="greater than 0"):
        v2.Compose(whole)(torch.ones(3, 1, 33))  # more than 32 times as long


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, drawn, only_run, width, tmp_path
):
    result = run_cli("transforms-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "So x becomes 2 * x - 1, and 0 to 1 becomes -1 to 1." in said
    for line in (
        "orange [204, 102, 51]",
        "└ 0.00 0.80 ┘  └ 0.00 0.40 ┘  └ 0.00 0.20 ┘",
        "└ -1.00  0.60 ┘  └ -1.00 -0.20 ┘  └ -1.00 -0.60 ┘",
        "✓ by hand = v1 (PIXELS, photo, random): largest difference 0",
        "✓ by hand = v2 (PIXELS, photo, random): largest difference",
        "64 * 640 // 427 = 95.",
        "made 8. A Dataset",
        "✓ crop_and_flip = RandomCrop, then flip: largest difference 0",
        "[[[509]]]",
        "Mistake 4 of 4",
        "Next lesson: python cli.py",
    ):
        assert line in result.output
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "transforms-demo"))
    assert drawn(events) == {"transforms": (880, 540), "looks": (880, 780)}


def test_the_transforms_are_what_their_names_say():
    torch.manual_seed(0)
    views = lesson.transformed(torch.rand(3, 70, 100))
    middle = views["3 the middle"]
    assert views["1 small"].shape == (3, 64, 91)
    assert views["2 square"].shape == (3, 64, 64)
    assert views["4 a window"].shape == (3, 48, 48)
    assert torch.equal(views["5 mirrored"], middle.flip(-1))
    assert (views["6 rotated"][:, 0, 0] == 0).all()
    assert not torch.equal(views["7 colours"], middle)
    red, green, blue = views["8 grey"]
    assert torch.equal(red, green) and torch.equal(green, blue)


@pytest.mark.parametrize("size", [(48, 48), (60, 200), (1, 1), (16, 1)])
def test_a_picture_of_one_s_own_takes_the_photograph_s_place(
    run_cli, tmp_path, size
):
    path = tmp_path / "own.png"
    Image.new("RGBA", size, (255, 0, 0, 128)).save(path)
    words = ("--image", path, "--logdir", tmp_path / "logs")
    result = run_cli("transforms-demo", *words)
    assert result.exit_code == 0, result.output
    short, long = sorted(size)
    assert f"a picture read as {short} x {long} " in result.output
    sides = f"64 * {long} // {short} = {64 * long // short}."
    assert sides in result.output


def test_pictures_that_nothing_can_be_seen_of_exit_1(run_cli, tmp_path):
    narrow = tmp_path / "narrow.png"
    Image.new("RGB", (17, 1)).save(narrow)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(narrow.read_bytes()[:40])
    for path in (narrow, damaged, tmp_path / "none.png", tmp_path):
        result = run_cli("transforms-demo", "--image", path)
        assert result.exit_code == 1
        assert result.stdout == ""  # it says so before the lesson begins
        problem, next_step = result.stderr.splitlines()
        assert problem.startswith("Error: ") and str(path) in problem
        assert next_step.startswith("Next: ")


@pytest.mark.parametrize("words", [("--image",), ("--size", 3), ("a.png",)])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("transforms-demo", *words).exit_code == 2


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("transforms-demo", "--logdir", tmp_path).output
    first, second, third = re.findall(r"│ • (.*?) *│", output)
    exec(f"{first}\n{second}\n{third}", names := {})
    train = names["train"]
    picture = Image.new("RGB", (40, 50), (255, 255, 255))
    image = train(picture)
    assert image.shape == (3, 32, 32) and (image == 1).all()
    with pytest.raises(RuntimeError, match="must match"):
        train(picture.convert("RGBA"))  # so RGB is what it must be
    exec(third.replace("RandomCrop", "CenterCrop"), names)
    image = names["train"](picture)
    assert image.shape == (3, 32, 32) and (image == 1).all()
