"""What a learner writes: for every lesson, the cases that judge it.

lessons/exercises/conv_demo.py belongs to lessons/conv_demo.py. It holds a
generator for each function and class of the lesson's section "By hand", of the
same name and in the order in which to write them. Each yields pairs, the
easiest first: a call, and what it must give (or a function that looks at what
it gave, and raises AssertionError). The paragraphs of its docstring are hints,
from the first nudge to the last. NOT_ASKED says of the others why not.

tests/test_exercises.py runs every case on the lesson's own code.
"""
