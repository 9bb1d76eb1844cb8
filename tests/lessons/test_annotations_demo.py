"""annotations-demo: its mistakes, what it says, and lists of a user's own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lessons import annotations_demo as lesson
from shared.datasets.as_files import annotation_files, written


@pytest.fixture(scope="module")
def folder():
    with written(annotation_files()) as root:
        yield root


@pytest.fixture(scope="module")
def found(folder):
    text = (folder / "list.txt").read_text(encoding="utf-8")
    found, problems = lesson.parse(text, folder)
    assert not problems
    return found


def test_the_list_on_paper_needs_utf_8_sig_and_nothing_else(folder):
    path = folder / "paper.txt"
    assert path.read_bytes().startswith(b"\xef\xbb\xbfimage_1.png 0\r\n\r\n")
    text = path.read_text("utf-8-sig")
    found, problems = lesson.parse(text, folder)
    assert [(path.name, label) for path, label in found] == [
        ("image_1.png", 0),
        ("my flower.png", 1),
    ]
    assert problems == {
        4: "no space, so no label",
        5: "'zero' is no label",
        6: "there is no file 'image_9.png'",
    }
    _, problems = lesson.parse(path.read_text(encoding="utf-8"), folder)
    assert problems[1].endswith(
        r"'\ufeffimage_1.png'"
    )  # the mark is still there


def test_next_is_python_s_and_a_for_loop_gives_all_batches(found):
    dataset = lesson.Listed(found, lesson.prepare)
    with pytest.raises(AttributeError, match="has no attribute 'next'"):
        lesson.wrong_batch(dataset)
    labels = lesson.right_batch(dataset)
    assert labels.tolist() == [1, 0, 1, 0]
    assert labels.dtype == torch.int64
    loader = DataLoader(dataset, batch_size=4)
    labels = torch.cat([labels for _, labels in loader])
    assert labels.tolist() == [label for _, label in found]


def test_a_label_is_a_place_and_1_0_is_none():
    names = ["temple", "flower"]
    assert names[torch.tensor(1)] == "flower"
    assert torch.tensor(1).dtype == torch.tensor([1]).long().dtype
    for place in (1.0, torch.tensor(1.0)):
        with pytest.raises(TypeError):
            names[place]
    assert torch.tensor(1.0).dtype == torch.float32


def test_51_becomes_minus_1_2_and_0_2():
    grey = Image.new("RGB", (9, 9), (51, 51, 51))
    image = lesson.prepare(grey)
    expected = torch.full((3, 64, 64), -1.2)
    torch.testing.assert_close(image, expected)
    back = lesson.denormalise(image)
    torch.testing.assert_close(back, torch.full((3, 64, 64), 0.2))


def test_denormalised_no_number_is_outside_0_to_1():
    levels = torch.arange(256) / 255
    back = lesson.denormalise((levels - lesson.MEAN) / lesson.STD)
    assert 0 <= back.min() <= back.max() <= 1


def test_sorted_apart_half_of_the_labels_are_wrong(found):
    assert lesson.wrong_tidy(found) == "4 of 8 are right"
    assert lesson.right_tidy(found) == "8 of 8 are right"
    labels = [label for _, label in sorted(found)]
    assert labels == [1, 0, 1, 0, 0, 1, 0, 1]
    places = range(8)
    assert [labels[k] == sorted(labels)[k] for k in places].count(True) == 4
    in_order = [(Path(f"{k}"), int(k > 3)) for k in places]
    assert lesson.wrong_tidy(in_order) == "8 of 8 are right"
    in_order = [(Path(f"{k}"), int(k < 4)) for k in places]
    assert lesson.wrong_tidy(in_order) == "0 of 8 are right"


@pytest.mark.parametrize("classes", [2, 10])
def test_sorted_apart_is_as_good_as_chance(classes):
    shares = []
    for seed in range(5):
        chance = torch.Generator().manual_seed(seed)
        order = torch.randperm(1000, generator=chance).tolist()
        mixed = [(Path(f"{k:04}"), n % classes) for k, n in enumerate(order)]
        right, total = re.findall(r"\d+", lesson.wrong_tidy(mixed))
        shares.append(int(right) / int(total) - 1 / classes)
    assert -0.06 < min(shares) <= max(shares) < 0.06, shares


def test_of_five_greys_two_are_to_be_seen_and_denormalised_all():
    greys = torch.arange(5) / 4
    assert lesson.wrong_view(greys).tolist() == [0, 0, 0, 1, 1]
    assert lesson.right_view(greys).tolist() == greys.tolist()
    low, high = (torch.tensor([0.0, 1.0]) - lesson.MEAN) / lesson.STD
    assert (low, high) == (-2, 2)


def test_tensorboard_clips_as_the_mistake_says(tmp_path, read_events):
    from io import BytesIO

    from torch.utils.tensorboard import SummaryWriter

    greys = (torch.arange(5) / 4 - lesson.MEAN) / lesson.STD
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_image("greys", greys[None, None], 0)
        colours = torch.stack([greys, greys.flip(0), greys])[:, None]
        writer.add_image("colours", colours, 0)
    (event,) = read_events(tmp_path).Images("greys")
    picture = Image.open(BytesIO(event.encoded_image_string)).convert("L")
    assert [picture.getpixel((k, 0)) for k in range(5)] == [0, 0, 0, 255, 255]
    (event,) = read_events(tmp_path).Images("colours")
    picture = Image.open(BytesIO(event.encoded_image_string))
    assert picture.getpixel((0, 0)) == (0, 255, 0)  # each channel alone


def test_command_prints_the_worked_cases_and_logs_the_pictures(
    run_cli, read_events, drawn, only_run, width, tmp_path
):
    result = run_cli("annotations-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for part in (
        "4 no space, so no label",
        "5 'zero' is no label",
        "6 there is no file 'image_9.png'",
        "Left are image_1.png: 0 and my flower.png: 1.",
        r"to line 1: there is no file '\ufeffimage_1.png'.",
        "(0.2 - 0.5) / 0.25 = -1.2. Back: -1.2 * 0.25 + 0.5 = 0.2.",
        "stacks examples 0, 2, 4, 6 to a batch: images (4, 3, 64, 64)",
        "labels [1, 1, 0, 0], torch.int64.",
        "✓ 51: prepare = torchvision",
        "84% of the numbers",
        "✓ prepare = Resize, ToTensor, Normalize",
        "✓ denormalised = Resize, ToTensor",
        "✗ AttributeError",
        "✓ int64, shape (4,): [1, 0, 1, 0]",
        "✗ 4 of 8 are right",
        "✓ float32, shape (5,): [0, 0.25, 0.5, 0.75, 1]",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert part in said, part
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "annotations-demo"))
    assert drawn(events) == {"batch": (880, 540)}


def test_batch_size_alone_changes_the_screen(run_cli, tmp_path):
    words = ("--batch-size", 8, "--logdir", tmp_path)
    result = run_cli("annotations-demo", *words)
    assert result.exit_code == 0, result.output
    assert "8 of its 8 examples" in result.output
    assert "(8, 3, 64, 64)" in " ".join(result.output.split())


def test_the_figure_of_one_image_has_its_whole_title(
    run_cli, monkeypatch, tmp_path
):
    draw, figures = lesson.pictures_figure, []

    def kept(*words):
        figures.append(draw(*words))
        return figures[-1]

    monkeypatch.setattr(lesson, "pictures_figure", kept)
    run_cli("annotations-demo", "--batch-size", 1, "--logdir", tmp_path)
    (figure,) = figures
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width


def test_the_lines_to_remember_run(run_cli, tmp_path):
    output = run_cli("annotations-demo", "--logdir", tmp_path).output
    lines = re.findall(r"│ • (.*?) *│", output)
    images = torch.rand(2, 3, 4, 5)
    names = {"torch": torch, "images": (images - 0.5) / 0.25}
    exec("\n".join(lines), names | {"mean": 0.5, "std": 0.25}, names)
    assert (names["name"], names["label"]) == ("my dog.jpg", 1)
    assert names["label"].dtype == torch.int64
    torch.testing.assert_close(names["back"], images)
    mean, std = torch.rand(2, 3, 1, 1)
    names["images"] = (images - mean) / std
    exec(lines[2], names | {"mean": mean, "std": std}, names)
    torch.testing.assert_close(names["back"], images)


def test_the_exercise_has_an_answer_and_a_set_has_an_order_of_its_own():
    def numbered(lines: list[str], unique=lambda names: sorted(set(names))):
        pairs = [line.rsplit(maxsplit=1) for line in lines]
        classes = unique([name for _, name in pairs])
        return [(path, classes.index(name)) for path, name in pairs]

    lines = ["a dog", "b c cat", "d dog"]
    assert numbered(lines) == [("a", 1), ("b c", 0), ("d", 1)]
    code = "print(list({'dog', 'cat'}))"
    orders = {
        subprocess.check_output(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": str(seed)}
        )
        for seed in range(8)
    }
    assert len(orders) == 2


@pytest.fixture
def own(tmp_path) -> Path:
    """Five pictures of all kinds, and their list: not written yet."""
    folder = tmp_path / "my pictures"
    (folder / "sub").mkdir(parents=True)
    kinds = {
        "a.jpg": ("RGB", (90, 60)),
        "b c.png": ("L", (1, 1)),
        "sub/d.png": ("RGBA", (300, 2)),
        "naïve.png": ("P", (8, 8)),
        "[x] $y$.png": ("CMYK", (8, 8)),
    }
    for name, (mode, size) in kinds.items():
        picture = Image.new(mode, size, 90)
        picture.save(folder / name, "tiff" if mode == "CMYK" else None)
    return folder / "list.txt"


LINES = [
    "a.jpg 0",
    "b c.png 2",
    "sub/d.png 1",
    "naïve.png 102",
    "[x] $y$.png 0",
]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(LINES).encode(),
        "\r\n".join([*LINES, ""]).encode("utf-8-sig"),
        "\r".join(LINES).encode(),
        ("\n\n \n" + "\n\n".join(LINES) + "\n\n\t\n").encode(),
        "\n".join(f"  {line}\t " for line in LINES).encode(),
        "\n".join("\t".join(line.rsplit(" ", 1)) for line in LINES).encode(),
    ],
    ids=["plain", "windows", "old mac", "blank lines", "spaces", "tabs"],
)
def test_a_list_of_the_user_s_own(run_cli, read_events, only_run, own, content):
    own.write_bytes(content)
    logs = own.parent / "logs"
    words = ("--data", own, "--batch-size", 5, "--logdir", logs)
    result = run_cli("annotations-demo", *words)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "5 of its 5 examples" in said
    assert "[0, 2, 1, 102, 0], torch.int64" in said
    assert "✓ prepare = Resize, ToTensor, Normalize" in said
    events = read_events(only_run(logs, "annotations-demo"))
    assert events.Tags()["images"] == ["batch"]


def test_100_000_lines(run_cli, own, monkeypatch):
    own.write_text("\n".join(LINES * 20_000), encoding="utf-8")
    monkeypatch.chdir(own.parent)
    words = ("--data", own.name, "--logdir", "logs")
    result = run_cli("annotations-demo", *words)
    assert result.exit_code == 0, result.output
    assert "4 of its 100,000 examples" in result.output


def test_one_line(run_cli, own):
    own.write_text(LINES[0])
    words = ("--data", own, "--logdir", own.parent / "logs")
    result = run_cli("annotations-demo", *words)
    assert result.exit_code == 0, result.output
    assert "1 of its 1 examples" in result.output


def test_what_is_shown_is_spread_over_a_list_sorted_by_label(run_cli, own):
    labels = [0, 0, 0, 0, 1, 1, 1]
    own.write_text("\n".join(f"a.jpg {label}" for label in labels))
    words = ("--data", own, "--logdir", own.parent / "logs")
    result = run_cli("annotations-demo", *words)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "examples 0, 1, 3, 5 to a batch" in said
    assert "labels [0, 0, 0, 1]" in said


def lines_of_100_000() -> bytes:
    return b"\n".join(b"gone.jpg" for _ in range(100_000))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"a.jpg 0\n\na.jpg\n",
            ["1 line of", "line 3: no space, so no label."],
        ),
        (b"b c.png", ["line 1: 'c.png' is no label."]),
        (b"a.jpg 0\r\na.jpg zero", ["line 2: 'zero' is no label."]),
        (b"a.jpg -1", ["line 1: '-1' is no label."]),
        (b"a.jpg 0.0", ["line 1: '0.0' is no label."]),
        (b"a.jpg 99999999999999999999", ["is no label."]),
        (b"a.jpg,0", ["line 1: no space, so no label."]),
        (b"a.jpg 0\n1", ["line 2: no space, so no label."]),
        (b"A B.jpg 1", ["line 1: there is no file 'A B.jpg'."]),
        (b"sub 1", ["line 1: there is no file 'sub'."]),
        (b"a.jpg x\nb\ngone.jpg 1\na.jpg 0", ["3 lines", "2: no", "3: there"]),
        (b"a.jpg 0\n" + b"x" * 5000 + b" 1", ["line 2: ", "xxx"]),
        (lines_of_100_000(), ["100,000 lines", "line 10: no", "99,990 more"]),
        ("a.jpg 0\nbär.jpg 1".encode("cp1252"), ["not UTF-8", "in line 2"]),
        ("a.jpg 0\n".encode("utf-16"), ["not UTF-8", "in line 1"]),
        ("a.jpg 0\n".encode("utf-16-le"), ["is no text, or UTF-16"]),
        (b"\x89PNG\r\n\x1a\n\0\0", ["not UTF-8"]),
        (b"", ["is empty"]),
        (b"\xef\xbb\xbf\r\n \r\n", ["is empty"]),
    ],
)
def test_a_list_that_can_t_be_used_is_one_clear_report(
    run_cli, own, content, said
):
    own.write_bytes(content)
    logs = own.parent / "logs"
    result = run_cli("annotations-demo", "--data", own, "--logdir", logs)
    assert result.exit_code == 1, result.output
    assert not result.stdout
    problem, next_step = result.stderr.splitlines()
    assert problem.startswith("Error: ")
    assert str(own) in problem
    for part in said:
        assert part in problem
    assert len(problem) < 1000
    assert next_step.startswith("Next: ")
    assert not logs.exists()


def test_a_list_that_is_not_there_or_a_folder(run_cli, own):
    for path, said in (
        (own, "There is no list"),
        (own.parent, "is a folder"),
        (own.with_name("x" * 300), "Can't read"),
    ):
        result = run_cli("annotations-demo", "--data", path)
        assert result.exit_code == 1
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize("content", [b"", b"a dog", b"cut"])
def test_a_damaged_picture_is_one_sentence_before_anything_is_said(
    run_cli, own, content
):
    path = own.parent / "a.jpg"
    cut = path.read_bytes()[:400]
    path.write_bytes(cut if content == b"cut" else content)
    own.write_text("\n".join(LINES), encoding="utf-8")
    words = ("--data", own, "--logdir", own.parent / "logs")
    result = run_cli("annotations-demo", *words)
    assert result.exit_code == 1
    assert not result.stdout
    problem, next_step = result.stderr.splitlines()
    assert str(path) in problem
    assert next_step.startswith("Next: ")


@pytest.mark.parametrize(
    "words",
    [
        ("--batch-size", 0),
        ("--batch-size", 9),
        ("--batch-size", "x"),
        ("--data",),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("annotations-demo", *words).exit_code == 2
