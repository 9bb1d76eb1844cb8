"""dataloader-demo: its batches, its measurements, and its mistakes."""

import os
import re
import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Subset

from lessons import dataloader_demo as lesson
from shared.datasets.embedded import digits, photo_digits
from shared.events import picture
from shared.options import ROOT

FIVE = r"(\d+), (\d+), (\d+), (\d+), (\d+) % of the test set are right"
SPEED = r"(\d+\.\d\d) s, then ([\d,]+) to ([\d,]+)"


@pytest.fixture(scope="module")
def sets():
    train, test = (images.in_rows() for images in digits(8))
    order = train.tensors[1][:1408].argsort(stable=True)
    one_left = Subset(train, range(1409))
    return {
        "by_class": Subset(train, order),
        "one_left": one_left,
        "test": test,
    }


def five(said: str) -> list[int]:
    """The accuracies of five seeds, in percent, from lowest to highest."""
    return sorted(map(int, re.match(FIVE, said).groups()))


def test_without_shuffling_the_last_class_is_all_it_knows(sets):
    assert {label.item() for _, label in [*sets["by_class"]][-64:]} == {9}
    labels = sets["test"].tensors[1]
    assert (len(labels), (labels == 9).sum()) == (297, 35)
    wrong = five(lesson.wrong_order(sets["by_class"], sets["test"]))
    assert wrong[0] == wrong[3] == 12  # four of five say 9 to every image
    assert wrong[4] < 20
    right = five(lesson.right_order(sets["by_class"], sets["test"]))
    assert min(right) > 85


