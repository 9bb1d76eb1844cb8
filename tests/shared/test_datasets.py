import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch.nn import functional as F

from shared.datasets import (
    TRAIN_DIGITS,
    ImageSet,
    _handwriting,
    channel_statistics,
    digits,
    photo_digits,
    photograph,
)
from shared.downloads import EMBEDDED_SHA256


@pytest.fixture(scope="module")
def photo_sets() -> tuple[ImageSet, ImageSet]:
    return photo_digits()


def test_photo_digits_have_the_shape_of_cifar10(photo_sets):
    for images, count in zip(photo_sets, (10_000, 2_000), strict=True):
        assert images.images.shape == (count, 3, 32, 32)
        assert images.images.dtype == torch.uint8
        assert images.labels.bincount().tolist() == [count // 10] * 10


def test_photo_digits_are_the_same_on_every_machine(photo_sets):
    digest = hashlib.sha256()
    for images in photo_sets:
        digest.update(images.images.numpy().tobytes())
    assert digest.hexdigest() == EMBEDDED_SHA256["photo-digits"]
    assert not photo_digits(seed=1)[0].images.equal(photo_sets[0].images)


def test_no_handwriting_of_the_test_set_is_in_the_training_set():
    images, labels = _handwriting()
    assert len(images) == 1797
    train = {image.tobytes() for image in images[:TRAIN_DIGITS]}
    test = {image.tobytes() for image in images[TRAIN_DIGITS:]}
    assert not train & test
    assert set(labels[:TRAIN_DIGITS]) == set(labels[TRAIN_DIGITS:]) == set(range(10))


def test_handwriting_is_scikit_learn_s():
    ours = sorted(zip(_handwriting()[1].tolist(), map(bytes, _handwriting()[0]), strict=True))
    theirs = load_digits()
    pixels = np.minimum(theirs.images * 16, 255).astype(np.uint8)
    assert ours == sorted(zip(theirs.target.tolist(), map(bytes, pixels), strict=True))


@pytest.mark.parametrize("size", [8, 28])
def test_digits_in_both_sizes(size):
    train, test = digits(size)
    assert train.images.shape == (1500, 1, size, size)
    assert test.images.shape == (297, 1, size, size)


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photographs_are_scikit_learn_s(name):
    expected = torch.from_numpy(load_sample_image(f"{name}.jpg").copy()).permute(2, 0, 1) / 255
    torch.testing.assert_close(photograph(name), expected)


def test_channel_statistics_are_mean_and_std(photo_sets):
    images = photo_sets[1].images
    mean, std = channel_statistics(images)
    pixels = images.double() / 255
    torch.testing.assert_close(mean.double(), pixels.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(std.double(), pixels.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)


def test_batches_hold_every_image_once_and_the_last_may_be_short(photo_sets):
    images = photo_sets[1]
    in_order = [labels for _, labels in images.batches(300)]
    assert [len(labels) for labels in in_order] == [300] * 6 + [200]
    assert torch.cat(in_order).equal(images.labels)
    mixed = [batch for batch, _ in images.batches(300, torch.Generator().manual_seed(1))]
    sums = torch.cat(mixed).flatten(1).sum(1)
    assert not sums.equal(images.images.flatten(1).sum(1))
    assert sums.sort().values.equal(images.images.flatten(1).sum(1).sort().values)


def test_limited_draws_from_all_classes_and_always_the_same(photo_sets):
    sorted_by_class = ImageSet(
        photo_sets[1].images, photo_sets[1].labels.sort().values, photo_sets[1].classes, "sorted"
    )
    some = sorted_by_class.limited(200)
    assert len(some) == 200
    assert len(some.labels.unique()) == 10
    assert some.images.equal(sorted_by_class.limited(200).images)
    assert sorted_by_class.limited(5000) is sorted_by_class


def test_a_linear_classifier_is_far_from_solving_photo_digits(photo_sets):
    """Hard enough to be worth a network: least squares on raw pixels stays below 85 %."""
    (train, test) = photo_sets
    columns = [
        F.pad(part.images.flatten(1).float() / 255, (0, 1), value=1.0) for part in (train, test)
    ]
    targets = F.one_hot(train.labels, 10).float()
    gram = columns[0].T @ columns[0] + 10 * torch.eye(columns[0].size(1))
    weights = torch.linalg.solve(gram, columns[0].T @ targets)
    assert test.accuracy((columns[1] @ weights).argmax(1)) < 0.85
