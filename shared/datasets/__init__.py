"""Where examples come from.

image_set      images in memory, handed out in batches
embedded       digits, photo-digits and photographs, made from installed files
image_folder   a folder of class folders, decoded once
pictures       a picture of the user's own
own_pictures   many of them, batch by batch
downloads      CIFAR-10 and MNIST: what is here, how to get it
sources        which of them --data names

Nothing is imported here: `python cli.py data` must not wait for torch.
"""