def test_a_last_batch_of_one_image_undoes_much_for_every_seed(sets):
    assert [len(sets["one_left"]) % 64, len(sets["one_left"]) // 64] == [1, 22]
    wrong = five(lesson.wrong_step(sets["one_left"], sets["test"]))
    right = five(lesson.right_step(sets["one_left"], sets["test"]))
    assert max(wrong) < min(right)
    assert sum(wrong) / 5 < 50
    assert min(right) > 85


def test_the_mean_of_means_is_not_the_mean():
    assert lesson.wrong_mean() == "0.67"
    assert lesson.right_mean() == "0.80"


def test_a_spawned_worker_needs_the_main_guard():
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        lesson.wrong_file()
    loaded = "[tensor([0, 1, 2, 3]), tensor([4, 5, 6, 7])]"
    assert lesson.right_file() == loaded


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_is_dataloader_s_with_workers_too(workers):
    ours = [*lesson.batches(lesson.TEN, 4, seeded(5))]
    some = {"shuffle": True, "num_workers": workers}
    theirs = [*DataLoader(lesson.TEN, 4, generator=seeded(5), **some)]
    torch.testing.assert_close(ours, [tuple(batch) for batch in theirs])


def test_dataloader_draws_a_number_before_the_order():
    same = 0
    for seed in range(5):
        loader = DataLoader(range(100), 100, True, generator=seeded(seed))
        (order,) = loader
        same += order.equal(torch.randperm(100, generator=seeded(seed)))
    assert same == 0


def test_a_dataloader_takes_a_collate_of_your_own():
    ours = [*DataLoader(lesson.TEN, 4, collate_fn=lesson.collate)]
    theirs = [tuple(batch) for batch in DataLoader(lesson.TEN, 4)]
    torch.testing.assert_close(ours, theirs)


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """The lesson in a process of its own, at most two workers."""
    folder = tmp_path_factory.mktemp("logs")
    words = ("--workers", "2", "--logdir", str(folder))
    done = subprocess.run(
        [sys.executable, "cli.py", "dataloader-demo", *words],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout, folder


def test_command_says_what_the_course_promises(one_run, width):
    output, _ = one_run
    for line in (
        "in order: 0 1 2 3 | 4 5 6 7 | 8 9",
        "10,000 = 156 * 64 + 16: 157 batches, the last of 16.",
        "✓ batches = DataLoader, labels: largest difference 0",
        "✗ 0.67",
        "Mistake 4 of 4",
        "Next lesson: python cli.py",
    ):
        assert line in output
    assert output.count("✓ batches = DataLoader: largest difference 0") == 2
    assert len(re.findall(FIVE, " ".join(output.split()))) == 4
    assert width(output) <= 80


def test_what_is_called_fastest_is_what_the_table_shows(one_run):
    output, _ = one_run
    rows = re.findall(rf"^ +(\d) +{SPEED} +{SPEED} *$", output, re.MULTILINE)
    assert [row[0] for row in rows] == ["0", "1", "2"]
    numbers = [[float(n.replace(",", "")) for n in row] for row in rows]
    said = re.search(
        r"overlap: ([\d or]+) workers in memory, ([\d or]+) from a file",
        " ".join(output.split()),
    )
    for place, named in zip((2, 5), said.groups(), strict=True):
        bar = max(row[place] for row in numbers)  # the best slowest epoch
        best = [int(row[0]) for row in numbers if row[place + 1] >= bar]
        assert named == " or ".join(map(str, best))


def test_two_epochs_are_in_tensorboard_in_order_and_shuffled(
    one_run, read_events, only_run
):
    run = only_run(one_run[1], "dataloader-demo")
    tags = [f"{o}/epoch_{e}" for o in ("in_order", "shuffled") for e in (1, 2)]
    assert sorted(read_events(run).Tags()["images"]) == tags
    one, two, three, four = (picture(run, tag) for tag in tags)
    assert one.shape == (256, 256, 3)  # 8 x 8 images
    assert one.equal(two)
    assert not three.equal(four)
    images = photo_digits()[0].images
    assert one[:32, :32].equal(images[0].permute(1, 2, 0))
    assert one[-32:, -32:].equal(images[63].permute(1, 2, 0))


def test_it_runs_where_workers_are_spawned(tmp_path):
    program = tmp_path / "spawned.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "if __name__ == '__main__':\n"
        f"    sys.path.insert(0, {str(ROOT)!r})\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    from cli import app\n"
        "    from shared import console\n"
        "    console.mistakes = lambda *_, **__: None  # tested by themselves\n"
        "    app()\n"
    )
    words = ("dataloader-demo", "--workers", "1", "--logdir", str(tmp_path))
    done = subprocess.run(
        [sys.executable, str(program), *words],
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(rf"^ +(\d) +{SPEED}", done.stdout, re.MULTILINE)
    assert [row[0] for row in rows] == ["0", "1"]


@pytest.fixture
def no_mistakes(monkeypatch):
    """They take most of the time, and are tested by themselves."""
    monkeypatch.setattr(lesson.console, "mistakes", lambda *_, **__: None)


def changed(one: str, other: str) -> str:
    """The lines of the other output that the one has not."""
    lines = one.splitlines()
    return "\n".join(x for x in other.splitlines() if x not in lines)


def test_each_option_alone_changes_the_screen(
    run_cli, one_run, no_mistakes, tmp_path
):
    plain, logdir = one_run[0], ("--logdir", tmp_path)
    none = ("--workers", 0, *logdir)
    result = run_cli("dataloader-demo", "--batch-size", 100, *none)
    assert result.exit_code == 0, result.output
    said = "10,000 = 100 * 100 + 0: 100 batches, the last of 100."
    assert said in changed(plain, result.output)
    assert not re.search(rf"^ +1 +{SPEED}", result.output, re.MULTILINE)
    result = run_cli("dataloader-demo", "--seed", 1, *none)
    assert "\nshuffled: " in "\n" + changed(plain, result.output)
    assert "shuffled, epoch 2" in changed(plain, result.output)


def test_a_batch_may_be_larger_than_the_set(capsys):
    first = lesson.show_images(photo_digits()[0], 20_000, seed=0)
    said = "10,000 = 0 * 20000 + 10000: 1 batches, the last of 10000."
    assert said in capsys.readouterr().out
    assert {len(images) for images in first.values()} == {64}


def test_the_lines_to_remember_run(one_run):
    lines = re.findall(r"│ • (.*?) *│", one_run[0])
    exec("\n".join(lines), names := {})
    (batch,) = names["loader"]  # of 100 images 36 are left over
    assert batch[0].shape == (64, 3, 8, 8)


def test_the_exercise_has_an_answer():
    def collate(rows: list[torch.Tensor]) -> torch.Tensor:
        batch = torch.zeros(len(rows), max(map(len, rows)))
        for place, row in enumerate(rows):
            batch[place, : len(row)] = row
        return batch

    rows = [torch.rand(length) for length in (2, 5, 1)]
    batch = next(iter(DataLoader(rows, 3, collate_fn=collate)))
    assert batch.equal(pad_sequence(rows, batch_first=True))
    with pytest.raises(RuntimeError, match="equal size"):
        next(iter(DataLoader(rows, 3)))


@pytest.mark.parametrize(
    "words",
    [
        ("--batch-size", 0),
        ("--batch-size", "all"),
        ("--workers", -1),
        ("--workers", 17),
        ("--seed", -1),
    ],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("dataloader-demo", *words).exit_code == 2
