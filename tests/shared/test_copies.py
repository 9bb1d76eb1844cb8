"""Copies to a GPU, and between two."""

import re

import pytest
import torch

from lessons.device_demo import stopwatch
from shared import copies

CPU = torch.device("cpu")


def test_copies_are_timed_in_each_way(monkeypatch, capsys):
    """On the CPU, with memory that is said to be pinned."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(copies, "NUMBERS", 1000)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    copies.copies_table(CPU, stopwatch, lambda: None)
    output = capsys.readouterr().out
    assert len(re.findall(r"\d\.\d{3}", output)) == 4
    assert "pinned, non_blocking, not waited for" in output


@pytest.mark.gpu
def test_several_gpus_copy_from_one_to_the_other(capsys, monkeypatch):
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    monkeypatch.setattr(copies, "NUMBERS", 1000)
    for name in ("cuda", "cuda:1"):
        on = torch.device(name)
        wait = torch.cuda.synchronize
        copies.copies_table(on, stopwatch, wait)
        said = capsys.readouterr().out
        assert re.search(rf"{name} to cuda:\d", said)
