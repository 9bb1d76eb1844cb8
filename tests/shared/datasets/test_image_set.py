import torch

from shared.datasets.embedded import digits


def test_in_rows_each_image_is_a_row_between_0_and_1():
    images, _ = digits(8)
    rows, labels = images.in_rows().tensors
    assert rows.shape == (1500, 64)
    assert rows.dtype == torch.float32
    assert (rows.min(), rows.max()) == (0, 1)
    assert torch.equal(
        (rows[7] * 255).round(), images.images[7].flatten().float()
    )
    assert labels is images.labels
