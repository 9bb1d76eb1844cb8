import pytest
import torch
from torchvision.datasets import MNIST

from shared.datasets.idx import NAMES, to_idx, write_mnist


def test_torchvision_reads_what_was_written(tmp_path):
    images = torch.randint(0, 256, (300, 5, 7), dtype=torch.uint8)
    labels = torch.arange(300) % 10
    paths = write_mnist(
        tmp_path,
        *[to_idx(images), to_idx(labels)],
        *[to_idx(images[:3].transpose(1, 2)), to_idx(labels[:3])],
    )
    assert [path.name for path in paths] == [*NAMES]
    train, test = MNIST(tmp_path), MNIST(tmp_path, train=False)
    assert torch.equal(train.data, images)
    assert torch.equal(train.targets, labels)
    assert torch.equal(test.data, images[:3].transpose(1, 2))
    assert len(test) == 3


def test_four_files_or_none_that_are_missing(tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_mnist(tmp_path, b"", b"")


def test_names_are_those_of_torchvision():
    theirs = [name.removesuffix(".gz") for name, _ in MNIST.resources]
    assert sorted(theirs) == sorted(NAMES)
