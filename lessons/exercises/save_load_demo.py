"""Cases for lessons/save_load_demo.py: there is nothing to write by hand."""

NOT_ASKED: dict[str, str] = {}
