"""schedule-demo: its mistakes, what it measures and what it says."""

import re
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
    OneCycleLR,
    StepLR,
)
from typer.testing import CliRunner

from cli import app
from lessons import schedule_demo as lesson
from shared.practice import rates
from shared.practice.descent import dead, network
from shared.practice.rates import five, new_losses, one_weight, rates_of
from shared.seeds import SEEDS

NAMES = [
    "constant",
    "step decay",
    "cosine",
    "one-cycle",
    "warm-up",
]


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """The command, run once: its output, its folder of logs, its races."""
    folder = tmp_path_factory.mktemp("logs")
    words = ["schedule-demo", "--logdir", str(folder)]
    with pytest.MonkeyPatch.context() as patch:
        kept, draw = [], rates.draw
        patch.setattr(rates, "draw", lambda *a: (kept.append(a[2]), draw(*a)))
        result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output, folder, kept[0]


@pytest.fixture(scope="module")
def ran(run_once):
    return run_once[:2]


@pytest.fixture(scope="module")
def races(run_once):
    """Losses (seeds, steps + 1) by title and schedule."""
    return run_once[2]


def losses(text: str) -> list[float]:
    """Median, smallest and largest of a spread."""
    found = re.findall(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)", text)
    return [float(number) for number in found[0]]


def beats(race: dict, one: str, other: str) -> bool:
    return bool(race[one][:, -1].max() < race[other][:, -1].min())


def test_at_a_small_rate_constant_beats_whoever_lowers_it(races):
    race = races["SGD, lr 0.1"]
    falling = [name for name in NAMES if beats(race, "constant", name)]
    assert falling == ["step decay", "cosine", "one-cycle"]
    assert not any(beats(race, name, "constant") for name in NAMES)


def test_at_a_large_rate_a_fall_beats_constant_and_warm_up_alone_does_not(
    races,
):
    race = races["SGD, lr 0.5"]
    falling = [name for name in NAMES if beats(race, name, "constant")]
    assert falling == ["step decay", "cosine", "one-cycle"]


def test_no_fall_mends_what_adams_first_steps_broke(races):
    race = races["Adam, lr 0.2"]
    better = [name for name in NAMES if beats(race, name, "constant")]
    assert better == ["one-cycle"]
    assert beats(race, "one-cycle", "cosine")


def test_each_is_beaten_in_some_column(races):
    """So none is called the best."""
    for name in NAMES:
        assert any(
            beats(race, other, name)
            for race in races.values()
            for other in NAMES
        )


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("constant", 21, 32),
        ("step decay", 21, 32),
        ("cosine", 21, 32),
        ("one-cycle", 0, 19),
        ("warm-up", 0, 19),
    ],
)
def test_adams_first_steps_leave_relus_at_0_unless_small(name, low, high):
    """After 12 steps, when cosine is still above 0.19, and at the end."""
    rate = lesson.schedules(0.2, 115)[name]
    for seed in SEEDS:
        net, batches = network(seed), rates.shuffled(seed, epochs=5)
        optimizer = torch.optim.Adam(net.parameters())
        scheduler = lesson.Scheduler(optimizer, rate)
        for part in (batches[:12], batches[12:]):
            lesson.learn(net, optimizer, part, scheduler)
            assert low <= dead(net, batches) <= high


@pytest.mark.parametrize("name", NAMES)
def test_each_race_is_run_at_the_rates_that_are_drawn(name):
    """learn takes the rate of each step from the schedule, none from before."""
    rate = lesson.schedules(0.5, 23)[name]
    net, _, batches = five(epochs=1)[0]
    optimizer = torch.optim.SGD(net.parameters(), lr=9)
    scheduler = lesson.Scheduler(optimizer, rate)
    used, _ = lesson.learn(net, optimizer, batches, scheduler)
    torch.testing.assert_close(used, torch.tensor([*map(rate, range(23))]))
    assert used.max() <= 0.5
    warm = name in ("one-cycle", "warm-up")
    assert (used[1] > used[0]) == warm


