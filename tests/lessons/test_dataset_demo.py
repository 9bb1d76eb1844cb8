"""dataset-demo: its mistakes, what it says, and folders of a user's own."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import ConcatDataset, DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from lessons import dataset_demo as lesson
from shared.datasets.as_files import dataset_files, png, written
from shared.figures import thumbnail


@pytest.fixture(scope="module")
def folder():
    with written(dataset_files()) as root:
        yield root


def paths(folder: Path) -> list[Path]:
    return lesson.OneFolder(folder, 0).paths


def test_a_whole_folder_is_what_torchvision_makes_of_it(folder):
    ours = lesson.image_folder(folder / "all")
    theirs = ImageFolder(folder / "all", pil_to_tensor)
    assert len(ours) == len(theirs) == 306
    for (image, label), (its_image, its_label) in zip(
        ours, theirs, strict=True
    ):
        assert label == its_label
        assert torch.equal(image, its_image)


def test_the_seam_of_the_paper_case(folder):
    joined = lesson.image_folder(folder / "five")
    threes, eights = joined.parts
    assert (len(threes), len(eights), len(joined)) == (3, 2, 5)
    assert [label for _, label in joined] == [0, 0, 0, 1, 1]
    assert torch.equal(joined[3][0], eights[0][0])
    assert torch.equal(joined[-1][0], eights[1][0])


def test_for_needs_no_iter_and_asks_until_an_index_error(folder):
    assert not hasattr(lesson.Joined, "__iter__")
    asked = []

    class Long(lesson.Joined):
        def __len__(self) -> int:
            raise AssertionError("for asks for the length")

        def __getitem__(self, index: int) -> int:
            asked.append(index)
            return range(5)[index]

    assert [example for example in Long()] == [*range(5)]
    assert asked == [0, 1, 2, 3, 4, 5]


def test_a_data_loader_asks_for_the_length_and_mixes(folder):
    dataset = lesson.image_folder(folder / "five")
    images, labels = zip(
        *DataLoader(dataset, batch_size=3, shuffle=True), strict=True
    )
    assert [len(image) for image in images] == [3, 2]
    assert sorted(torch.cat(labels).tolist()) == [0, 0, 0, 1, 1]


def test_labels_of_unsorted_names_differ_and_of_sorted_ones_agree():
    assert lesson.wrong_computer() == [0, 1]
    assert lesson.right_computer() == [0, 0]
    assert sorted(["2", "10"]) == ["10", "2"]
    assert sorted(["3", "8", "5"])[1] == "5"  # a new folder moves the labels


def test_hidden_files_are_no_pictures_and_image_folder_takes_them(folder):
    with pytest.raises(UnidentifiedImageError, match=r"\.DS_Store"):
        lesson.wrong_mac(folder / "mac")
    assert lesson.right_mac(folder / "mac") == [(28, 28)]
    with pytest.raises(UnidentifiedImageError):  # the same, once that is gone
        Image.open(folder / "mac" / "._000.png")
    files = dataset_files()
    traps = {n: c for n, c in files.items() if n.startswith("mac/")}
    with written({f"root/{name}": c for name, c in traps.items()}) as root:
        dataset = ImageFolder(root / "root")
        taken = [Path(path).name for path, _ in dataset.samples]
        assert taken == ["._000.png", "000.png"]
        with pytest.raises(UnidentifiedImageError, match=r"\._000\.png"):
            dataset[0]
        assert dataset[1][0].size == (28, 28)


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_file_ends_an_epoch_without_being_named(folder, seed):
    torch.manual_seed(seed)
    files = paths(folder / "files")
    with pytest.raises(OSError, match="truncated") as stopped:
        lesson.wrong_night(files)
    assert "png" not in str(stopped.value)
    assert lesson.right_night(files) == ["8-2.png"]
    rest = [path for path in files if path.name != "8-2.png"]
    assert len(rest) == len(files) - 1
    lesson.wrong_night(rest)  # the whole epoch, now without an error
    for path in files:
        Image.open(path)  # reads only a file's first bytes: no error


def test_image_folder_takes_hidden_pictures_and_deeper_folders(tmp_path):
    for name in ("3/a.png", "3/._b.png", "3/deeper/c.png", "8/d.png"):
        save(tmp_path / name)
    assert len(ImageFolder(tmp_path)) == 4
    assert len(lesson.image_folder(tmp_path)) == 2


def test_plus_makes_a_concat_dataset(folder):
    threes, eights = lesson.image_folder(folder / "five").parts
    assert type(threes + eights) is ConcatDataset


def test_a_logo_is_another_size_then_all_black_then_seen(folder):
    trio = paths(folder / "trio")
    shapes = [np.array(Image.open(path)).shape for path in trio]
    assert shapes == [(28, 28, 3), (28, 28), (28, 28, 4)]
    with pytest.raises(RuntimeError, match="equal size"):
        lesson.wrong_logo(trio)
    colour, grey, logo = lesson.tempting_logo(trio)
    assert colour == grey > 100
    assert logo == 1
    assert lesson.right_logo(trio) == [colour] * 3
    black = np.array(Image.open(trio[2]).convert("RGB"))
    assert black.max() == 0
    laid = [np.array(lesson.load_picture(path)) for path in trio]
    assert [picture.shape for picture in laid] == [(28, 28, 3)] * 3


def test_a_white_logo_vanishes_on_white(tmp_path):
    logo = Image.new("RGBA", (28, 28), (255, 255, 255, 0))
    logo.paste((255, 255, 255, 255), (4, 4, 20, 20))
    logo.save(tmp_path / "white.png")
    assert lesson.right_logo([tmp_path / "white.png"]) == [1]


def test_the_three_channels_of_a_grey_file_are_equal(folder):
    image, _ = lesson.image_folder(folder / "five").parts[0][2]
    assert torch.equal(image, image[:1].expand(3, 28, 28))
    assert len(lesson.SUFFIXES) == 2 + 5


def test_command_prints_the_worked_case_and_logs_the_pictures(
    run_cli, read_events, drawn, only_run, width, tmp_path
):
    result = run_cli("dataset-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    for part in (
        "0 and 1: a label is a class's place among the sorted names.",
        "len(threes) is 3.",
        "image (3, 28, 28), grey (equal channels), and label 0.",
        "3 - 3 = 0. It is eights[0], label 1.",
        "✓ joined = PyTorch's threes + eights, 5 examples: largest",
        "Classes: 3; 8. Pictures of the first: 155.",
        "dataset[154] has label 0, dataset[155] label 1.",
        "150,528,000,000 bytes",
        "✓ dataset = torchvision's ImageFolder, 306 examples: largest",
        "✗ [0, 1]",
        "✗ UnidentifiedImageError",
        "✗ OSError: image file is truncated",
        "✓ ['8-2.png']",
        "✗ RuntimeError: stack expects each tensor to be equal size",
        "Mistake 4 of 4",
        "Next lesson: python cli.py",
    ):
        assert part in said, part
    assert 10**6 * 3 * 224 * 224 == 150_528_000_000
    assert width(result.output) <= 80
    events = read_events(only_run(tmp_path, "dataset-demo"))
    assert drawn(events) == {"dataset": (880, 540)}


def test_the_lines_to_remember_run(run_cli, tmp_path, monkeypatch):
    output = run_cli("dataset-demo", "--logdir", tmp_path).output
    lines = re.findall(r"│ • (.*?) *│", output)
    assert len(lines) == 3
    save(tmp_path / "pictures" / "3" / "000.png")
    save(tmp_path / "pictures" / "8" / "000.png")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), names := {})
    assert isinstance(names["image"], Image.Image)
    assert names["label"] == 0


def test_the_exercise_has_an_answer_and_a_trap():
    class Between(torch.utils.data.Dataset):
        def __init__(self, dataset, start: int, stop: int) -> None:
            self.dataset, self.places = dataset, range(start, stop)

        def __len__(self) -> int:
            return len(self.places)

        def __getitem__(self, index: int):
            return self.dataset[self.places[index]]

    class Trap(Between):
        def __getitem__(self, index: int):
            return self.dataset[self.places.start + index]

    class Half(Trap):
        """Stops, but [-1] is an example of the part left out."""

        def __getitem__(self, index: int):
            if index >= len(self):
                raise IndexError(index)
            return super().__getitem__(index)

    between = Between("abcde", 1, 3)
    trap, half = Trap("abcde", 1, 3), Half("abcde", 1, 3)
    assert (len(between), [*between], between[-1]) == (2, ["b", "c"], "c")
    assert (len(trap), [*trap]) == (2, ["b", "c", "d", "e"])
    assert (len(half), [*half], half[-1]) == (2, ["b", "c"], "a")
    subset = Subset("abcde", range(1, 3))  # PyTorch's own
    assert (len(subset), subset[-1]) == (2, "c")


def save(path: Path, size=(6, 4), mode: str = "RGB", **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 90).save(path, **options)


@pytest.fixture
def own(tmp_path) -> Path:
    """A user's class folders, with all that is there beside the pictures."""
    root = tmp_path / "my pictures"
    save(root / "[cats]" / "a b.JPG")
    save(root / "[cats]" / "grey.png", mode="L", size=(1, 1))
    save(root / "[cats]" / "wide.png", size=(900, 2))
    save(root / "dogs $x$" / "alpha.png", mode="RGBA")
    save(root / "dogs $x$" / "deeper" / "c.png")
    save(root / "dogs $x$" / "palette.png", mode="P")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    save(root / "dogs $x$" / "sideways.jpeg", exif=exif)
    for name in ("[cats]/.DS_Store", "[cats]/._a.png", "readme.txt"):
        (root / name).write_bytes(b"no picture")
    return root


