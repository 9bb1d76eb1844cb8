"""Two Datasets are the same, or it is said; a report stays short."""

import pytest
import torch

from shared.datasets.checks import same, several


def examples(*labels: int, shape: tuple[int, ...] = (3, 2, 2)) -> list:
    return [(torch.full(shape, float(label)), label) for label in labels]


def test_the_same_examples_agree(capsys):
    same("this = that", examples(0, 1, 2), examples(0, 1, 2))
    said = capsys.readouterr().out
    assert said == "✓ this = that, 3 examples: largest difference 0\n"


@pytest.mark.parametrize(
    "others",
    [
        examples(0, 1),
        examples(0, 2, 1),
        examples(0, 1, 2, shape=(3, 2, 3)),
        [(image, 0) for image, _ in examples(0, 1, 2)],
    ],
)
def test_others_are_refused(others):
    with pytest.raises(AssertionError):
        same("this = that", examples(0, 1, 2), others)


def test_of_many_some_are_compared(capsys):
    same("this = that", examples(*range(1000)), examples(*range(1000)))
    assert "400 examples" in capsys.readouterr().out


def test_of_large_images_eight_are_compared(capsys):
    large = examples(*range(20))
    large = [(image.expand(3, 2, 2), label) for image, label in large]
    large[0] = torch.zeros(1).expand(50_000_001), 0
    other = [*large]
    same("this = that", large, other)
    assert "8 examples" in capsys.readouterr().out


def test_ten_are_named_and_the_others_counted():
    names = [f"{k}" for k in range(1200)]
    assert several(names[:2]) == "0; 1"
    assert several(names).endswith("8; 9; and 1,190 more")
