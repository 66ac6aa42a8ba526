"""`python -m fastgrad run`: a micrograd program cannot tell the difference from `python script.py`."""

import multiprocessing
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

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
