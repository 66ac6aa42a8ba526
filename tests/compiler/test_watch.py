"""fastgrad reads from CPython's bytecode what `dis` reads."""

import argparse
import ast
import dis
import json.decoder
import random
import textwrap
from types import FunctionType

import pytest

from fastgrad.compiler.watch import dotted_names

# With loops, closures, attributes of attributes, and names beyond the 256th.
MODULES = (argparse, ast, dis, json.decoder, random, textwrap)


def functions_of(module):
    """The functions and methods that a module defines."""
    holders = [module, *(each for each in vars(module).values() if isinstance(each, type))]
    found = (each for holder in holders for each in vars(holder).values())
    return [each for each in found if isinstance(each, FunctionType) and each.__module__ == module.__name__]


def names_by_dis(code, *operations):
    return {each.argval for each in dis.get_instructions(code) if each.opname in operations}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_global_name_is_found_and_no_other(module):
    for function in functions_of(module):
        found = {path[1] for path in dotted_names(function.__code__) if path[0] == "global"}
        assert found == names_by_dis(function.__code__, "LOAD_GLOBAL", "LOAD_NAME"), function


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_attribute_is_one_that_the_code_reads(module):
    for function in functions_of(module):
        attributes = {name for path in dotted_names(function.__code__) for name in path[2:]}
        read = names_by_dis(function.__code__, "LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")
        assert attributes <= read, function


def importing():
    import fractions
    import os.path as path
    from textwrap import dedent, indent

    return fractions.Fraction, path.join, dedent, indent


def test_imports_inside_are_found_with_what_is_read_of_them():
    assert set(dotted_names(importing.__code__)) == {
        ("import", "fractions"),
        ("import", "fractions", "Fraction"),
        ("import", "os.path", "path"),
        ("import", "os.path", "path", "join"),
        ("import", "textwrap", "dedent"),
        ("import", "textwrap", "indent"),
    }


def test_names_beyond_the_256th_are_found():
    names = [f"name_{number}" for number in range(600)]
    code = compile("\n".join(["def f():", *(f"    {name}" for name in names)]), "names", "exec")
    [inner] = (each for each in code.co_consts if hasattr(each, "co_code"))
    assert dotted_names(inner) == [("global", name) for name in names]
