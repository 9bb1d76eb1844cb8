"""tensor-demo: its mistakes and what it says (cases: test_exercises.py)."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from lessons import tensor_demo as lesson
from shared.datasets.pictures import own_or_photograph


def test_the_worked_case_is_the_curriculum_s():
    table = lesson.TABLE
    assert (table.shape, table.stride()) == ((2, 3), (3, 1))
    assert (table.T.shape, table.T.stride()) == ((3, 2), (1, 3))
    layouts = zip(lesson.VIEWS.values(), lesson.LAYOUTS, strict=True)
    for view, (stride, offset) in layouts:
        assert (view.stride(), view.storage_offset()) == (stride, offset)
        assert (
            view.data_ptr() - view.element_size() * (view.storage_offset())
            == lesson.NUMBERS.data_ptr()
        )


def test_mistakes_fail_and_their_mends_work():
    with pytest.raises(RuntimeError, match=r"contiguous.*Use \.reshape"):
        lesson.wrong_row()
    assert lesson.right_row().tolist() == [0, 3, 1, 4, 2, 5]
    assert lesson.wrong_crop().tolist() == [[0, 1, 1], [0, 1, 1]]
    assert lesson.right_crop().tolist() == [[0, 0, 0], [0, 0, 0]]
    differences = [[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]
    assert lesson.wrong_guesses().tolist() == differences
    assert lesson.right_guesses().tolist() == [0, 0, 0]
    assert f"{(lesson.wrong_guesses() ** 2).mean():.2f}" == "1.33"


def test_reshape_is_a_view_where_one_is_possible_and_a_copy_elsewhere():
    table = torch.arange(6).view(2, 3)
    assert table.reshape(6).data_ptr() == table.data_ptr()
    assert table.T.reshape(6).data_ptr() != table.data_ptr()


def test_in_uint8_200_plus_100_is_44_as_it_says():
    assert (torch.tensor(200, dtype=torch.uint8) + 100).item() == 44


def test_a_slice_of_a_list_is_a_copy_as_it_says():
    numbers = [0, 0]
    part = numbers[1:]
    part[0] = 1
    assert numbers == [0, 0]


def test_a_negative_stride_is_refused():
    with pytest.raises(RuntimeError, match="Negative strides"):
        torch.arange(6).as_strided((6,), (-1,), 5)
    with pytest.raises(ValueError, match="greater than zero"):
        torch.arange(6)[::-1]


def test_contiguous_is_what_it_says():
    assert lesson.TABLE.is_contiguous()
    assert lesson.TABLE.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    for name, view in lesson.VIEWS.items():
        assert view.is_contiguous() == (name == "TABLE")
    assert lesson.TABLE[1:].is_contiguous()  # neighbours, though not all
    assert lesson.TABLE.T.flatten().tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("size", [(6, 4), (1, 1), (9, 5)])
def test_crop_and_red_are_views_and_the_others_are_not(size):
    photo = torch.randint(0, 256, (*size, 3), dtype=torch.uint8)
    pictures = lesson.pictures_of(photo)
    storage = pictures["image"].untyped_storage().data_ptr()
    views = [
        name
        for name, picture in pictures.items()
        if picture.untyped_storage().data_ptr() == storage
    ]
    assert views == ["image", "crop", "red"]


def test_by_view_each_third_of_the_photo_becomes_a_channel():
    photo = torch.randint(0, 256, (9, 5, 3), dtype=torch.uint8)
    by_view = lesson.pictures_of(photo)["by view"]
    for channel in range(3):
        third = photo[3 * channel : 3 * channel + 3]
        assert torch.equal(by_view[channel].flatten(), third.flatten() / 255)


def test_a_stretched_row_or_column_has_a_stride_of_0():
    for tensor, stride in ((lesson.ROW, (0, 1)), (lesson.COLUMN, (1, 0))):
        assert tensor.expand(2, 3).stride() == stride
        assert tensor.expand(2, 3).data_ptr() == tensor.data_ptr()


def test_the_formula_has_a_term_for_each_dimension():
    photo = torch.arange(4 * 5 * 3).view(4, 5, 3)
    down, right, deep = photo.stride()
    assert photo[2, 3, 1] == 2 * down + 3 * right + 1 * deep
    assert photo.permute(2, 0, 1).stride() == (deep, down, right)


def test_two_shapes_that_do_not_fit_are_an_error_in_pytorch():
    assert lesson.broadcast_shapes((2,), (3,)) is None
    with pytest.raises(RuntimeError, match="must match"):
        torch.ones(2) + torch.ones(3)


def test_the_exercise_has_an_answer():
    windows = torch.arange(6).as_strided((4, 3), (1, 1))
    assert windows.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, drawn, only_run, width, tmp_path
):
    result = run_cli("tensor-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "stride (3, 1)  stride (1, 3)  stride (3, 1)  stride (3, 0)",
        "offset 0       offset 0       offset 1       offset 2",
        "│ 1  4 │",
        "┌ 11  12  13 ┐",
        "✓ as_strided = PyTorch's four tensors: largest difference 0",
        "✓ the sum, stretched by hand: largest difference 0",
        "✓ 1,000 random tables, and pairs that fit: largest difference 0",
        "✓ image = torchvision's to_tensor: largest difference 0",
        "(427, 640, 3)",
        "[2, 19, 13]",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert line in result.output
    said = " ".join(result.output.split())
    assert "TABLE.T has the shape (3, 2)." in said
    assert "row 2, column 1 is at 0 + 2*1 + 1*3 = 5." in said
    assert "read with stride (1, 0), COLUMN has the shape (2, 3)" in said
    assert "640 * 3 = 1920 places" in said
    assert "permute reorders strides: (1, 1920, 3)" in said
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "tensor-demo"))
    assert drawn(events) == {"strides": (800, 800), "photo": (660, 540)}


@pytest.mark.parametrize(
    "size", [(1, 1), (60, 900), (900, 60), (40, 20), (1, 16)]
)
def test_a_picture_of_your_own_changes_the_screen(
    run_cli, tmp_path, width, size
):
    path = tmp_path / "own.png"
    Image.new("RGB", size, (7, 8, 9)).save(path)
    words = ("--image", path, "--logdir", tmp_path)
    result = run_cli("tensor-demo", *words)
    assert result.exit_code == 0, result.output
    photo = own_or_photograph(path, "flower")
    said = " ".join(result.output.split())
    assert f"photo has the shape {tuple(photo.shape)}, which is" in said
    assert f"{size[0]} * 3 = {photo.stride(0)} places" in said
    assert f"reorders strides: {photo.permute(2, 0, 1).stride()}" in said
    assert "is [7, 8, 9]" in said
    assert width(result.output) <= 80


def test_what_is_no_picture_exits_1_with_one_sentence(run_cli, tmp_path):
    missing = tmp_path / "none.png"
    words = ("--image", missing, "--logdir", tmp_path)
    result = run_cli("tensor-demo", *words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"There is no picture {missing}." in result.stderr


@pytest.mark.parametrize("words", [("--image",), ("--stride", 2), ("own.png",)])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("tensor-demo", *words).exit_code == 2


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("tensor-demo", "--logdir", tmp_path).output
    image, crop, check = re.findall(r"│ • (.*?) *│", output)
    photo = torch.zeros(427, 640, 3, dtype=torch.uint8)
    names = {"photo": photo, "guesses": torch.ones(3)}
    exec(f"{image}\n{crop}", names)
    assert names["image"].shape == (3, 427, 640)
    names["crop"] += 1
    assert not names["image"].any()
    exec(check, {**names, "truths": torch.ones(3)})
    with pytest.raises(AssertionError):
        exec(check, {**names, "truths": torch.ones(3, 1)})


def test_a_file_becomes_the_tensor_that_it_says(tmp_path):
    path = tmp_path / "grey.png"
    Image.new("L", (5, 4), 77).save(path)  # without convert it is (H, W)
    photo = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    assert (photo.shape, photo.dtype) == ((4, 5, 3), torch.uint8)
    image = lesson.pictures_of(photo)["image"]
    assert torch.stack([image, image]).shape == (2, 3, 4, 5)
