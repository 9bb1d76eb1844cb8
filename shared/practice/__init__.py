"""What the learner writes, and what it is tried on.

cases       the calls that judge it, and what each of them must give
programs    autograd-demo: random little calculations, with gradients
norms       norm-demo: a layer's numbers over batches, in both modes
losses      loss-demo: random cases, and a small network that reads digits
descent     sgd-demo: surfaces and digits to walk down on
moments     adam-demo: the race of optimizers
rates       schedule-demo: the race of schedules
patients    debug-demo: networks that are broken in one place
ready_made  pretrained-demo: networks of torchvision, with weights or without
tuning      pretrained-demo: small networks that go on to another task
handwriting train-mnist: five copies of a network, ways to move, baselines
few_digits  train-flowers: a network for 0 to 4, and a few images of 5 to 9
rivals      train-flowers: from scratch, and what needs no training
uploads     serve: a phone's pictures, black ones, and worse
"""