def test_a_network_learns_the_same_by_either_scheduler():
    cosine = partial(lesson.cosine, lr=0.5, total=50)
    found = []
    for kind in (
        lambda optimizer: lesson.Scheduler(optimizer, cosine),
        lambda optimizer: CosineAnnealingLR(optimizer, 50),
        lambda optimizer: LambdaLR(optimizer, lambda n: cosine(n) / 0.5),
    ):
        net = network(0)
        optimizer = torch.optim.SGD(net.parameters(), 0.5)
        batches = rates.shuffled(0, epochs=3)[:50]
        lesson.learn(net, optimizer, batches, kind(optimizer))
        found.append(net.state_dict())
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, atol=1e-4, rtol=0)


def test_the_first_optimizers_scheduler_never_moves_the_seconds_rate():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as it says: no warning comes
        wrong, right = lesson.wrong_phase(), lesson.right_phase()
    for net, optimizer, batches in (runs := five(epochs=5)):
        lesson.learn(net, optimizer, batches[:23])
        optimizer = torch.optim.SGD(net.parameters(), 0.5, momentum=0.9)
        lesson.learn(net, optimizer, batches)
    assert wrong.endswith(new_losses(runs))  # as without a scheduler
    assert wrong.startswith("last rate 0.5000")
    assert right.startswith("last rate 0.0001")
    assert losses(wrong)[1] > losses(right)[2]


def test_the_loss_is_taken_for_the_count():
    with pytest.warns(UserWarning, match="epoch parameter"):
        assert lesson.wrong_call() == [0.125]
    assert lesson.right_call() == [0.25]
    scheduler = StepLR(one_weight(lr=0.5), step_size=1, gamma=0.5)
    scheduler.optimizer.step()
    for loss, rate in ((2.3, 0.125), (1.2, 0.25), (0.4, 0.5)):
        with pytest.warns(UserWarning):
            scheduler.step(loss)
        assert scheduler.get_last_lr() == [rate]


def test_the_first_epochs_rate_is_lost():
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        wrong = lesson.wrong_turn()
    assert losses(wrong)[1] > 5 * losses(lesson.right_turn())[2]


def test_the_epochs_got_the_rates_that_are_named():
    optimizer = one_weight(lr=0.5)
    scheduler, got = StepLR(optimizer, step_size=1), []
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        for _ in range(3):
            scheduler.step()
            got.append(optimizer.param_groups[0]["lr"])
    assert got == pytest.approx([0.05, 0.005, 0.0005])


