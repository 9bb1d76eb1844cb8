import copy
from pickle import UnpicklingError

import pytest
import torch

from lessons import save_load_demo as lesson

SYMPTOMS = (
    "✗ UnpicklingError: Weights only load failed.",
    "✗ code ran: True",
    "✓ code ran: False",
    "✗ AttributeError: Can't get attribute 'Net' on <module '__main__' (built-in)>",
    "✓ <All keys matched successfully>",
    "✗ TypeError: Expected state_dict to be dict-like, got <class 'method'>.",
    'Missing key(s) in state_dict: "output.weight", "output.bias".',
    'Unexpected key(s) in state_dict: "head.weight", "head.bias".',
    'Unexpected key(s) in state_dict: "module.body.weight", "module.body.bias"',
    "✗ RuntimeError: Attempting to deserialize object on",
    "✗ RuntimeError: PytorchStreamReader failed reading zip archive",
    "✓ epoch 1",
)


@pytest.fixture(scope="module")
def data():
    return lesson.some_digits()


@pytest.fixture(scope="module")
def trained(data):
    """A trained network and its optimizer."""
    torch.manual_seed(1)
    model = lesson.digit_net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    lesson.train(model, optimizer, data[0])
    return model, optimizer


@pytest.fixture
def model(trained):
    return copy.deepcopy(trained[0])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pt"


@pytest.fixture
def weights(model, path):
    """The path of a trained network's state dict."""
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def score(model, data):
    """What a network that is rightly loaded reaches."""
    right = lesson.accuracy(model, data[1])
    assert right > 0.9
    return right


def test_accuracy_is_the_share_of_right_labels(model, data):
    images = data[1][0]
    named = model(images).argmax(1)
    assert lesson.accuracy(model, (images, named)) == 1
    assert lesson.accuracy(model, (images, (named + 1) % 10)) == 0


def test_a_whole_model_is_refused(path, model, data, score):
    with pytest.raises(
        UnpicklingError, match="Sequential was not an allowed global"
    ):
        lesson.whole(path, model, data[1])
    assert lesson.numbers(path, model, data[1]) == score


def test_a_pickle_runs_code_unless_weights_only(path, tmp_path):
    mark = tmp_path / "mark"
    assert lesson.stranger(path, mark) is True
    assert mark.read_bytes() == b""
    assert lesson.refused(path, mark) is False
    with pytest.raises(UnpicklingError, match="Weights only load failed"):
        torch.load(path, weights_only=True)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_whole_model_needs_its_class(tmp_path):
    assert lesson.class_left(tmp_path).startswith(
        "AttributeError: Can't get attribute 'Net'"
    )
    assert lesson.class_in_code(tmp_path) == "<All keys matched successfully>"


def test_without_parentheses_the_method_is_saved(path, model, data, score):
    with pytest.raises(TypeError, match="got <class 'method'>"):
        lesson.no_parentheses(path, model, data[1])
    with pytest.raises(UnpicklingError):
        torch.load(path, weights_only=True)
    assert lesson.parentheses(path, model, data[1]) == score


def test_names_must_match(weights, data, score):
    with pytest.raises(
        RuntimeError, match=r"(?s)Missing.*output.*Unexpected.*head"
    ):
        lesson.renamed_layer(weights, data[1])
    assert lesson.renamed_in_file(weights, data[1]) == score


def test_not_strict_leaves_the_head_untrained(weights, data):
    torch.manual_seed(0)
    assert lesson.not_strict(weights, *data) < 0.4
    assert lesson.only_the_head(weights, *data) > 0.9


def test_data_parallel_puts_a_prefix_before_every_name(
    path, model, data, score
):
    with pytest.raises(RuntimeError, match=r"Unexpected.*module\.body\.weight"):
        lesson.prefix(path, model, data[1])
    saved = torch.load(path, map_location="cpu", weights_only=True)
    assert all(name.startswith("module.") for name in saved)
    assert lesson.prefix_removed(path, model, data[1]) == score


