import pytest

from shared.fresh_python import run_program


def test_it_returns_what_a_program_prints():
    assert run_program("    x = 1\n    print(x, __name__)") == "1 __main__"


def test_an_error_is_the_last_line_without_its_name():
    with pytest.raises(RuntimeError, match=r"^too bad$"):
        run_program("raise ValueError('too bad')")
