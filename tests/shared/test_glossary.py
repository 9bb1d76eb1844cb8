import pytest

from lessons import LESSONS
from shared.glossary import Entry, glossary, look_up
from shared.options import ROOT


def test_the_course_explains_no_term_twice_and_each_in_a_line():
    entries = glossary(ROOT / "lessons", LESSONS)
    for lesson in {entry.lesson for entry in entries}:
        own = [entry for entry in entries if entry.lesson == lesson]
        assert 2 <= len(own) <= 12, lesson
        longest = max(len(entry.term) for entry in own)
        assert all(longest + len(e.meaning) <= 77 for e in own), lesson


def test_a_term_explained_twice_is_refused(tmp_path):
    (tmp_path / "a_demo.py").write_text('WORDS = {"Kernel": "a table"}')
    (tmp_path / "b_demo.py").write_text('WORDS = {"kernel": "a core"}')
    (tmp_path / "c_demo.py").write_text("import no_such_module")
    assert len(glossary(tmp_path, ["a-demo", "c-demo"])) == 1
    with pytest.raises(ValueError, match="twice: a-demo and b-demo"):
        glossary(tmp_path, ["a-demo", "b-demo"])


@pytest.mark.parametrize("typed", ["N", "w", "n, c, h, w", "N C H W"])
def test_a_term_is_found_however_it_is_written(typed):
    entries = [Entry("N, C, H, W", "images to columns", "tensor-demo")]
    assert look_up(entries, typed) == entries
    assert not look_up(entries, "ker")