def test_a_gpu_that_is_not_here(path, model, data, score):
    with pytest.raises(
        RuntimeError, match="Attempting to deserialize object on"
    ):
        lesson.no_such_gpu(path, model, data[1])
    assert lesson.onto_the_cpu(path, model, data[1]) == score


def test_a_copy_is_loaded_not_the_model(weights, data, score):
    torch.manual_seed(0)
    assert lesson.into_a_copy(weights, data[1]) < 0.4
    assert lesson.into_the_model(weights, data[1]) == score


def test_a_state_dict_moves_on_with_training(weights, data, score):
    assert lesson.best_moves_on(weights, *data) < 0.5
    assert lesson.best_stays(weights, *data) == score


def test_eval_decides_what_a_loaded_model_reads(path, data):
    torch.manual_seed(0)
    lesson.save_noisy_net(path, data[0])
    assert lesson.eval_forgotten(path, data[1]) < 0.8
    assert lesson.eval_called(path, data[1]) > 0.95


def test_only_with_the_optimizer_training_goes_on_bit_for_bit(
    path, trained, data
):
    model, optimizer = copy.deepcopy(trained)
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path
    )
    never_stopped = lesson.train(model, optimizer, data[0])
    assert lesson.optimizer_loaded(path, data[0]) == never_stopped
    forgotten = lesson.optimizer_forgotten(path, data[0])
    assert forgotten[0] == never_stopped[0]
    assert forgotten[1] > 2 * never_stopped[1]


def test_half_a_file_is_no_file(path):
    with pytest.raises(RuntimeError, match="failed finding central directory"):
        lesson.half_written(path)
    assert lesson.old_or_new(path) == 1
    part = path.with_name("net.pt.part")
    assert part.stat().st_size == 300_000


@pytest.mark.parametrize(
    ("symptom", "short"),
    [
        (
            "TypeError: Expected it to be otherwise than it is",
            "Expected it to be…",
        ),
        (
            "RuntimeError: Error(s) in loading X: Missing key(s): a",
            "Missing key(s): a",
        ),
        ("accuracy 9.8%", "accuracy 9.8%"),
        ("code ran: True", "code ran: True"),
    ],
)
def test_symptoms_in_short(symptom, short):
    assert lesson.in_short(symptom) == short


def test_command_makes_every_mistake_and_logs_the_losses(
    run_cli, read_events, only_run, tmp_path
):
    result = run_cli("save-load-demo", "--logdir", tmp_path)
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    for symptom in SYMPTOMS:
        assert symptom in output
    assert result.output.count("Mistake: ") == 13
    table = result.output.partition("Every trap and its way out")[2].partition(
        "╭"
    )[0]
    rows = table.partition("─ \n")[2].strip().splitlines()
    assert len(rows) == 13  # none is broken in two
    assert "\x1b" not in result.output
    assert "Next lesson: python cli.py train-cifar" in output

    events = read_events(only_run(tmp_path, "save-load-demo"))
    assert events.Tags()["images"] == ["figures/resume"]
    assert set(events.Tags()["scalars"]) == {
        "resume/never_stopped",
        "resume/optimizer_loaded",
        "resume/optimizer_forgotten",
    }
    straight, loaded, forgotten = (
        [
            (event.step, event.value)
            for event in events.Scalars(f"resume/{name}")
        ]
        for name in ("never_stopped", "optimizer_loaded", "optimizer_forgotten")
    )
    assert [step for step, _ in straight] == list(range(60))
    assert loaded == straight[30:]
    assert [step for step, _ in forgotten] == list(range(30, 60))
    assert forgotten[1][1] > 2 * loaded[1][1]
    assert loaded[-1][1] < loaded[0][1] / 2


def test_same_seed_same_numbers(data, tmp_path):
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        runs.append(lesson.show_round_trip(tmp_path, *data)[1])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("words", [("--seed", -1), ("--seed", "two")])
def test_wrong_options_exit_2(run_cli, words):
    assert run_cli("save-load-demo", *words).exit_code == 2
