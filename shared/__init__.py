"""The few helpers that every lesson needs and none teaches."""
