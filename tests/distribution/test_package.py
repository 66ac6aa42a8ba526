"""`import fastgrad` loads little, quickly, and has every name."""

import builtins
import importlib
import pickle
import pkgutil
import subprocess
import sys

import pytest

import fastgrad
from fastgrad import engine

PUBLIC = ["data", "derivatives", "export", "functional", "nn", "optim", "saving", "testing", "viz"]


def test_the_modules_are_loaded_at_their_first_use(run_script):
    loaded, listed = run_script("submodules.py").splitlines()
    assert loaded == "loaded"
    assert listed.split()[1:] == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_is_found_as_an_attribute(name, monkeypatch):
    monkeypatch.delattr(fastgrad, name, raising=False)
    assert getattr(fastgrad, name).__name__ == f"fastgrad.{name}"


def test_what_is_public_is_listed():
    assert set(dir(fastgrad)) >= {*fastgrad.__all__, *PUBLIC, "__version__"}


MODULES = ["fastgrad", *(found.name for found in pkgutil.walk_packages(fastgrad.__path__, "fastgrad."))]


def star_import(name):
    """The names that `from name import *` brings."""
    scope = {}
    try:
        exec(f"from {name} import *", scope)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    return scope.keys() - {"__builtins__"}


@pytest.mark.parametrize("name", MODULES)
def test_a_star_import_brings_what_its_module_says_and_no_builtin(name):
    found = star_import(name)
    # Not compile, which every module but this would bring in the place of the builtin.
    assert sorted(found) == sorted(importlib.import_module(name).__all__)
    assert found.isdisjoint(dir(builtins))


def test_a_star_import_brings_what_micrograds_would():
    assert star_import("fastgrad.engine") == {"Value"}
    assert star_import("fastgrad.nn") == {"random", "Value", "Module", "Neuron", "Layer", "MLP"}


def test_the_engine_shows_what_users_call():
    shown = {name for name in dir(engine) if not name.startswith("_")}
    assert shown == {"TracingError", "Value", "apply", "zero_grad"}


@pytest.mark.parametrize("name", ["add", "dot", "linear", "scale", "softmax"])
def test_functions_of_the_engine_are_found_where_they_are_offered(name):
    function = getattr(fastgrad.functional, name)
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.processes
def test_the_version_tells_a_build_with_assertions_and_one_that_is_slower():
    shown = subprocess.check_output([sys.executable, "-m", "fastgrad", "--version"], text=True)
    build = "with assertions" if hasattr(engine, "_check_invariants") else "a plain build"
    slower = ", compiled quickly: slower than others" if engine._is_quick else ""
    assert shown == f"fastgrad {fastgrad.__version__}, {build}{slower}\n"


def test_any_other_name_raises_attribute_error_that_names_it():
    with pytest.raises(AttributeError, match="module 'fastgrad' has no attribute 'numpy'"):
        fastgrad.numpy  # noqa: B018
