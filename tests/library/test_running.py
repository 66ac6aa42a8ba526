"""`python -m fastgrad run`: a micrograd program cannot tell the difference from `python script.py`."""

import json
import multiprocessing
import subprocess
import sys

import pytest

# The program that a test runs is in the test's own folder.
pytestmark = [pytest.mark.processes, pytest.mark.thread_unsafe]

pytest.importorskip("micrograd")


def python(*arguments, cwd):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def both(tmp_path):
    """Run a program with Python and with `fastgrad run`, from one directory below the script's."""

    def run(source, *arguments):
        script = tmp_path / "script.py"
        script.write_text(source)
        below = tmp_path / "below"
        below.mkdir()
        place = "../script.py"
        return python(place, *arguments, cwd=below), python(
            "-m", "fastgrad", "run", place, *arguments, cwd=below
        )

    return run


def same(results):
    plain, ours = results
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)
    return ours


def test_micrograd_resolves_to_fastgrad(both):
    _, ours = both(
        "import micrograd, micrograd.nn as nn\n"
        "from micrograd import engine\n"
        "from micrograd.engine import Value\n"
        "print(Value.__module__, engine.Value is Value, nn.MLP.__module__, micrograd.engine is engine)\n"
    )
    assert ours.stdout == "fastgrad.engine True fastgrad.nn True\n"


# Other packages add start methods of their own.
@pytest.mark.parametrize(
    "method", sorted({"fork", "forkserver", "spawn"} & set(multiprocessing.get_all_start_methods()))
)
@pytest.mark.parametrize("imports", ["import micrograd.engine, micrograd.nn", "import micrograd"])
def test_micrograd_resolves_to_fastgrad_in_processes_of_the_programs(both, method, imports):
    _, ours = both(
        f"import multiprocessing\n{imports}\n"
        "def names(number):\n"
        "    from micrograd.engine import Value\n"
        "    return Value.__module__, micrograd.nn.MLP.__module__, (Value(number) * 2).data\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print(*pool.map(names, [3.0]))\n"
    )
    assert (ours.stdout, ours.stderr) == ("('fastgrad.engine', 'fastgrad.nn', 6.0)\n", "")


def test_values_pass_between_processes_of_the_programs(both):
    _, ours = both(
        "import multiprocessing\n"
        "from micrograd.engine import Value\n"
        "def double(value):\n"
        "    return value * 2\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(*pool.map(double, [Value(3.0)]))\n"
    )
    assert (ours.stdout, ours.stderr) == ("Value(data=6.0, grad=0.0)\n", "")


def test_the_alias_has_a_spec_and_can_be_looked_for(both):
    _, ours = both(
        "from importlib.util import find_spec\n"
        "before = find_spec('micrograd').name, find_spec('micrograd.engine') is not None\n"
        "import micrograd.engine\n"
        "print(before, find_spec('micrograd').name, find_spec('micrograd.nothing'))\n"
    )
    assert (ours.stdout, ours.stderr) == ("('micrograd', True) micrograd None\n", "")


def test_other_modules_of_a_micrograd_beside_the_script_are_found(both, tmp_path):
    fork = tmp_path / "micrograd"
    fork.mkdir()
    (fork / "__init__.py").touch()
    (fork / "engine.py").write_text("class Value: pass\n")
    (fork / "viz.py").write_text(
        "from .engine import Value\ndef is_drawn(value):\n    return isinstance(value, Value)\n"
    )
    _, ours = both(
        "import micrograd.viz\n"
        "from micrograd import viz\n"
        "from micrograd.engine import Value\n"
        "print(Value.__module__, viz.is_drawn(Value(1.0)), micrograd.viz is viz)\n"
    )
    assert (ours.stdout, ours.stderr) == ("fastgrad.engine True True\n", "")


MODULE = """
import sys
from micrograd.engine import Value
print(sys.argv[1:], sys.path[0], __name__, Value(2.0).data)
"""


