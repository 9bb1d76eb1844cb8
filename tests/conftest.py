"""What every test may use: the command line in this process, and a reader of TensorBoard files."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner, Result

from cli import app


def pytest_addoption(parser):
    parser.addoption("--real-data", type=Path, help="folder with the real cifar10/ and MNIST/")


@pytest.fixture
def real_data(request) -> Path:
    """The folder that --real-data names."""
    folder = request.config.getoption("--real-data")
    assert folder, "say where the real data is: pytest -m real_data --real-data DIR"
    return folder


@pytest.fixture
def run_cli(monkeypatch) -> Callable[..., Result]:
    """run_cli("conv-demo", "--stride", 2) runs one command as a user at 80 columns would."""
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def read_events() -> Callable[[Path], EventAccumulator]:
    """read_events(folder) reads back what a run wrote, with nothing left out."""

    def read(folder: Path) -> EventAccumulator:
        return EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0}).Reload()

    return read


@pytest.fixture
def only_run() -> Callable[[Path, str], Path]:
    """only_run(logdir, "conv-demo") is the folder of the one run that lesson made there."""

    def folder(logdir: Path, lesson: str) -> Path:
        (run,) = (logdir / lesson).iterdir()
        return run

    return folder


@pytest.fixture
def width() -> Callable[[str], int]:
    """The widest line of an output, without the command to copy, which is never broken."""

    def widest(output: str) -> int:
        lines = output.splitlines()
        return max(len(line) for line in lines if not line.startswith("In TensorBoard: "))

    return widest
