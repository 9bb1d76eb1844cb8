"""What the learner writes.

cases     the calls that judge it, and what each of them must give
programs  random little calculations, for what somebody wrote for gradients
"""
