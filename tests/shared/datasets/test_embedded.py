import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image
from torch.nn import functional as F

from shared.datasets.downloads import EMBEDDED_SHA256
from shared.datasets.embedded import (
    TRAIN_DIGITS,
    _handwriting,
    digits,
    photo_digits,
    photograph,
)
from shared.datasets.image_set import ImageSet, channel_statistics


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
    for part in (labels[:TRAIN_DIGITS], labels[TRAIN_DIGITS:]):
        assert set(part) == set(range(10))


def test_handwriting_is_scikit_learn_s():
    images, labels = _handwriting()
    ours = zip(labels.tolist(), map(bytes, images), strict=True)
    digits = load_digits()
    pixels = np.minimum(digits.images * 16, 255).astype(np.uint8)
    theirs = zip(digits.target.tolist(), map(bytes, pixels), strict=True)
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("size", [8, 28])
def test_digits_in_both_sizes(size):
    train, test = digits(size)
    assert train.images.shape == (1500, 1, size, size)
    assert test.images.shape == (297, 1, size, size)


@pytest.mark.parametrize("name", ["china", "flower"])
def test_photographs_are_scikit_learn_s(name):
    pixels = torch.from_numpy(load_sample_image(f"{name}.jpg").copy())
    expected = pixels.permute(2, 0, 1) / 255
    torch.testing.assert_close(photograph(name), expected)


def test_channel_statistics_are_mean_and_std(photo_sets):
    images = photo_sets[1].images
    pixels = images.double() / 255
    mean = pixels.mean((0, 2, 3))
    std = pixels.std((0, 2, 3), correction=0)
    for ours, theirs in zip(
        channel_statistics(images), (mean, std), strict=True
    ):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-6, atol=0)


@pytest.fixture
def numbered(photo_sets) -> ImageSet:
    """The 2,000 test images, each with its number for a label."""
    return replace(photo_sets[1], labels=torch.arange(2_000))


def test_batches_in_order_hold_every_image_once_the_last_may_be_short(numbered):
    batches = list(numbered.batches(300))
    assert [len(numbers) for _, numbers in batches] == [300] * 6 + [200]
    images, numbers = map(torch.cat, zip(*batches, strict=True))
    assert numbers.equal(numbered.labels)
    assert images.equal(numbered.images)


def test_shuffled_batches_have_one_size_and_leave_others_out_each_epoch(
    numbered,
):
    loader = numbered.batches(300, torch.Generator().manual_seed(1))
    assert len(loader) == 6
    left_out = []
    for _ in range(5):
        batches = list(loader)
        assert [len(numbers) for _, numbers in batches] == [300] * 6
        images, numbers = map(torch.cat, zip(*batches, strict=True))
        assert images.equal(numbered.images[numbers]), "each with its label"
        assert not numbers.equal(numbers.sort().values), "mixed"
        assert len(numbers.unique()) == 1_800, "none twice"
        left_out.append(set(range(2_000)) - set(numbers.tolist()))
    assert left_out[0] != left_out[1]
    assert not set.intersection(*left_out), "each comes in another epoch"


def test_shuffled_batches_that_come_out_even_leave_nothing_out(numbered):
    loader = numbered.batches(400, torch.Generator().manual_seed(1))
    numbers = torch.cat([numbers for _, numbers in loader])
    assert numbers.sort().values.equal(numbered.labels)


def test_limited_draws_from_all_classes_and_always_the_same(photo_sets):
    images = photo_sets[1]
    labels = images.labels.sort().values
    sorted_by_class = ImageSet(images.images, labels, images.classes, "sorted")
    some = sorted_by_class.limited(200)
    assert len(some) == 200
    assert len(some.labels.unique()) == 10
    assert some.images.equal(sorted_by_class.limited(200).images)
    assert sorted_by_class.limited(5000) is sorted_by_class


def test_a_linear_classifier_is_far_from_solving_photo_digits(photo_sets):
    """Hard enough for a network: least squares on raw pixels is below 85 %."""
    (train, test) = photo_sets
    columns = [
        F.pad(part.images.flatten(1).float() / 255, (0, 1), value=1.0)
        for part in (train, test)
    ]
    targets = F.one_hot(train.labels, 10).float()
    gram = columns[0].T @ columns[0] + 10 * torch.eye(columns[0].size(1))
    weights = torch.linalg.solve(gram, columns[0].T @ targets)
    assert test.accuracy((columns[1] @ weights).argmax(1)) < 0.85


def test_a_tenth_is_held_out_by_seed_and_shares_no_handwriting(photo_sets):
    train, held_out = photo_sets[0].hold_out(seed=0)
    assert len(train) + len(held_out) == 10_000
    assert 800 < len(held_out) < 1_200
    assert not set(train.source.tolist()) & set(held_out.source.tolist())
    assert held_out.images.equal(photo_sets[0].hold_out(seed=0)[1].images)
    assert not held_out.labels.equal(photo_sets[0].hold_out(seed=1)[1].labels)
    assert [len(part) for part in digits()[0].hold_out(seed=0)] == [1350, 150]


def test_only_shuffled_batches_are_transformed(photo_sets):
    images = photo_sets[1].limited(10)
    images.transform = lambda batch, chance: (batch[0] * 0, batch[1])
    assert next(iter(images.batches(10, torch.Generator())))[0].sum() == 0
    assert next(iter(images.batches(10)))[0].sum() > 0
