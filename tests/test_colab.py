"""The notebook for a rented GPU, run from top to bottom on this machine."""

import json
import os
import signal
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from shared.options import ROOT

NOTEBOOK = ROOT / "docs" / "colab.ipynb"
SHORT = f"""
ADDRESS = {str(ROOT)!r}
EPOCHS, DEVICE = "1 --limit 200 --data photo-digits", "cpu"
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder to run in; ends the TensorBoard that a notebook leaves."""
    programs = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # TensorBoard notes its pid
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    yield tmp_path
    for noted in tmp_path.glob(".tensorboard-info/*.info"):
        os.kill(json.loads(noted.read_text())["pid"], signal.SIGTERM)


def test_the_first_cell_asks_for_the_address_and_none_holds_output():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert "ADDRESS = " in cells[0].source
    for cell in cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


def test_every_cell_ends_without_an_error(machine):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells[0].source = SHORT
    for cell in notebook.cells:
        if cell.cell_type == "code" and "!" in cell.source:
            cell.source += "\nassert _exit_code == 0, _exit_code"
    resources = {"metadata": {"path": str(machine)}}
    NotebookClient(notebook, timeout=300, resources=resources).execute()
    seen = {cell.id: str(cell.get("outputs")) for cell in notebook.cells}
    assert "torchvision" in seen["doctor"]
    assert "conv2d = F.conv2d" in seen["conv"]
    assert "of the test images right" in seen["training"]
    assert "tensorboard-frame" in seen["tensorboard"]
    assert "best.pt" in seen["checkpoint"]
    (kept,) = (machine / "course" / "logs" / "train-cifar").glob("*/best.pt")
    assert kept.stat().st_size > 145_578 * 4
