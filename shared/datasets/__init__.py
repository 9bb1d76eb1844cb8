"""Where examples come from.

examples       what every set has: a label each, handed out in batches
image_set      images in memory
temperatures   train-temperature's table, generated or read
sentences      train-text's docstrings, or lines of the user's own
few_pictures   train-flowers' folders, and how their pictures are altered
class_names    the names of the classes, as a JSON file
embedded       digits, photo-digits and photographs, made from installed files
image_folder   a folder of class folders, decoded once
pictures       a picture of the user's own
own_pictures   many of them, batch by batch
downloads      CIFAR-10 and MNIST: what is here, how to get it
sources        which of them --data names

Nothing is imported here: `python cli.py data` must not wait for torch.
"""
