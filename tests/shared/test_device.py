"""What is said of the devices of a machine."""

import torch

from shared import device as devices


def test_two_gpus_are_both_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"Card {i}")
    monkeypatch.setattr(devices, "_answer_of_cuda", lambda: "cuda:0.")
    devices.say_devices(torch.device("cuda:1"), torch.device("cuda:1"))
    said = " ".join(capsys.readouterr().out.split())
    assert "cuda:0 here Card 0 cuda:1 here Card 1 mps" in said
    assert "computes on cuda:1" in said
