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

FIVE = r"\[(\d+), (\d+), (\d+), (\d+), (\d+)\]$"
SPEED = r"(\d+\.\d\d) s, then ([\d,]+) to ([\d,]+)"


@pytest.fixture(scope="module")
def sets():
    train, test = (images.in_rows() for images in digits(8))
    order = train.tensors[1].argsort(stable=True)
    mixed = Subset(train, range(1409))
    return {
        "by_class": Subset(train, order),
        "mixed": mixed,
        "test": test,
    }


@pytest.fixture(scope="module")
def photos():
    return photo_digits()


def five(loader: DataLoader, sets) -> list[int]:
    """As the mistakes do: the results of five seeds, in percent."""
    return [lesson.learn(loader, sets["test"], seed) for seed in range(5)]


def test_a_step_is_that_of_pytorch_s_optimizer(sets):
    torch.manual_seed(3)
    loader = DataLoader(sets["mixed"], 64, shuffle=True, drop_last=True)
    layer = torch.nn.Linear(64, 10, bias=False)
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    torch.manual_seed(3)
    for images, labels in (batch for _ in range(3) for batch in loader):
        wanted = torch.nn.functional.one_hot(labels, 10).float()
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(layer(images), wanted).backward()
        optimizer.step()
    images, labels = sets["test"].tensors
    right = (layer(images).argmax(1) == labels).float().mean().item()
    found = lesson.learn(loader, sets["test"], 3)
    assert abs(found - 100 * right) < 1  # rounded, and other roundings


def test_without_shuffling_the_last_class_is_all_it_knows(sets):
    assert {label.item() for _, label in [*sets["by_class"]][-64:]} == {9}
    labels = sets["test"].tensors[1]
    assert (len(labels), (labels == 9).sum()) == (297, 35)
    wrong = lesson.wrong_order(sets["by_class"], sets["test"])
    assert len(set(wrong)) == 1  # nothing is left to chance
    assert wrong[0] in range(11, 15)  # all nines, and hardly more
    right = lesson.right_order(sets["by_class"], sets["test"])
    assert min(right) > 85