def test_one_step_of_one_cycle_is_not_missed():
    found = []
    for wrong in (True, False):
        for net, optimizer, batches in (runs := five(epochs=5)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                scheduler = OneCycleLR(optimizer, 0.5, total_steps=115)
                for batch in batches:
                    if wrong:
                        scheduler.step()
                    lesson.learn(net, optimizer, [batch])
                    if not wrong:
                        scheduler.step()
        found.append(losses(new_losses(runs)))
    (_, low, high), (_, other_low, other_high) = found
    assert low < other_high and other_low < high  # they overlap


def test_once_an_epoch_is_too_seldom_for_115_steps():
    wrong, right = lesson.wrong_unit(), lesson.right_unit()
    assert wrong.startswith("last rate 0.037,")
    assert lesson.one_cycle(4, 0.5, 115) == pytest.approx(0.037, abs=5e-4)
    assert lesson.one_cycle(5, 0.5, 115) > lesson.one_cycle(4, 0.5, 115)
    assert losses(wrong)[1] > losses(right)[2]


@pytest.mark.parametrize("total", [1, 7, 20, 60])
def test_the_exercise_has_an_answer_of_one_line(total):
    scheduler = CosineAnnealingWarmRestarts(one_weight(lr=0.5), total)
    ours = [lesson.cosine(step % total, 0.5, total) for step in range(50)]
    assert lesson.cosine(4 % 4, 0.5, 4) == 0.5
    assert lesson.cosine(7 % 4, 0.5, 4) == pytest.approx(0.07322, abs=5e-6)
    theirs = rates_of(scheduler)
    torch.testing.assert_close(torch.tensor(ours).double(), theirs)


def test_command_prints_the_worked_cases(ran, width):
    output, _ = ran
    said = " ".join(output.split())
    for line in (
        "step_decay, size 2 0.5 0.5 0.05 0.005 5e-05",
        "cosine, total 4 0.5 0.4268 0.25 0 0.4268",
        "one_cycle, total 10 0.02 0.26 0.5 0.4059 2e-06",
        "warm_up, few 4 0.1667 0.25 0.3333 0.5 0.5",
        "0.5 * 1.7071 / 2 = 0.4268",
        "(1/3 + 2/3 * 1/4) * 0.5 = 0.25.",
        "(0.02 + 0.5) / 2.",
        "✓ the table, steps 0 to 9: largest difference",
        "✓ 20 random settings of each, 50 steps: largest difference",
        "SGD, lr 0.1: constant beats step decay, cosine, one-cycle.",
        "SGD, lr 0.5: step decay, cosine, one-cycle beat constant.",
        "Adam, lr 0.2: one-cycle beats constant.",
        "UserWarning: The epoch parameter in `scheduler.step()`",
        "UserWarning: Detected call of `lr_scheduler.step()` before",
        "✗ [0.125]",
        "✓ [0.25]",
        "Mistake 4 of 4",
    ):
        assert line in said
    assert said.count("UserWarning") == 2  # each once
    assert width(output) <= 80


def test_the_events(ran, read_events, only_run, drawn, races):
    folder = only_run(ran[1], "schedule-demo")
    assert sorted(drawn(read_events(folder))) == ["race"]
    runs = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert runs == sorted(NAMES)
    for name, rate in lesson.schedules(0.5, 115).items():
        events = read_events(folder / name)
        tags = ["loss/train", "schedule/lr"]
        assert sorted(events.Tags()["scalars"]) == tags
        points = events.Scalars("schedule/lr")
        assert [point.step for point in points] == [*range(115)]
        values = [point.value for point in points]
        assert values == pytest.approx([*map(rate, range(115))])
        values = [point.value for point in events.Scalars("loss/train")]
        assert values == pytest.approx(
            races["SGD, lr 0.5"][name][0, :-1].tolist(), rel=1e-4
        )


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("--lr", 1, "--epochs", 1), ("(0.04 + 1) / 2", "SGD, lr 0.2")),
        (("--lr", 1e6, "--epochs", 1), ("SGD, lr 200000", "Measured: 23")),
    ],
)
def test_options_change_the_screen(ran, run_cli, tmp_path, words, shown):
    result = run_cli("schedule-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.output != ran[0]
    said = " ".join(result.output.split())
    assert all(part in said for part in shown)


def test_a_rate_of_0_moves_nothing(tmp_path):
    ours = lesson.learn, lesson.schedules, lesson.Scheduler
    races = rates.race(*ours, epochs=1, lr=0)
    starts = {
        tuple(v[:, -1].tolist()) for r in races.values() for v in r.values()
    }
    assert len(starts) == 1
    with lesson.board("schedule-demo", tmp_path, "") as writer:
        rates.draw(writer, lesson.schedules(0, total=23), races)


def test_the_lines_to_remember_run(ran):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    assert len(lines) == 3
    optimizer = one_weight(lr=0.1)
    names = {"OneCycleLR": OneCycleLR, "optimizer": optimizer}
    names |= {"epochs": 5, "loader": range(23)}
    exec("\n".join(lines[:2]), names)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 / 25)
    for _ in range(114):
        exec(lines[2], names)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 / 250_000)
    exec(lines[2], names)  # the 115th
    with pytest.raises(ValueError, match="Tried to step 116 times"):
        exec(lines[2], names)


def test_its_words():
    assert [*lesson.WORDS] == ["schedule", "warm-up"]


@pytest.mark.parametrize(
    "words",
    [("--lr", -1), ("--lr", "nan"), ("--lr", "inf"), ("--epochs", 0)],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("schedule-demo", *words).exit_code == 2


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path):
    file = Path(tmp_path, "file")
    file.touch()
    result = run_cli("schedule-demo", "--logdir", file)
    assert result.exit_code == 1 and "Can't write to" in result.stderr
