"""The commands: their table of contents is true, and a start costs nothing."""

import ast
import importlib
import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest

import cli
from lessons import LESSONS
from shared import console
from shared.options import ROOT

LESSON_FILES = sorted(
    path for path in (ROOT / "lessons").glob("*.py") if path.stem != "__init__"
)


def run_process(
    *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_table_of_contents_is_the_folder():
    files = {path.name for path in LESSON_FILES}
    assert {f"{name.replace('-', '_')}.py" for name in LESSONS} == files


@pytest.mark.parametrize("name", LESSONS)
def test_each_summary_is_the_lesson_s_own_and_its_help_shows_an_example(
    run_cli, name
):
    module = importlib.import_module(f"lessons.{name.replace('-', '_')}")
    assert LESSONS[name] == module.run.__doc__
    assert module.__doc__
    result = run_cli(name, "--help")
    assert result.exit_code == 0
    assert f"Example: python cli.py {name}" in result.output
    longest = max(map(len, module.__doc__.splitlines()))
    assert longest <= 76  # fits into the opening's frame


@pytest.mark.parametrize("path", LESSON_FILES, ids=lambda path: path.stem)
def test_each_lesson_stands_alone(path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    imported = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [
            getattr(node, "module", None) or "",
            *(alias.name for alias in node.names),
        ]
    ]
    others = ("lessons", "cli")
    assert not [name for name in imported if name.startswith(others)]
    assert "console.next_lesson(__name__)" in source


def test_shared_imports_the_table_of_contents_and_never_a_lesson():
    imports = re.compile(r"^\s*((?:from|import) lessons.*)$", re.MULTILINE)
    found = {
        line
        for path in (ROOT / "shared").rglob("*.py")
        for line in imports.findall(path.read_text(encoding="utf-8"))
    }
    assert found == {"from lessons import LESSONS"}


def test_the_next_lesson_is_that_of_the_table_of_contents(capsys):
    order = [*LESSONS]
    for name, following in pairwise(order):
        module = f"lessons.{name.replace('-', '_')}"
        importlib.import_module(module)
        console.next_lesson(module)
        said = capsys.readouterr().out
        assert said == f"Next lesson: python cli.py {following}\n"
    last = f"lessons.{order[-1].replace('-', '_')}"
    importlib.import_module(last)
    console.next_lesson(last)
    assert "the last lesson" in capsys.readouterr().out


def test_help_imports_no_torch():
    code = (
        "import sys; sys.argv[1:] = {words}; import runpy\n"
        "try: runpy.run_path('cli.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {{'torch', 'numpy', 'matplotlib'}}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    for line in ("--help", "", "list", "data", "show conv-demo", "words"):
        words = line.split()
        process = run_process("-c", code.format(words=words))
        assert process.stdout.endswith("imported: []\n"), words


def test_the_bare_command_is_the_course_map(run_cli, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "LOGS", tmp_path)
    done = ("tensor-demo", "conv-demo")
    for name in done:
        (tmp_path / name).mkdir()
    for words in ((), ("list",)):
        result = run_cli(*words)
        assert result.exit_code == 0
        places = [result.output.index(name) for name in LESSONS]
        assert places == sorted(places)
        assert re.search(r"✓ +conv-demo", result.output)
        assert re.search(r"· +train-cifar", result.output)
        start = next(name for name in LESSONS if name not in done)
        assert f"Start with: python cli.py {start}" in result.output
        for name, summary in LESSONS.items():  # one line each
            line = rf"{name} +{re.escape(summary)} *\n"
            assert re.search(line, result.output)
        assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("conv-dem", "conv-demo"), ("train_cifar", "train-cifar")],
)
def test_a_mistyped_lesson_suggests_the_nearest(run_cli, typed, meant):
    for words in ((typed,), ("show", typed)):
        result = run_cli(*words)
        assert result.exit_code == 2
        assert f"Did you mean '{meant}'" in result.stderr


def test_a_name_like_no_lesson(run_cli):
    for words in (("xyz",), ("show", "xyz")):
        assert run_cli(*words).exit_code == 2


def test_show_prints_the_source_as_it_is(run_cli):
    source = (ROOT / "lessons" / "conv_demo.py").read_text(encoding="utf-8")
    assert run_cli("show", "conv-demo").output == source


def test_words_explains_a_term_and_suggests_the_nearest(run_cli):
    assert re.search(r"conv-demo\n(.*\n)* convolution", run_cli("words").output)
    said = run_cli("words", "STRIDE").output
    found = re.findall(r"^ (stride \(.*?\)) ", said, re.MULTILINE)
    assert found == ["stride (of a tensor)", "stride (of a kernel)"]
    result = run_cli("words", "paddin")
    assert result.exit_code == 2
    assert "Did you mean 'padding'?" in result.stderr
    assert run_cli("words", "padding").exit_code == 0
    assert "python cli.py words" in run_cli("words", "xyzzy").stderr


def test_libgomp_spins_less_unless_the_user_says_otherwise(monkeypatch):
    code = "import cli, os; print(os.environ['GOMP_SPINCOUNT'])"
    assert run_process("-c", code, GOMP_SPINCOUNT="7").stdout == "7\n"
    monkeypatch.delenv("GOMP_SPINCOUNT")  # which importing cli has set
    assert run_process("-c", code).stdout == "1000\n"


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_has_step_and_no_terminal_means_no_stop(run_cli, name):
    assert "--step" in run_cli(name, "--help").output
    assert run_cli(name, "--step", "--nonsense").exit_code == 2


def test_a_missing_package_is_named_with_the_command_to_run():
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from cli import app; app(['conv-demo'])"
    )
    process = run_process("-c", code)
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    assert "the package torch is not installed" in process.stderr
    assert "pip install -r requirements.txt" in process.stderr


def test_a_lesson_runs_as_a_module_and_from_any_folder(tmp_path):
    words = ("--logdir", str(tmp_path))
    assert "Remember" in run_process("-m", "lessons.conv_demo", *words).stdout
    elsewhere = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "conv-demo", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "tensorboard" in elsewhere.stdout
    assert len(list((tmp_path / "conv-demo").iterdir())) == 2


def test_output_survives_a_file_without_unicode_and_has_no_colours(
    width, tmp_path
):
    words = ("cli.py", "conv-demo", "--logdir", str(tmp_path))
    process = run_process(*words, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert process.returncode == 0, process.stderr
    assert "\x1b" not in process.stdout
    assert width(process.stdout) <= 80