def test_a_last_batch_of_one_image_undoes_much_for_every_seed(sets):
    assert [len(sets["mixed"]) % 64, len(sets["mixed"]) // 64] == [1, 22]
    wrong = lesson.wrong_step(sets["mixed"], sets["test"])
    right = lesson.right_step(sets["mixed"], sets["test"])
    assert max(wrong) < min(right)
    assert sum(wrong) / 5 < 60
    assert min(right) > 85


class WithoutTheLastStep:
    """A loader whose third epoch lacks its last batch."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.epochs = loader, 0

    def __iter__(self):
        self.epochs = self.epochs % 3 + 1
        batches = [*self.loader]
        yield from batches[:-1] if self.epochs == 3 else batches


def test_right_before_that_step_most_were_right(sets):
    loader = WithoutTheLastStep(DataLoader(sets["mixed"], 64, shuffle=True))
    assert min(five(loader, sets)) > 90


def test_drop_last_of_fewer_items_than_a_batch_leaves_nothing():
    assert [*DataLoader(range(50), batch_size=64, drop_last=True)] == []


def test_the_mean_of_means_is_not_the_mean():
    labels = [batch[1].float() for batch in lesson.batches(lesson.TEN, 4)]
    means = [batch.mean().item() for batch in labels]
    assert means == [1.5, 5.5, 8.5]
    assert sum(means) / 3 == pytest.approx(5.17, abs=0.005)
    assert sum(batch.sum() for batch in labels) / 10 == 4.5


def test_a_spawned_worker_needs_the_main_guard(one_run, tmp_path):
    end = "RuntimeError: DataLoader worker (pid(s) "
    assert re.search(f"^✗ {re.escape(end)}.* exited unex", one_run[0], re.M)
    assert "✓ [tensor([0, 1, 2, 3]), tensor([4, 5, 6, 7])]" in one_run[0]
    program = tmp_path / "program.py"  # the same without PyTorch's slow import
    program.write_text(
        "from multiprocessing import get_context\n"
        "get_context('spawn').Process(target=print).start()\n"
    )
    said = " ".join(python(str(program)).stderr.split())
    assert "An attempt has been made to start a new process before the" in said


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


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """The lesson in a process of its own, where workers are spawned."""
    folder = tmp_path_factory.mktemp("logs")
    program = folder / "spawned.py"
    program.write_text(
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    from cli import app\n"
        "    app()\n"
    )
    words = ("dataloader-demo", "--workers", "1", "--logdir", str(folder))
    done = python(str(program), *words)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout, folder


def test_command_says_what_the_course_promises(one_run, width):
    output, _ = one_run
    for line in (
        "in order: labels [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]; the last ima",
        "10 = 2 * 4 + 2: 3 batches.",
        "✓ all batches, shuffled: largest difference 0",
        "Mistake 3 of 3",
        "Next lesson: python cli.py",
    ):
        assert line in output
    assert output.count("✓ batches = DataLoader: largest difference 0") == 2
    flat = " ".join(output.split())
    assert "10,000 = 156 * 64 + 16. Batches: 157, the last of 16." in flat
    assert "are [1.5, 5.5, 8.5]; their mean is 5.17." in flat
    assert len(re.findall(FIVE, output, re.MULTILINE)) == 4
    assert width(output) <= 80


def fastest_is_what_the_table_shows(output: str, workers: list[str]) -> None:
    rows = re.findall(rf"^ +(\d) +{SPEED} +{SPEED} *$", output, re.MULTILINE)
    assert [row[0] for row in rows] == workers
    numbers = [[float(n.replace(",", "")) for n in row] for row in rows]
    said = re.search(
        r"overlap: ([\d or]+) workers in memory, ([\d or]+) from a file",
        " ".join(output.split()),
    )
    for place, named in zip((2, 5), said.groups(), strict=True):
        bar = max(row[place] for row in numbers)  # the best slowest epoch
        best = [int(row[0]) for row in numbers if row[place + 1] >= bar]
        assert named == " or ".join(map(str, best))


def test_what_is_called_fastest_is_what_the_table_shows(one_run):
    fastest_is_what_the_table_shows(one_run[0], ["0", "1"])


def test_two_epochs_are_in_tensorboard_in_order_and_shuffled(
    one_run, photos, read_events, only_run
):
    run = only_run(one_run[1], "dataloader-demo")
    tags = [f"{o}/epoch_{e}" for o in ("in_order", "shuffled") for e in (1, 2)]
    assert sorted(read_events(run).Tags()["images"]) == tags
    one, two, three, four = (picture(run, tag) for tag in tags)
    assert one.shape == (256, 256, 3)  # 8 x 8 images
    assert one.equal(two)
    assert not three.equal(four)
    images = photos[0].images
    assert one[:32, :32].equal(images[0].permute(1, 2, 0))
    assert one[-32:, -32:].equal(images[63].permute(1, 2, 0))


@pytest.fixture
def no_mistakes(monkeypatch, photos):
    """They take most of the time, and are tested by themselves."""
    monkeypatch.setattr(lesson.console, "mistakes", lambda *_, **__: None)
    monkeypatch.setattr(lesson, "photo_digits", lambda: photos)


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
    said = "10,000 = 100 * 100 + 0. Batches: 100, the last of 100."
    assert said in " ".join(result.output.split())
    fastest_is_what_the_table_shows(result.output, ["0"])
    result = run_cli("dataloader-demo", "--workers", 2, *logdir)
    fastest_is_what_the_table_shows(result.output, ["0", "1", "2"])
    result = run_cli("dataloader-demo", "--seed", 1, *none)
    assert "\nshuffled: " in "\n" + changed(plain, result.output)
    assert "shuffled, epoch 2" in changed(plain, result.output)


def test_a_batch_may_be_larger_than_the_set(photos, capsys):
    first = lesson.show_images(photos[0], 20_000, seed=0)
    said = "10,000 = 0 * 20000 + 10000. Batches: 1, the last of 10000."
    assert said in " ".join(capsys.readouterr().out.split())
    assert {len(images) for images in first.values()} == {64}


@pytest.mark.parametrize("fault", ["size", "label", "image"])
def test_the_check_sees_other_batches(fault):
    right = [*lesson.batches(lesson.TEN, 4)]
    wrong = [*lesson.batches(lesson.TEN, 5 if fault == "size" else 4)]
    images, labels = wrong[-1]
    if fault != "size":
        wrong[-1] = (images + (fault == "image"), labels + (fault == "label"))
    with pytest.raises((AssertionError, ValueError)):
        lesson.console.agrees("", lesson.parts(wrong), lesson.parts(right), 0)


def test_the_lines_to_remember_run(one_run):
    lines = re.findall(r"│ • (.*?) *│", one_run[0])
    sets = {"train_set": range(100), "test_set": range(100)}
    exec("\n".join(lines), names := dict(sets))
    assert [len(batch) for batch in names["training"]] == [64]
    testing = [*names["testing"]]
    assert [len(batch) for batch in testing] == [64, 36]
    assert torch.cat(testing).equal(torch.arange(100))


def test_the_exercise_has_an_answer():
    def collate(rows: list[torch.Tensor]) -> torch.Tensor:
        batch = torch.zeros(len(rows), max(map(len, rows)))
        for place, row in enumerate(rows):
            batch[place, : len(row)] = row
        return batch

    rows = [torch.rand(length) for length in (2, 5, 1)]
    (batch,) = DataLoader(rows, 3, collate_fn=collate)
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
