"""What every test may use.

The command line in this process, and a reader of TensorBoard files.
"""

import os
import pickle
import signal
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # one thread of PyTorch a worker
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell in the background has switched Ctrl-C off; the tests press it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    EventAccumulator,
)
from typer.testing import CliRunner, Result

from cli import app


def pytest_addoption(parser):
    parser.addoption(
        "--real-data",
        type=Path,
        help="folder with the real cifar10/ and MNIST/",
    )


@pytest.fixture
def real_data(request) -> Path:
    """The folder that --real-data names."""
    folder = request.config.getoption("--real-data")
    hint = "say where the real data is: pytest -m real_data --real-data DIR"
    assert folder, hint
    return folder


@pytest.fixture
def run_cli(monkeypatch) -> Callable[..., Result]:
    """run_cli("conv-demo", "--stride", 2) runs one command at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def ran(request, tmp_path_factory) -> tuple[str, Path]:
    """The command that tests/lessons/test_conv_demo.py is about, run once.

    Returns what it printed, and its folder of logs.
    """
    folder = tmp_path_factory.mktemp("logs")
    name = Path(request.path).stem.removeprefix("test_").replace("_", "-")
    words = [name, "--logdir", str(folder)]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output, folder


@pytest.fixture
def read_events() -> Callable[[Path], EventAccumulator]:
    """read_events(folder) reads back what a run wrote, leaving nothing out."""
    everything = dict.fromkeys(
        ("images", "scalars", "histograms", "tensors"), 0
    )

    def read(folder: Path) -> EventAccumulator:
        events = EventAccumulator(str(folder), size_guidance=everything)
        return events.Reload()

    return read


@pytest.fixture
def drawn() -> Callable[[EventAccumulator], dict[str, tuple[int, int]]]:
    """drawn(events) is the size of each tag's picture: one, and not blank."""

    def sizes(events: EventAccumulator) -> dict[str, tuple[int, int]]:
        found = {}
        for tag in events.Tags()["images"]:
            (event,) = events.Images(tag)
            file = BytesIO(event.encoded_image_string)
            picture = Image.open(file).convert("RGB")
            found[tag] = picture.size
            pixels = picture.width * picture.height
            ground = max(count for count, _ in picture.getcolors(pixels))
            # a title alone leaves more of it empty
            assert ground < 0.97 * pixels, f"{tag} is blank"
        return found

    return sizes


@pytest.fixture
def only_run() -> Callable[[Path, str], Path]:
    """only_run(logdir, "conv-demo") is the folder of that lesson's one run."""

    def folder(logdir: Path, lesson: str) -> Path:
        (run,) = (logdir / lesson).iterdir()
        return run

    return folder


class Gift:
    """A pickle that leaves a mark when somebody loads it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.fixture
def hostile(tmp_path) -> Callable[[Path, str], Path]:
    """hostile(path, "zip") plants such a pickle there; returns its mark.

    As torch.save writes it (zip), or as the pickle module does (bare). It runs
    code: that is tried here.
    """

    def plant(path: Path, kind: str) -> Path:
        mark = tmp_path / "code-has-run"
        gift = {"model": Gift(mark), "history": []}
        if kind == "zip":
            torch.save(gift, path)
            torch.load(path, weights_only=False)
        else:
            path.write_bytes(pickle.dumps(gift))
            pickle.loads(path.read_bytes())
        mark.unlink()
        return mark

    return plant


@pytest.fixture
def width() -> Callable[[str], int]:
    """The widest line of an output, without the command to copy.

    That one is never broken.
    """

    def widest(output: str) -> int:
        lines, command = output.splitlines(), "In TensorBoard: "
        return max(len(line) for line in lines if not line.startswith(command))

    return widest