def test_a_folder_of_the_user_s_own(run_cli, read_events, only_run, own):
    logs = own.parent / "logs"
    result = run_cli("dataset-demo", "--data", own, "--logdir", logs)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "A whole folder: 6 pictures" in said
    assert "Classes: [cats]; dogs $x$. Pictures of the first: 3." in said
    assert "dataset[3] label 1." in said
    assert "✓ dataset = torchvision's ImageFolder, 6 examples" in said
    events = read_events(only_run(logs, "dataset-demo"))
    assert events.Tags()["images"] == ["dataset"]


def test_a_folder_may_be_given_from_where_one_is(run_cli, own, monkeypatch):
    monkeypatch.chdir(own)
    words = ("--data", ".", "--logdir", own.parent)
    assert run_cli("dataset-demo", *words).exit_code == 0


def test_many_classes_and_a_huge_picture(run_cli, tmp_path):
    for name in range(300):
        save(tmp_path / "own" / f"{name}" / "a.png", size=(2, 2))
    save(tmp_path / "own" / "0" / "b.jpg", size=(12_000, 9_000), mode="L")
    words = ("--data", tmp_path / "own", "--logdir", tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        result = run_cli("dataset-demo", *words)
    assert result.exit_code == 0, result.output
    assert "and 290 more" in " ".join(result.output.split())


def test_ctrl_c_while_it_looks_says_that_nothing_is_lost(
    run_cli, own, monkeypatch
):
    def stopped(_: list[Path]) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(lesson, "right_night", stopped)
    result = run_cli("dataset-demo", "--data", own, "--logdir", own.parent)
    assert result.exit_code == 130
    assert "Nothing is lost" in result.stderr


@pytest.mark.parametrize(
    ("size", "side"), [((1, 1), 1), ((2, 900), 64), ((900, 2), 64), ((9, 5), 9)]
)
def test_a_thumbnail_is_a_square_of_at_most_64(size, side):
    small = thumbnail(torch.full((3, *size), 255, dtype=torch.uint8))
    assert small.shape == (3, side, side)
    assert small.max() == 1


def spoil(own: Path, what: str) -> Path:
    cats, dogs = own / "[cats]", own / "dogs $x$"
    if what == "missing":
        return own / "nowhere"
    if what == "a file":
        return own / "readme.txt"
    if what == "no classes":
        return cats
    if what == "no picture":
        for path in paths(cats):
            path.unlink()
    if what == "splits":
        (own / "train").mkdir()
        os.rename(cats, own / "train" / "cats")  # noqa: PTH104
        os.rename(dogs, own / "train" / "dogs")  # noqa: PTH104
        save(own / "test" / "cats" / "a.png")
        save(own / "test" / "dogs" / "a.png")
    if what == "too deep":  # --data aa would find one class only
        save(own / "aa" / "deeper" / "a.png")
    if what == "hidden":
        save(own / ".git" / "a.png")
    if what == "damaged":
        noise = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
        (cats / "cut.png").write_bytes(png(noise)[:900])
        (dogs / "text.jpg").write_text("a dog")
        (dogs / "empty.png").touch()
        (dogs / "folder.png").mkdir()
    return own


@pytest.mark.parametrize(
    ("what", "said", "advice"),
    [
        ("missing", "There is no folder", "check the path"),
        ("a file", "is a file, not a folder", "check the path"),
        ("no classes", "needs two class folders, and has: none", "lay it out"),
        ("no picture", "[cats] holds no picture", "add some (PNG, JPEG, BMP"),
        ("splits", "test holds no picture", "try --data "),
        ("too deep", "aa holds no picture", "<folder>/<class>/*.jpg"),
        ("hidden", "hidden folder, .git: it would be", "copy the class"),
        ("damaged", "4 of 10 pictures", "mend them, or take them out"),
    ],
)
def test_a_folder_that_can_t_be_used_is_one_clear_report(
    run_cli, own, what, said, advice
):
    logs = own.parent / "logs"
    root = spoil(own, what)
    result = run_cli("dataset-demo", "--data", root, "--logdir", logs)
    assert result.exit_code == 1
    assert not result.stdout
    problem, next_step = result.stderr.splitlines()
    assert problem.startswith("Error: ")
    assert said in problem
    assert next_step.startswith("Next: ")
    assert advice in next_step
    assert not logs.exists()
    if what == "damaged":
        for name in ("cut.png", "text.jpg", "empty.png", "folder.png"):
            assert name in problem


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_no_picture_and_nobody_waits_for_it(run_cli, own):
    os.mkfifo(own / "[cats]" / "pipe.png")
    result = run_cli("dataset-demo", "--data", own, "--logdir", own.parent)
    assert result.exit_code == 1
    assert "1 of 7 pictures" in result.stderr
    assert "pipe.png" in result.stderr


def test_a_wrong_option_exits_2(run_cli):
    assert run_cli("dataset-demo", "--data").exit_code == 2
