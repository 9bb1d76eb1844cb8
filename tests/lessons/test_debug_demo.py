"""debug-demo: what each check finds, its mistakes, and what it says."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam

from lessons import debug_demo as lesson
from shared.datasets.embedded import photo_digits
from shared.practice import patients
from shared.seeds import SEEDS

OWN = {  # the check that each broken network is for
    "softmax": "by heart",
    "shuffled": "twins",
    "masked_root": "nan",
    "sigmoids": "gradient",
    "tiny_rate": "update",
    "unscaled": "start",
    "one_pixel": "width",
}
ALSO = {
    "masked_root": ["by heart", "gradient", "update"],
    "sigmoids": ["by heart"],
    "unscaled": ["update"],
    "one_pixel": ["by heart"],
}


@pytest.fixture(scope="module")
def train():
    return patients.digit_set()


def examined(broken, train, seed):
    """As show_counts does it: a network and a batch of this seed."""
    torch.manual_seed(seed)
    some = torch.randperm(len(train[0]))[:64]
    return lesson.examine(*patients.admit(broken, train, some))


def test_there_is_a_fault_for_each_check():
    assert sorted(OWN.values()) == sorted(lesson.RANGE)
    assert list(OWN) == [broken.__name__ for broken in patients.CASES]


def convolutions() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 10)),
    )


def normed() -> nn.Module:
    first = nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()
    return nn.Sequential(*first, nn.Linear(32, 10))


def dropping() -> nn.Module:
    return nn.Sequential(nn.Dropout(), patients.network()).eval()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "network", [patients.network, convolutions, normed, dropping]
)
def test_all_checks_are_silent_on_a_healthy_network(network, seed, train):
    torch.manual_seed(seed)
    model = network()
    batch = [tensor[64 * seed : 64 * seed + 64] for tensor in train]
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    found = lesson.examine(model, optimizer, *batch)
    assert lesson.complaints(found) == [], found
    for other in (SGD(model.parameters(), 0.02), Adam(model.parameters())):
        low, high, _ = lesson.RANGE["update"]
        assert low < lesson.updates(model, other, *batch).mean() < high


def test_twins_is_silent_on_photo_digits_too():
    images, _ = photo_digits()
    for seed in SEEDS:
        torch.manual_seed(seed)
        some = torch.randperm(len(images.labels))[:64]
        found = lesson.twins(images.images[some] / 255, images.labels[some])
        assert 0.3 < found < 0.6


def test_examine_leaves_model_and_optimizer_as_they_are(train):
    torch.manual_seed(0)
    model = normed()
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    batch = [tensor[:64] for tensor in train]
    found = lesson.examine(model, optimizer, *batch)
    assert all(torch.equal(model.state_dict()[n], t) for n, t in before.items())
    assert all(p.grad is None for p in model.parameters())
    assert not optimizer.state
    F.cross_entropy(model(batch[0]), batch[1]).backward()  # grads of your own
    grads = [p.grad.clone() for p in model.parameters()]
    model.load_state_dict(before)
    again = lesson.examine(model, optimizer, *batch)
    assert again == pytest.approx(found)
    pairs = zip(grads, model.parameters(), strict=True)
    assert all(torch.equal(grad, p.grad) for grad, p in pairs)


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_the_broken_networks_do_not_learn_and_the_healthy_one_does(train):
    for seed in SEEDS:
        for broken in patients.CASES:
            torch.manual_seed(seed)
            last = patients.learn(*broken(*train))[-1]
            assert 2.1 < last < 2.4, broken.__name__  # of ln 10 = 2.30
        torch.manual_seed(seed)
        assert patients.learn(*patients.healthy(*train))[-1] < 0.5


def test_what_the_answers_advise_does_mend(train):
    images, labels = train
    batch = images[:64], labels[:64]
    for seed in SEEDS:
        torch.manual_seed(seed)
        model, lr, *_ = patients.tiny_rate(*train)
        optimizer = SGD(model.parameters(), lr)
        lr *= 0.001 / lesson.updates(model, optimizer, *batch).mean().item()
        assert patients.learn(model, lr, *train)[-1] < 1
        first = nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 32)
        model = nn.Sequential(*first, *patients.network()[2:])
        assert patients.learn(model, 0.1, *train)[-1] < 1.1
        model = patients.network(act=Clamped)
        assert lesson.born(model, *batch) == ""
        assert patients.learn(model, 0.1, *train)[-1] < 0.5


class Clamped(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.clamp(min=1e-6).sqrt()


def test_the_answers_say_what_is_so(train):
    """The least loss after a softmax; nan weights, and a loss that is none."""
    floor = -math.log(math.e / (math.e + 9))
    assert f"{floor:.2f}" == "1.46"
    best = F.cross_entropy(torch.eye(10), torch.arange(10)).item()
    assert (
        best
        == pytest.approx(floor)
        == pytest.approx(math.log(2.718 + 9) - 1, abs=1e-4)
    )
    torch.manual_seed(0)
    model, lr, *data = patients.masked_root(*train)
    assert math.isfinite(patients.learn(model, lr, *data)[-1])
    assert model[1].weight.isnan().any() and model[3].weight.isnan().any()
    seen = lesson.outputs(model, train[0][:64])
    assert seen["1"].isnan().any() and seen["2"].isfinite().all()
    x = torch.linspace(-9, 9, 999, requires_grad=True)
    x.sigmoid().sum().backward()
    assert 0.2499 < x.grad.max() <= 0.25


def test_the_updates_of_unscaled_are_larger_than_the_weights(train):
    for seed in SEEDS:
        assert examined(patients.unscaled, train, seed)["update"] > 1


def test_the_mistakes_and_their_mends(train):
    batch = [tensor[:64] for tensor in train]
    torch.manual_seed(0)
    loud = re.findall(r"\d\.\d+", lesson.wrong_alarm(*batch))
    calm = re.findall(r"\d\.\d+", lesson.right_alarm(*batch))
    assert len(loud) == len(calm) == 3
    assert all(float(loss) > 0.2 for loss in loud)
    assert all(float(loss) < 0.01 for loss in calm)
    wrong, right = lesson.wrong_masked(), lesson.right_masked()
    assert wrong.isnan().tolist() == [True, True, False]
    assert right.tolist() == [0, 0, 0.25]
    x = torch.tensor([-1.0, 0, 4], requires_grad=True)
    out = torch.where(x > 0, x.sqrt(), 0)
    assert out.tolist() == [0, 0, 2]
    patched = x.sqrt().nan_to_num(0)
    patched.sum().backward()
    assert patched.tolist() == [0, 0, 2]
    assert x.grad[0].isnan() and x.grad[1].isinf()
    assert x.clamp(min=1e-6).sqrt()[1].item() == pytest.approx(0.001)


def test_eval_of_the_whole_network_brings_false_alarms(train):
    """With eight layers of batch norm; eval of the dropout alone does not."""
    batch = [tensor[:64] for tensor in train]
    for seed in SEEDS:
        torch.manual_seed(seed)
        layers, size = [nn.Flatten()], 64
        for _ in range(8):
            layers += nn.Linear(size, 32), nn.BatchNorm1d(32), nn.ReLU()
            size = 32
        net = nn.Sequential(*layers, nn.Dropout(), nn.Linear(32, 10))
        optimizer = SGD(net.parameters(), 0.1)
        net[-2].eval()
        assert lesson.complaints(lesson.examine(net, optimizer, *batch)) == []
        net.eval()
        found = lesson.complaints(lesson.examine(net, optimizer, *batch))
        assert found == ["by heart", "gradient"]


def test_a_nan_or_a_number_outside_is_a_complaint():
    inside = {name: low for name, (low, _, _) in lesson.RANGE.items()}
    assert lesson.complaints(inside) == []
    for name in inside:
        for value in (math.nan, -1.0):
            assert lesson.complaints(inside | {name: value}) == [name]


def test_born_warns_of_the_line():
    layers = nn.Linear(3, 4), patients.Root(), nn.Linear(4, 2)
    batch = torch.randn(20, 3), torch.randint(2, (20,))
    with pytest.warns(UserWarning, match=r"x\.sqrt\(\)"):
        lesson.born(nn.Sequential(*layers), *batch)


def test_command_prints_the_worked_case_and_logs_the_figures(
    ran, width, read_events, only_run, drawn
):
    output, folder = ran
    said = " ".join(output.split())
    for line in (
        "2 * 6 + 2 * 8 = 28",
        "9 + 16 + 9 + 16 = 50, its root is 7.07",
        "0.001 * 7.07 / 4 = 0.0018 of the weight",
        "✓ This and 99 random layers = formula: largest difference",
        "torch.float32 in Flatten (64, 64), Linear (64, 32)",
        "Case 3 of 7",
        "Function 'SqrtBackward0' returned nan values in its 0th output.",
        "float32, shape (3,): [nan, nan, 0.25]",
        "float32, shape (3,): [0, 0, 0.25]",
        "Mistake 2 of 2",
        "Next lesson: python cli.py",
    ):
        assert line in said
    assert "Case 4 of 7" not in said
    assert "Error detected" not in said
    assert width(output) <= 80
    events = read_events(only_run(folder, "debug-demo"))
    assert sorted(drawn(events)) == ["batch", "by_heart"]


def test_each_fault_is_found_by_its_check_and_by_these_alone(ran):
    """In all five networks of the kind, and none of the healthy ones."""
    rows = {
        line.split()[0]: line.split()[1:]
        for line in ran[0].splitlines()
        if re.fullmatch(r" (\w+)( +[-\d]){7} *", line)
    }
    assert set(rows.pop("healthy")) == {"-"}
    assert set(rows) == set(OWN)
    for name, counts in rows.items():
        found = dict(zip(lesson.RANGE, counts, strict=True))
        theirs = {OWN[name], *ALSO.get(name, [])}
        assert found == {n: "5" if n in theirs else "-" for n in found}
    columns = list(zip(*rows.values(), strict=True))
    times = [column.count("5") for column in columns]
    heart = list(lesson.RANGE).index("by heart")
    assert times[heart] == 4 == max(times) and times.count(4) == 1
    assert rows["shuffled"].count("5") == 1


@pytest.mark.filterwarnings("ignore:Error detected in")
@pytest.mark.parametrize("case", range(1, 8))
def test_the_answer_comes_after_the_checks_and_the_question(
    case, train, capsys, monkeypatch
):
    asked = []
    monkeypatch.setattr(lesson.console, "ask", asked.append)
    torch.manual_seed(0)
    lesson.show_case(case, train)
    name = patients.CASES[case - 1].__name__
    checks, answer = capsys.readouterr().out.split("Trained for five epochs")
    assert f"def {name}(" in answer and f"{name}" not in checks
    assert " !" in checks
    assert asked == ["What is broken?"]


def shorten(monkeypatch):
    """Without the parts that no option changes: the run above has them."""
    for where, part in (
        (patients, "show_counts"),
        (patients, "log_figures"),
        (lesson.console, "mistakes"),
    ):
        monkeypatch.setattr(where, part, lambda *given, **named: None)


def test_each_option_alone_changes_the_screen(
    ran, run_cli, tmp_path, monkeypatch
):
    shorten(monkeypatch)
    result = run_cli("debug-demo", "--case", 4, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    assert re.findall(r"Case (\d) of 7", result.output) == ["4"]
    result = run_cli("debug-demo", "--seed", 3, "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    losses = r"mean loss of each: ([\d. ]+)"
    assert re.findall(losses, result.output) != re.findall(losses, ran[0])


def test_the_lines_to_remember_run(ran, train, capsys):
    """And say [], then ['start'] once the network is trained."""
    first, second, _ = re.findall(r"│ • (.*?) *│", ran[0])
    for seed in SEEDS:
        torch.manual_seed(seed)
        net = patients.network()
        names = {"net": net, "optimizer": SGD(net.parameters(), 0.1)}
        names |= {"images": train[0][:64], "labels": train[1][:64]}
        exec(f"{first}\n{second}", names)
        patients.learn(net, 0.1, *train)
        exec(second, names)
    said = capsys.readouterr().out.split("\n")
    assert said == ["[]", "['start']"] * len(SEEDS) + [""]


def test_two_sigmoids_are_a_fault_that_no_check_finds(train):
    batch = [tensor[:64] for tensor in train]
    for seed in SEEDS:
        torch.manual_seed(seed)
        model = patients.network(act=nn.Sigmoid)
        optimizer = SGD(model.parameters(), 0.1)
        assert lesson.complaints(lesson.examine(model, optimizer, *batch)) == []
        losses = [patients.learn(model, 0.1, *train)[-1] for _ in range(4)]
        assert losses[0] > 2.2 and losses[-1] < 0.5  # after 5 and 20 epochs


def test_after_unscaled_all_images_have_the_same_logits(train):
    for seed in SEEDS:
        torch.manual_seed(seed)
        model, lr, *data = patients.unscaled(*train)
        patients.learn(model, lr, *data)
        logits = model(data[0]).detach()
        assert (logits - logits[0]).abs().max() < 1e-5


def test_born_says_nothing_of_errors_that_are_no_nan():
    model, *batch = patients.paper_case()
    layers = nn.Sequential(model, nn.Linear(2, 2))
    model.requires_grad_(False)
    assert lesson.born(layers, *batch) == ""
    with pytest.raises(RuntimeError, match="shapes"):
        lesson.born(model, torch.ones(1, 3), batch[1])


def test_the_exercise_has_an_answer(train):
    batch = [tensor[:64] for tensor in train]
    for seed in SEEDS:
        torch.manual_seed(seed)
        both = (patients.Keeps(), ["act"]), (patients.network(), [])
        for model, lost in both:
            seen = lesson.outputs(model, batch[0])
            names = [name for name, _ in model.named_modules()]
            assert [name for name in names if name not in seen] == lost
            optimizer = SGD(model.parameters(), 0.1)
            found = lesson.examine(model, optimizer, *batch)
            assert lesson.complaints(found) == []


@pytest.mark.parametrize(
    "words", [("--case", 8), ("--case", -1), ("--case", "x"), ("--seed", -1)]
)
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("debug-demo", *words).exit_code == 2


def test_a_logdir_that_is_a_file_exits_1(run_cli, tmp_path, monkeypatch):
    shorten(monkeypatch)
    file = Path(tmp_path, "file")
    file.touch()
    result = run_cli("debug-demo", "--logdir", file)
    assert result.exit_code == 1 and "Can't write to" in result.stderr
