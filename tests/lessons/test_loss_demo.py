"""loss-demo: its mistakes, and what it says (its cases: test_exercises.py)."""

import math
import re
import warnings

import pytest
import torch
from torch import nn
from torch.autograd.gradcheck import GradcheckError
from torch.nn import functional as F

from lessons import loss_demo as lesson
from shared.practice import losses
from shared.seeds import SEEDS, shares_right


@pytest.fixture(scope="module")
def sets():
    return dict(zip(("train", "test"), losses.digit_sets(), strict=True))


def percents(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"(\d+)%", text)]


def test_softmax_before_cross_entropy_reads_less_for_all_five_seeds(sets):
    wrong = percents(lesson.wrong_ends(**sets))
    right = percents(lesson.right_ends(**sets))
    assert 20 <= wrong[1] <= wrong[0] <= wrong[2] <= 50
    assert 92 <= right[1] <= right[0] <= right[2] <= 97


@pytest.mark.parametrize("seed", SEEDS)
def test_behind_softmax_gradients_begin_ten_times_smaller(seed, sets):
    images, labels = sets["train"]
    sizes = []
    for end in (), (nn.Softmax(1),):
        net = losses.network(seed).extend(end)
        F.cross_entropy(net(images), labels).backward()
        each = [p.grad.flatten() for p in net.parameters()]
        sizes.append(torch.cat(each).norm().item())
    assert sizes[0] / sizes[1] == pytest.approx(10.5, abs=0.8)


@pytest.mark.parametrize(
    ("more", "over"), [({"steps": 500}, 0.8), ({"lr": 5.0}, 0.9)]
)
def test_behind_softmax_it_learns_but_slowly(more, over, sets):
    end = nn.Softmax(1)
    nets = [losses.learned(sets["train"], s, end, **more) for s in SEEDS]
    assert shares_right(nets, sets["test"]).min() > over  # 30% without more


def test_float_labels_fail_and_whole_numbers_do_not():
    with pytest.raises(RuntimeError, match="Long or Byte, but got Float"):
        lesson.wrong_kind()
    third = pytest.approx(-math.log(1 / 3))
    assert (
        lesson.right_kind().item() == third == pytest.approx(1.0986, abs=1e-4)
    )
    labels = torch.tensor([0, 2], dtype=torch.uint8)  # the error's Byte
    assert F.cross_entropy(torch.zeros(2, 3), labels).item() == third
    with pytest.raises(RuntimeError, match="Long or Byte, but got Int"):
        F.cross_entropy(torch.zeros(2, 3), labels.int())
    rows = F.one_hot(labels.long(), 3).float()
    assert F.cross_entropy(torch.zeros(2, 3), rows).item() == third


def test_a_missing_dimension_broadcasts_without_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrong = lesson.wrong_shape()
    assert wrong.item() == pytest.approx(52 / 9)
    assert lesson.right_shape().item() == 0
    column = lesson.TARGET[:, None]
    with pytest.warns(UserWarning, match="broadcasting"):
        theirs = nn.MSELoss()(column, lesson.TARGET)
    assert theirs == wrong


def test_the_broadcast_loss_is_least_at_the_mean_of_the_targets():
    output = torch.zeros(3, 1)
    for _ in range(200):
        off = output - lesson.TARGET
        output = output - 0.3 * (2 * off).mean(1, keepdim=True)
    torch.testing.assert_close(output, torch.full((3, 1), 8 / 3))
    loss = lesson.mse_loss(output, lesson.TARGET)[0]
    assert loss < lesson.wrong_shape()


def test_means_of_unequal_batches_are_no_mean():
    assert lesson.wrong_average() == 4
    assert lesson.right_average() == 2
    logits = torch.randn(9, 3)
    labels = torch.arange(9) % 3
    batches = zip(logits.split(4), labels.split(4), strict=True)
    total = sum(F.cross_entropy(*pair, reduction="sum") for pair in batches)
    torch.testing.assert_close(total / 9, F.cross_entropy(logits, labels))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_network_s_loss_is_near_guessing_and_by_hand_it_learns(
    seed, sets, capsys
):
    history, _ = lesson.show_digits(sets["train"], sets["test"], seed)
    assert history[0] == pytest.approx(math.log(10), abs=0.1)
    assert history[-1] < 0.25
    assert "✓ 2,410 parameters" in capsys.readouterr().out


def test_gradcheck_finds_a_way_back_that_forgets_relu():
    assert losses.gradcheck(lesson.backprop)

    def forgets(*network):
        loss, back = lesson.backprop(*network)
        dz = back["h"]
        return loss, back | {"w1": dz.T @ network[0], "b1": dz.sum(0)}

    with pytest.raises(GradcheckError):
        losses.gradcheck(forgets)


@pytest.mark.parametrize("name", ["l1_loss", "mse_loss", "cross_entropy"])
def test_the_lesson_s_check_refuses_a_wrong_loss_or_gradient(name):
    right = getattr(lesson, name)
    for place in (0, 1):

        def wrong(*args, place=place):
            pair = [*right(*args)]
            pair[place] = 1.01 * pair[place] + 0.01
            return tuple(pair)

        wrong.__name__ = name
        with pytest.raises(AssertionError):
            losses.check(wrong)


def test_twice_as_far_off_doubles_the_gradient_of_mse_only():
    output = torch.tensor([1.0, 2, 1])  # off by 4 in place of 2
    for loss, times in (lesson.l1_loss, 1), (lesson.mse_loss, 2):
        near = loss(lesson.OUTPUT, lesson.TARGET)[1]
        far = loss(output, lesson.TARGET)[1]
        torch.testing.assert_close(far, times * near)