def test_a_module_is_run_as_python_runs_it(tmp_path):
    (tmp_path / "program.py").write_text(MODULE + "print(sys.argv[0], __file__)\n")
    plain = python("-m", "program", "-m", "a", "--flag", cwd=tmp_path)
    ours = python("-m", "fastgrad", "run", "-m", "program", "-m", "a", "--flag", cwd=tmp_path)
    assert ours.stdout == plain.stdout
    assert ours.stderr == ""


def test_the_tests_of_a_program_run_on_fastgrad(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "from micrograd.engine import Value\n"
        "def test_engine():\n    assert Value.__module__ == 'fastgrad.engine'\n"
        "def test_other():\n    assert False\n"
    )
    result = python("-m", "fastgrad", "run", "-m", "pytest", "-q", "-k", "engine", cwd=tmp_path)
    assert "1 passed, 1 deselected" in result.stdout
    assert result.returncode == 0


def test_a_traceback_of_a_module_begins_in_it(tmp_path):
    (tmp_path / "program.py").write_text("def f():\n    return 1 / 0\nf()\n")
    result = python("-m", "fastgrad", "run", "-m", "program", cwd=tmp_path)
    assert result.stderr.count("  File ") == 2
    assert result.returncode == 1


@pytest.mark.parametrize(("name", "words"), [("nothing", "No module named nothing"), ("email", "cannot be")])
def test_a_module_that_is_none_is_refused_as_python_refuses_it(tmp_path, name, words):
    result = python("-m", "fastgrad", "run", "-m", name, cwd=tmp_path)
    assert result.returncode == python("-m", name, cwd=tmp_path).returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("-m",)], ids=["nothing", "-m"])
