"""The table of contents: the tracks, and their lessons in teaching order.

conv-demo stands for lessons/conv_demo.py. The summary is the first line of that
lesson's run().
"""

TRACKS: dict[str, dict[str, str]] = {
    "Layers": {
        "conv-demo": "Slide a kernel over an image, and check it with PyTorch.",
        "activation-demo": "Write five activations, then measure three claims.",
    },
    "Training": {
        "save-load-demo": "Walk into the traps of saving a model, and out again.",
        "train-cifar": "Train a CNN on pictures: the whole loop, with resume.",
    },
}

LESSONS: dict[str, str] = {
    name: summary
    for lessons in TRACKS.values()
    for name, summary in lessons.items()
}