def test_large_logits_overflow_by_hand_and_the_exercise_mends_it():
    logits, labels = torch.tensor([[100.0, 110, 120]]), torch.tensor([1])
    assert lesson.cross_entropy(logits, labels)[0].isnan()

    def half_mended(logits, labels, reduction="mean"):
        lower = logits - logits.amax(1, keepdim=True)
        return lesson.cross_entropy(lower, labels, reduction)

    def mended(logits, labels, reduction="mean"):
        lower = logits - logits.amax(1, keepdim=True)
        hot = F.one_hot(labels, logits.size(1))
        each = lower.exp().sum(1).log() - (lower * hot).sum(1)
        return lesson.reduced(each, lesson.softmax(lower) - hot, reduction)

    losses.check_large(mended)
    with pytest.raises(AssertionError, match="nan"):
        losses.check_large(lesson.cross_entropy)
    with pytest.raises(AssertionError, match="inf"):
        losses.check_large(half_mended)
    assert mended(logits, labels)[0] == pytest.approx(10, abs=1e-3)
    spread = torch.tensor([[0.0, 200, 0]]), torch.tensor([0])
    assert mended(*spread)[0] == F.cross_entropy(*spread) == 200
    theirs = F.cross_entropy(logits, labels)
    assert theirs == pytest.approx(10, abs=1e-3)


def test_command_prints_the_worked_numbers(ran, width):
    output, _ = ran
    for line in (
        "l1_loss    0, 0, 2     2   0.6667           0, 0, -0.3333",
        "mse_loss   0, 0, 4     4   1.3333           0, 0, -1.3333",
        "✓ l1_loss = nn.L1Loss: largest difference",
        "✓ mse_loss = nn.MSELoss: largest difference",
        "✓ cross_entropy = nn.CrossEntropyLoss: largest difference",
        "The label's p is 1.2214 / 3.67643",
        "-ln(0.332225) = 1.1019",
        "0.30061",
        "-0.667775",
        "-ln(0.5) = 0.6931",
        "✓ backprop = autograd, and 100 random: largest difference",
        "✓ torch.autograd.gradcheck",
        "✓ 2,410 parameters = autograd's",
        "expected target dtype to be Long or Byte, but got Float",
        "✗ float32, shape (): 5.777",
        "Mistake 4 of 4",
        "Next lesson: python cli.py",
    ):
        assert line in output, line
    assert width(output) <= 80
    assert -math.log(0.332225) == pytest.approx(1.1019, abs=5e-5)


def test_command_logs_the_losses_and_the_worst_digits(
    ran, read_events, only_run, drawn
):
    events = read_events(only_run(ran[1], "loss-demo"))
    assert [*drawn(events)] == ["worst"]
    curve = [event.value for event in events.Scalars("loss/train")]
    assert len(curve) == 100
    assert curve[0] > 2.2 and curve[-1] < 0.25
    assert curve == sorted(curve, reverse=True)


def test_the_digits_named_have_the_largest_losses(ran, sets):
    net = losses.learned(sets["train"], 0)
    images, labels = sets["test"]
    with torch.no_grad():
        each = F.cross_entropy(net(images), labels, reduction="none")
    said = " ".join(ran[0].split())
    named = re.findall(r"(\d) read as (\d), loss (\d\.\d\d)", said)
    worst = each.topk(3)
    assert [float(loss) for *_, loss in named] == pytest.approx(
        worst.values.tolist(), abs=0.006
    )
    assert [int(label) for label, *_ in named] == labels[worst.indices].tolist()
    assert f"297 new digits: mean loss {each.mean():.2f}." in said
    p = net(images).softmax(1)[
        worst.indices[0], named_label := int(named[0][0])
    ]
    assert f"The {named_label} had p = {p:.3f}." in said
    assert shares_right([net], sets["test"]) > 0.9


@pytest.mark.parametrize("words", [("--label", 2), ("--seed", 1)])
def test_each_option_alone_changes_the_screen(run_cli, tmp_path, ran, words):
    result = run_cli("loss-demo", *words, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    end = "Mistake 1 of"
    assert result.output.split(end)[0] != ran[0].split(end)[0]
    if "--label" in words:
        assert "-ln(0.367165) = 1.0019" in result.output


def test_the_lines_to_remember_run(ran):
    lines = re.findall(r"│ • (.*?) *│", ran[0])
    assert len(lines) == 3
    logits, labels = torch.zeros(3, 10), torch.tensor([3, 1, 4])
    names = {"nn": nn, "logits": logits.requires_grad_(), "labels": labels}
    exec("\n".join(lines[:2]), names)
    assert names["loss"].item() == pytest.approx(math.log(10))
    expected = lesson.cross_entropy(logits, labels)[1]
    torch.testing.assert_close(logits.grad, expected.detach())


def test_p_minus_hot_is_the_derivative_of_ln_sum_minus_own_logit():
    logits = torch.tensor([[0.1, 0.2, 0.3]], requires_grad=True)
    loss = logits.exp().sum().log() - logits[0, 1]
    loss.backward()
    ours, gradient = lesson.cross_entropy(logits.detach(), torch.tensor([1]))
    torch.testing.assert_close(ours, loss.detach())
    torch.testing.assert_close(gradient, logits.grad)


@pytest.mark.parametrize(
    "words",
    [("--label", 3), ("--label", -1), ("--label", "one"), ("--seed", -1)],
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("loss-demo", *words).exit_code == 2


def test_a_folder_that_is_a_file_exits_1(run_cli, tmp_path):
    (file := tmp_path / "logs").write_text("")
    result = run_cli("loss-demo", "--logdir", file)
    assert result.exit_code == 1
    assert "Can't write to" in " ".join(result.stderr.split())
