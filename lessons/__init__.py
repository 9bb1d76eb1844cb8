"""The table of contents: the tracks, and their lessons in teaching order.

conv-demo stands for lessons/conv_demo.py. The summary is the first line of that
lesson's run().
"""

TRACKS: dict[str, dict[str, str]] = {
    "Tensors": {
        "tensor-demo": "Read a row of numbers as tables, a photo as a tensor.",
        "autograd-demo": "Find gradients by walking back, as autograd does.",
    },
    "Data": {
        "dataset-demo": "Write a Dataset by hand; compare with ImageFolder.",
        "annotations-demo": "Read a list of labels; look before you train.",
        "tensorboard-demo": "Draw curves in TensorBoard, and read its file.",
        "transforms-demo": "Make a picture a tensor, and one picture many.",
        "datasets-demo": "Read MNIST by hand, and see why a set has two parts.",
        "dataloader-demo": "Cut a Dataset into batches, as DataLoader does.",
    },
    "Layers": {
        "module-demo": "Write Module by hand, then let one learn what grey is.",
        "conv-demo": "Slide a kernel over an image, and check it with PyTorch.",
        "conv-layer-demo": "Build nn.Conv2d by hand, with dilation and groups.",
        "maxpool-demo": "Keep the largest of each window; see what is lost.",
        "activation-demo": "Write five activations, then measure four claims.",
        "linear-demo": "Make an image a row, and sum it up as nn.Linear does.",
        "sequential-demo": "Build one network in two ways; see each shape.",
        "norm-demo": "Write batch norm and dropout; see what eval() changes.",
    },
    "Training": {
        "loss-demo": "Write three losses; go back through two layers by hand.",
        "sgd-demo": "Step downhill by hand, as SGD and momentum do.",
        "adam-demo": "Write Adam and AdamW; race them against plain SGD.",
        "schedule-demo": "Let learning rates rise and fall, as schedulers do.",
        "debug-demo": "Find what is broken, with seven checks to take home.",
        "save-load-demo": "Save a model, and load it the same to the last bit.",
        "checkpoint-demo": "Stop a training run, and go on as if nobody had.",
        "pretrained-demo": "Give a trained network a new head; keep the rest.",
        "device-demo": "Move a model to a GPU, and time it there or here.",
        "train-cifar": "Train a CNN on pictures: the whole loop, with resume.",
        "validate": "Try a trained CNN on its test images, or on your own.",
        "pitfalls-demo": "Make mistakes that no error tells of; mend them.",
    },
    "Projects": {
        "train-mnist": "Train on handwritten digits; meet honest baselines.",
        "train-temperature": (
            "Learn temperatures from a table, beside plain baselines."
        ),
        "train-flowers": "Carry a trained network over to pictures of yours.",
        "train-text": "Train an LSTM that says where a sentence comes from.",
        "serve": "Put a trained network on a web page, and in an API.",
    },
}

LESSONS: dict[str, str] = {
    name: summary
    for lessons in TRACKS.values()
    for name, summary in lessons.items()
}
