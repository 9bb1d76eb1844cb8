import torch
from matplotlib.colors import to_hex

from shared.datasets.image_set import ImageSet
from shared.figures import (
    confusion_figure,
    confusion_matrix,
    curves_figure,
    pictures_figure,
    predictions_figure,
    strides_figure,
)

LABELS = torch.tensor([0, 0, 1, 2, 2, 2])
PREDICTIONS = torch.tensor([0, 1, 1, 2, 2, 0])
CLASSES = ["ant", "bee", "cat"]


def test_confusion_counts_each_pair_of_true_and_predicted():
    counts = confusion_matrix(LABELS, PREDICTIONS, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]


def test_confusion_figure_names_classes_and_shows_counts():
    counts = confusion_matrix(LABELS, PREDICTIONS, 3)
    figure = confusion_figure(counts, CLASSES)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == CLASSES
    assert [text.get_text() for text in axes.texts] == list("110010102")


def test_predictions_figure_is_green_where_right_else_names_the_truth():
    pixels = torch.zeros(6, 3, 4, 4, dtype=torch.uint8)
    images = ImageSet(pixels, LABELS, CLASSES, "")
    figure = predictions_figure(images, PREDICTIONS, each=2)
    titles = [axes.title for axes in figure.axes]
    said = {title.get_text(): title.get_color() for title in titles}
    assert said == {
        "bee,\nis ant": "red",
        "ant,\nis cat": "red",
        "ant": "green",
        "cat": "green",
    }


def test_curves_figure_is_labelled():
    x = torch.linspace(0, 1, 5)
    (axes,) = curves_figure(x, {"one": x, "two": 2 * x}, "x", "value").axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "value")
    assert [line.get_label() for line in axes.lines] == ["one", "two"]
    assert axes.get_legend()


def test_pictures_figure_shows_each_under_its_name():
    named = {"red": torch.rand(4, 5), "image": torch.rand(3, 4, 5)}
    figure = pictures_figure(named, "two", columns=2)
    assert figure.get_suptitle() == "two"
    assert [axes.get_title() for axes in figure.axes] == ["red", "image"]
    assert [axes.images[0].get_array().shape for axes in figure.axes] == [
        (4, 5),
        (4, 5, 3),
    ]


def test_strides_figure_marks_what_is_read_and_names_the_strides():
    table = torch.arange(6).view(2, 3)
    views = {"all": table, "last": table[:, 2:].expand(2, 3)}
    every, last = strides_figure(views).axes
    green = "lightgreen"
    for axes, read in ((every, range(6)), (last, (2, 5))):
        boxes = [text for text in axes.texts if text.get_bbox_patch()]
        marks = [to_hex(box.get_bbox_patch().get_facecolor()) for box in boxes]
        assert marks == [
            to_hex(green if n in read else "white") for n in range(6)
        ]
    said = [text.get_text() for text in last.texts]
    assert "next row: stride[0] = 3" in said
    assert "next column: stride[1] = 0, the same place" in said
    assert last.get_title("left").startswith(
        "last: shape (2, 3), stride (3, 0)"
    )
