"""What a training run needs and no lesson teaches.

run           Training: the epochs, the batches, the table, the files
quiet         the same loop again, without files
resume        --resume: which run goes on, and what it refuses
run_folder    last.pt, best.pt, metrics.csv, run.json
checkpoint    one file, whole or not at all
trained       a network from a file, whoever made it
served        the same for serve, of three lessons, with its card
weights       --weights: the numbers that a ResNet18 begins with
distributed   several processes under torchrun
"""

from .quiet import Quiet
from .resume import LogDir, Resume, RunFolder
from .run import Training

__all__ = ["LogDir", "Quiet", "Resume", "RunFolder", "Training"]