def test_run_asks_for_a_program_and_nothing_else(tmp_path, arguments):
    result = python("-m", "fastgrad", "run", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "error: a script is required, or -m and a module" in result.stderr


def notebook(path, *cells):
    described = [{"cell_type": "code", "source": cell} for cell in cells]
    text = {"cell_type": "markdown", "source": ["words"]}
    path.write_text(json.dumps({"cells": [text, *described], "nbformat": 4}))
    return path.name


def test_the_cells_of_a_notebook_run_as_one_program(tmp_path):
    name = notebook(
        tmp_path / "lesson.ipynb",
        ["from micrograd.engine import Value\n", "x = Value(2.0)"],
        "import sys\nprint(x, Value.__module__, sys.argv, __name__)",
        "def f():\n    return 1 / 0\nf()",
        "print('never')",
    )
    result = python("-m", "fastgrad", "run", name, "a", cwd=tmp_path)
    assert result.stdout == "Value(data=2.0, grad=0.0) fastgrad.engine ['lesson.ipynb', 'a'] __main__\n"
    assert result.returncode == 1
    assert 'lesson.ipynb, cell 3", line 2, in f\n    return 1 / 0\n' in result.stderr
    assert result.stderr.count("  File ") == 2


def test_a_notebook_with_magics_runs_in_ipython(tmp_path):
    pytest.importorskip("IPython")
    name = notebook(
        tmp_path / "lesson.ipynb",
        "%env LESSON=1\nfrom micrograd.engine import Value",
        "print(Value.__module__)",
        "1 / 0",
        "print('never')",
    )
    result = python("-m", "fastgrad", "run", name, cwd=tmp_path)
    assert "fastgrad.engine\n" in result.stdout
    assert "never" not in result.stdout
    assert result.returncode == 1


def test_a_notebook_with_magics_says_what_it_needs_without_ipython(tmp_path):
    (tmp_path / "IPython.py").write_text("raise ModuleNotFoundError(name='IPython')\n")
    name = notebook(tmp_path / "lesson.ipynb", "!ls")
    result = python("-m", "fastgrad", "run", name, cwd=tmp_path)
    assert result.returncode == 2
    assert "pip install ipython" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("text", ["1/0", "{}", '{"cells": 3}', "[]"])
def test_a_file_that_is_no_notebook_is_refused(tmp_path, text):
    (tmp_path / "lesson.ipynb").write_text(text)
    result = python("-m", "fastgrad", "run", "lesson.ipynb", cwd=tmp_path)
    assert result.returncode == 2
    assert "lesson.ipynb is no notebook" in result.stderr
    assert "Traceback" not in result.stderr


NOTEBOOK_SESSION = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def run(cell):
    shell.run_cell(cell).raise_error()
run("%load_ext fastgrad")
run("from micrograd.engine import Value\\nimport micrograd.nn")
run("print(Value.__module__, micrograd.nn.__name__)")
run("%reload_ext fastgrad")
run("from micrograd.engine import Value as Again\\nassert Again is Value")
run("%unload_ext fastgrad")
run("import micrograd.engine\\nprint(micrograd.engine.Value.__module__)")
run("%load_ext fastgrad")
"""


def test_an_extension_of_ipython_makes_micrograds_name_fastgrads(tmp_path):
    pytest.importorskip("IPython")
    result = python("-c", NOTEBOOK_SESSION, cwd=tmp_path)
    assert result.stdout.splitlines()[:2] == ["fastgrad.engine fastgrad.nn", "micrograd.engine"]
    assert "RuntimeWarning: micrograd was imported before fastgrad took its name" in result.stderr


def test_the_builtins_are_pythons(both):
    same(both("import builtins\nprint(__builtins__ is builtins, __builtins__.len([1]))\n"))


def test_a_program_prints_what_it_prints_with_micrograd(both):
    same(
        both(
            "import random\n"
            "from micrograd.nn import MLP\n"
            "random.seed(4)\n"
            "model = MLP(2, [4, 1])\n"
            "loss = (model([1.0, -2.0]) - 1) ** 2\n"
            "loss.backward()\n"
            "print(model, loss.data, [round(p.grad, 9) + 0.0 for p in model.parameters()])\n"
        )
    )


@pytest.mark.parametrize("module", ["engine", "nn"])
def test_a_star_import_brings_what_it_brings_with_micrograd(both, module):
    same(
        both(
            f"before = set(globals())\nfrom micrograd.{module} import *\n"
            "print(sorted(set(globals()) - before))\n"
        )
    )


def test_arguments_name_file_and_path_are_pythons(both):
    ours = same(both("import sys\nprint(sys.argv, __name__, __file__, sys.path[0])\n", "-x", "--flag", "a b"))
    assert "'--flag', 'a b'" in ours.stdout


def test_modules_beside_the_script_are_found(both, tmp_path):
    (tmp_path / "beside.py").write_text("answer = 42\n")
    assert same(both("import beside\nprint(beside.answer)\n")).stdout == "42\n"


def test_classes_of_the_script_can_be_pickled(both):
    same(both("import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A)\n"))


@pytest.mark.parametrize("status", ["0", "7", "'a message'", ""])
def test_the_exit_status_is_the_programs(both, status):
    assert same(both(f"import sys\nsys.exit({status})\n")).stderr == ("a message\n" if "'" in status else "")


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return 1 / 0\nf()\n",
        "print('before')\nraise KeyboardInterrupt\n",
        "x = = 1\n",
        "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('b') from error\n",
    ],
    ids=["error", "interrupt", "syntax", "chained"],
)
def test_tracebacks_are_pythons(both, source):
    results = both(source)
    same(results)
    assert results[1].stderr == results[0].stderr


def test_a_script_that_is_not_there(tmp_path):
    result = python("-m", "fastgrad", "run", "none.py", cwd=tmp_path)
    assert result.returncode == 2
    assert "none.py" in result.stderr
    assert "No such file" in result.stderr


def test_a_declared_encoding_is_read(both, tmp_path):
    plain, ours = both("# -*- coding: utf-8 -*-\nprint(ascii('é'))\n")
    assert ours.stdout == plain.stdout == "'\\xe9'\n"
