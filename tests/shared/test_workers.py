"""Measuring a DataLoader: what is measured, not how fast it is."""

import torch
from torch.utils.data import TensorDataset

from shared.workers import PictureFile, Speed, _unbeaten, speed


def test_a_loader_is_measured_with_and_without_workers():
    images = TensorDataset(torch.zeros(10, 3, 4, 4))
    for workers in (0, 1):
        found = speed(images, 4, workers, epochs=2)
        assert found.first > 0
        assert 0 < found.slowest <= found.fastest


def test_a_speed_is_said_in_two_digits():
    assert str(Speed(0.0312, 420_000, 1_500)) == "0.03 s, then 420,000 to 1,500"


def test_only_what_is_slower_in_every_epoch_is_beaten():
    speeds = {0: Speed(0, 90, 110), 1: Speed(0, 100, 105), 2: Speed(0, 40, 99)}
    assert _unbeaten(speeds) == "0 or 1"
    assert _unbeaten({0: Speed(0, 5, 6)}) == "0"


def test_a_picture_file_is_read_for_every_item(tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48), (10, 20, 30)).save(tmp_path / "a.png")
    pictures = PictureFile(tmp_path / "a.png", 5)
    image, label = pictures[3]
    assert (len(pictures), label, image.shape) == (5, 3, (3, 32, 32))
    assert image[:, 7, 7].tolist() == [10, 20, 30]
