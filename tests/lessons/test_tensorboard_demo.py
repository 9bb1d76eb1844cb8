"""tensorboard-demo: what it writes, what it says, and its mistakes."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from lessons import tensorboard_demo as lesson
from shared.datasets.embedded import digits
from shared.events import entries, picture, raw_events

ZIGZAG = [[(0, 0), (1, 1), (2, 2)], [(0, 0), (1, 3), (2, 6)]]


@pytest.fixture(scope="module")
def roof():
    return lesson.own_or_photograph(None, "china")[20:180, 130:270]


def test_hwc_as_chw_is_an_error_and_reshape_tears_it_silently(tmp_path, roof):
    with pytest.raises(TypeError, match=r"\(1, 1, 160\)"):
        lesson.wrong_roof(tmp_path, roof)
    with pytest.raises(TypeError, match=r"\(1, 1, 160\), \|u1"):
        lesson.wrong_roof(tmp_path, roof / 255)  # the dtype is not the fault
    assert lesson.right_roof(tmp_path, roof)
    with SummaryWriter(tmp_path / "other") as writer:
        writer.add_image("permuted", roof.permute(2, 0, 1))
        writer.add_image("reshaped", roof.reshape(3, 160, 140))
    assert picture(tmp_path / "other", "permuted").equal(roof)
    torn = picture(tmp_path / "other", "reshaped")
    assert (torn == roof).float().mean() < 0.1


def test_only_uint8_is_not_multiplied(tmp_path):
    assert lesson.wrong_greys(tmp_path).tolist() == [[0, 255, 255, 255]]
    assert lesson.right_greys(tmp_path).tolist() == [[0, 64, 128, 192]]
    greys = torch.tensor([[0, 64, 128, 255]])
    dtypes = torch.int64, torch.int32, torch.float64, torch.float16
    with SummaryWriter(tmp_path / "other") as writer:
        writer.add_image("as it is", greys.byte(), dataformats="HW")
        for dtype in dtypes:
            writer.add_image(f"{dtype}", greys.to(dtype), dataformats="HW")
    shown = picture(tmp_path / "other", "as it is")
    assert shown[0, :, 0].tolist() == [0, 64, 128, 255]
    for dtype in dtypes:
        shown = picture(tmp_path / "other", f"{dtype}")
        assert shown[0, :, 0].tolist() == [0, 255, 255, 255]


def test_two_runs_in_one_folder_are_one_curve(tmp_path):
    # files of one second are read in the order of their names, and 10 < 9
    (points,) = lesson.wrong_again(tmp_path).values()
    assert points in ([*ZIGZAG[0], *ZIGZAG[1]], [*ZIGZAG[1], *ZIGZAG[0]])
    assert lesson.right_again(tmp_path) == [{"y": line} for line in ZIGZAG]


def test_what_is_not_written_yet_is_not_there(tmp_path):
    for turn in map(str, range(5)):  # the writer could be faster, but isn't
        assert lesson.wrong_end(tmp_path / turn) == {}
        closed = lesson.right_end(tmp_path / turn)
        assert closed == {"noise": [(0, "image")]}


@pytest.mark.parametrize(("last", "kept"), [("", 0), ("writer.flush()", 1)])
def test_a_program_that_ends_loses_it_unless_it_waited(tmp_path, last, kept):
    program = (
        "import torch; from torch.utils.tensorboard import SummaryWriter\n"
        f"writer = SummaryWriter({str(tmp_path)!r})\n"
        f"writer.add_image('noise', torch.rand(3, 400, 400))\n{last}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert len(entries(tmp_path)) == kept


def test_tensorboard_finds_runs_below_its_folder_and_in_no_other(tmp_path):
    lesson.right_again(tmp_path)
    assert lesson.wrong_logdir(tmp_path) == []
    assert lesson.right_logdir(tmp_path) == ["3x", "x"]
    assert lesson.right_logdir(tmp_path / "x") == ["."]


def test_command_writes_every_kind_of_entry_and_reads_it_back(
    run_cli, read_events, drawn, only_run, width, tmp_path
):
    result = run_cli("tensorboard-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    for line in (
        "0e 00 00 00 00 00 00 00 the event's length, 14",
        "10 03 2a 0a 0a 08 0a 01 79 15 00 00 c0 40 the event: step 3",
        "They are one record: 8 + 4 + 14 + 4 = 30 bytes. 79 is the letter y.",
        "✓ 00 00 c0 40 as a float32 = 6: largest difference 0",
        "The file has 2 records; the first names its kind.",
        "✓ records = TensorBoard's own reader: largest difference 0",
        "✓ curve by hand, line/y = TensorBoard's: largest difference 0",
        "line/y 100 SCALARS",
        "images/hwc came as (427, 640, 3)",
        "one picture of 84 x 224",
        "lines_2x, lines_3x, lines_x.",
        "Mistake 5 of 5",
        "Next lesson: python cli.py",
    ):
        assert line in output
    assert width(result.output) <= 80
    run = only_run(tmp_path, "tensorboard-demo")
    events = read_events(run)
    tags = events.Tags()
    assert drawn(events) == {
        "images/hwc": (640, 427),
        "images/chw": (640, 427),
        "images/grid": (224, 84),
        "figure": (600, 450),
    }
    assert tags["scalars"] == ["line/y"]
    assert tags["histograms"] == ["numbers"]
    assert tags["tensors"] == ["note/text_summary"]
    points = [(e.step, e.value) for e in events.Scalars("line/y")]
    assert points == [(x, 2 * x) for x in range(100)]
    for curve, factor in (("x", 1), ("2x", 2), ("3x", 3)):
        (_, points), *others = entries(run / f"lines_{curve}").items()
        assert points == [(x, factor * x) for x in range(100)]
        assert not others
    assert [step for step, _ in entries(run)["numbers"]] == [0, 1, 2, 3, 4]
    hills = events.Histograms("numbers")
    assert [event.step for event in hills] == [0, 1, 2, 3, 4]
    for event in hills:
        counts = event.histogram_value
        assert counts.num == sum(counts.bucket) == 1000
        assert abs(counts.sum / 1000 - event.step) < 0.2
    (text,) = events.Tensors("note/text_summary")
    assert b"**bold**" in text.tensor_proto.string_val[0]


def test_both_orders_show_the_same_picture_and_the_grid_has_rows_of_8(
    run_cli, only_run, tmp_path
):
    run_cli("tensorboard-demo", "--logdir", tmp_path)
    run = only_run(tmp_path, "tensorboard-demo")
    photo = lesson.own_or_photograph(None, "china")
    for tag in ("images/hwc", "images/chw"):
        assert picture(run, tag).equal(photo)
    images = digits(28)[0].images[:20].expand(-1, 3, -1, -1)
    grid = image_grid(images, 8).permute(1, 2, 0)
    assert picture(run, "images/grid").equal(grid)


def image_grid(images: torch.Tensor, columns: int) -> torch.Tensor:
    """The exercise, solved."""
    count, channels, height, width = images.shape
    columns = min(columns, count)
    shape = channels, -(-count // columns) * height, columns * width
    grid = torch.zeros(shape, dtype=images.dtype)
    for place, image in enumerate(images):
        top, left = place // columns * height, place % columns * width
        grid[:, top : top + height, left : left + width] = image
    return grid


@pytest.mark.parametrize("count", [1, 8, 20])
def test_the_exercise_has_an_answer_that_its_check_accepts(count):
    images = torch.rand(count, 3, 5, 4)
    for columns in (1, 3, 8, 20):
        expected = make_grid(images, columns, padding=0)
        assert image_grid(images, columns).equal(expected)


def test_a_picture_of_your_own_changes_the_screen(run_cli, only_run, tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, (30, 20, 3), np.uint8)
    path = tmp_path / "own.png"
    Image.fromarray(pixels).save(path)
    words = ("--image", path, "--logdir", tmp_path)
    result = run_cli("tensorboard-demo", *words)
    assert result.exit_code == 0, result.output
    assert "images/hwc came as (30, 20, 3)" in result.output
    run = only_run(tmp_path, "tensorboard-demo")
    assert picture(run, "images/chw").equal(torch.from_numpy(pixels))


def test_the_time_of_day_makes_an_event_9_bytes_longer(tmp_path):
    for name, words in (("with", {}), ("without", {"walltime": 0})):
        with SummaryWriter(tmp_path / name) as writer:
            writer.add_scalar("y", 6, 3, **words)
    (with_it,), (without,) = (
        (tmp_path / name).iterdir() for name in ("with", "without")
    )
    longer, event = (
        lesson.records(path.read_bytes())[1] for path in (with_it, without)
    )
    assert (len(longer), len(event)) == (23, 14)
    assert longer.endswith(event)


@pytest.mark.parametrize("seed", range(5))
def test_the_hills_of_the_histogram_have_their_tops_where_it_says(
    read_events, tmp_path, seed
):
    torch.manual_seed(seed)
    photo = torch.zeros(2, 2, 3, dtype=torch.uint8)
    with SummaryWriter(tmp_path) as writer:
        lesson.write_all(writer, photo, torch.zeros(20, 1, 2, 2))
    hills = read_events(tmp_path).Histograms("numbers")
    assert [event.step for event in hills] == [0, 1, 2, 3, 4]
    for event in hills:
        counts = event.histogram_value
        assert abs(counts.sum / counts.num - event.step) < 0.2
        assert abs(top(counts) - event.step) < 0.5


def top(counts) -> float:
    """The middle of the fullest of 30 bins of one width, as in the browser."""
    edges = np.linspace(counts.min, counts.max, 31)
    below = np.interp(edges, counts.bucket_limit, np.cumsum(counts.bucket))
    fullest = np.diff(below).argmax()
    return edges[fullest : fullest + 2].mean()


def test_the_figure_says_which_line_it_shows(monkeypatch, tmp_path):
    draw, figures = lesson.curves_figure, []
    monkeypatch.setattr(
        lesson,
        "curves_figure",
        lambda *words: figures.append(draw(*words)) or figures[-1],
    )
    photo = torch.zeros(2, 2, 3, dtype=torch.uint8)
    with SummaryWriter(tmp_path) as writer:
        lesson.write_all(writer, photo, torch.zeros(20, 1, 2, 2))
    (axes,) = figures[0].axes
    (line,), (legend,) = axes.lines, axes.get_legend().get_texts()
    assert legend.get_text() == line.get_label() == "y = 2x"
    assert line.get_xydata().tolist() == [[x, 2 * x] for x in range(100)]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_the_lines_to_remember_run(run_cli, tmp_path, monkeypatch):
    output = run_cli("tensorboard-demo", "--logdir", tmp_path / "logs").output
    lines = re.findall(r"│ • (.*?) *│", output)
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), {})
    (run,) = (tmp_path / "runs").iterdir()
    assert entries(run) == {"y": [(3, 6)]}


def test_the_first_record_of_every_file_is_the_version(tmp_path):
    for number in range(12):
        SummaryWriter(tmp_path / str(number)).close()
    for path in tmp_path.glob("*/*"):
        (only,) = lesson.records(path.read_bytes())
        assert raw_events(path) == [only]
        assert b"brain.Event:2" in only


def test_a_file_that_is_still_written_is_read_as_far_as_it_goes(tmp_path):
    lesson.write_line(tmp_path, 3)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    lengths = [
        len(lesson.curve(content[:end], "y")) for end in range(len(content) + 1)
    ]
    assert lengths == sorted(lengths)
    assert {*lengths} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing.png", "no picture"), ("text.png", "not a picture")],
)
def test_a_picture_that_cannot_be_read_exits_1(run_cli, tmp_path, name, said):
    (tmp_path / "text.png").write_text("no picture")
    words = ("--image", tmp_path / name, "--logdir", tmp_path / "logs")
    result = run_cli("tensorboard-demo", *words)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("words", [("--image",), ("--colour", "red")])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("tensorboard-demo", *words).exit_code == 2
